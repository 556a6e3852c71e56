"""What every upstream connector does, run against each of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from support.mosquitto import Mosquitto
from support.reactor import TestReactor
from support.upstream_owner import Owner, make_message

from microedge.upstream.backoff import Backoff
from microedge.upstream.connector import Connector
from microedge.upstream.factory import create
from microedge.upstream.file import FileConnector
from microedge.upstream.mqtt import MqttConnector, Timings
from microedge.upstream.reported import Pace
from microedge.upstream.settings import UpstreamSettings

QUICK = Timings(first_retry_s=0.02, max_retry_s=0.2, reports=Pace(gather_s=0.02, interval_s=0.02))


class FileWorld:
    """The upstream is a directory; it goes away by becoming a file."""

    def __init__(self, directory: str, reactor: TestReactor) -> None:
        self.directory = os.path.join(directory, "out")
        settings = UpstreamSettings(type="file", path=os.path.join(self.directory, "messages.jsonl"))
        self.connector = FileConnector(settings, reactor, backoff=Backoff(lambda: 0.5, first_s=0.02, max_s=0.2))

    def go_away(self) -> None:
        def fail(_fd: int) -> None:
            raise OSError(5, "Input/output error")

        shutil.rmtree(self.directory)
        with open(self.directory, "w", encoding="ascii"):
            pass
        self._sync, self.connector.file.sync = self.connector.file.sync, fail

    def come_back(self) -> None:
        os.unlink(self.directory)
        self.connector.file.sync = self._sync

    def end(self) -> None:
        pass


class MqttWorld:
    """The upstream is a mosquitto; it goes away by being stopped."""

    def __init__(self, directory: str, reactor: TestReactor) -> None:
        self.broker = Mosquitto(directory)
        self.broker.start()
        settings = UpstreamSettings(type="mqtt", device="d", host="127.0.0.1", port=self.broker.port)
        self.connector = MqttConnector(settings, reactor, timings=QUICK)

    def go_away(self) -> None:
        self.broker.stop()

    def come_back(self) -> None:
        self.broker.start()

    def end(self) -> None:
        self.broker.stop()


@pytest.fixture
def reactor() -> Iterator[TestReactor]:
    reactor = TestReactor()
    yield reactor
    reactor.close()


@pytest.fixture(params=[FileWorld, MqttWorld], ids=["file", "mqtt"])
def world(request, tmp_path, reactor):
    world = request.param(str(tmp_path), reactor)
    yield world
    closed: list[bool] = []
    if world.connector.status()["state"] != "closed":
        world.connector.close(lambda: closed.append(True), 1.0)
        reactor.run_until(lambda: bool(closed))
    world.end()


def opened(world, reactor: TestReactor, *messages) -> Owner:
    owner = Owner(messages)
    connector: Connector = world.connector
    owner.attach(connector)
    connector.open(owner)
    reactor.run_until(lambda: owner.is_connected)
    return owner


def test_it_is_built_without_io_and_says_so_in_its_status(tmp_path):
    for kind in ("file", "mqtt"):
        settings = UpstreamSettings(
            type=kind, host="nowhere.invalid", path=str(tmp_path / "no" / "file"), username="u", password="secret"
        )
        connector = create(settings, None)  # type: ignore[arg-type]
        assert connector is not None

        status = connector.status()

        assert status["type"] == kind
        assert {"url", "state", "reason", "since_s", "reconnects", "in_flight", "delivered", "refused"} <= set(status)
        assert (status["reports_pending"], status["problems"]) == (0, [])
        assert "secret" not in repr(status) + repr(settings)
    assert not os.listdir(tmp_path)
    assert create(UpstreamSettings(), None) is None  # type: ignore[arg-type]


def test_open_returns_at_once_and_connects_on_the_loop(world, reactor):
    owner = Owner()

    world.connector.open(owner)

    assert owner.events == []
    assert world.connector.status()["state"] == "connecting"
    reactor.run_until(lambda: owner.is_connected)
    assert world.connector.status()["state"] == "connected"


def test_every_message_is_delivered_once_and_in_order(world, reactor):
    messages = [make_message(number) for number in range(1, 601)]

    owner = opened(world, reactor, *messages)
    reactor.run_until(lambda: owner.is_idle)

    assert owner.delivered == [message.message_id for message in messages]
    status = world.connector.status()
    assert (status["delivered"], status["in_flight"], status["refused"]) == (600, 0, 0)


def test_after_a_loss_it_connects_by_itself_and_goes_on(world, reactor):
    owner = opened(world, reactor, make_message(1))
    reactor.run_until(lambda: owner.is_idle)

    world.go_away()
    owner.add(make_message(2))
    reactor.run_until(lambda: bool(owner.losses))
    status = world.connector.status()
    world.come_back()
    reactor.run_until(lambda: owner.is_idle)

    assert (status["state"], status["in_flight"]) == ("waiting", 0)
    assert status["reason"]
    assert owner.delivered == ["s1-1", "s1-2"]
    assert world.connector.status()["reconnects"] == 1


def test_what_modules_report_is_taken_at_any_time_and_does_not_touch_messages(world, reactor):
    world.connector.set_reported("probe", b"{}")
    messages = [make_message(number) for number in range(1, 601)]
    owner = opened(world, reactor, *messages)
    world.connector.set_reported("probe", b'{"n":2}')
    reactor.run_until(lambda: owner.is_idle)

    world.go_away()
    owner.add(make_message(601))
    reactor.run_until(lambda: bool(owner.losses))
    world.connector.set_reported("probe", b'{"n":3}')
    world.connector.set_reported("gone", b"")
    world.come_back()
    reactor.run_until(lambda: owner.is_idle and world.connector.status()["reports_pending"] == 0)
    world.connector.close(owner.close_done, 5.0)
    reactor.run_until(lambda: owner.is_closed)
    world.connector.set_reported("probe", b'{"n":4}')

    assert owner.delivered == [f"s1-{number}" for number in range(1, 602)]
    assert world.connector.status()["problems"] == []


def test_close_finishes_what_is_under_way_and_is_silent_afterwards(world, reactor):
    owner = opened(world, reactor)
    owner.add(*[make_message(number) for number in range(1, 11)])

    world.connector.close(owner.close_done, 5.0)
    assert not owner.is_closed
    reactor.run_until(lambda: owner.is_closed)
    reactor.run_for(0.1)

    assert len(owner.delivered) == 10
    assert world.connector.status()["state"] == "closed"


def test_close_is_done_in_time_when_the_upstream_is_away(world, reactor):
    owner = opened(world, reactor)
    world.go_away()
    owner.add(make_message(1))
    reactor.run_until(lambda: bool(owner.losses))

    world.connector.close(owner.close_done, 0.5)

    reactor.run_until(lambda: owner.is_closed, 1.0)
    reactor.run_for(0.3)  # no retry wakes up


def test_close_before_it_is_connected_is_done_in_time(world, reactor):
    owner = Owner()
    world.connector.open(owner)

    world.connector.close(owner.close_done, 0.5)

    reactor.run_until(lambda: owner.is_closed, 1.0)
    reactor.run_for(0.3)
    assert owner.events == []
