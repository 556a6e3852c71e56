"""Twins with a real broker, written and read as a person would: with mosquitto_pub and mosquitto_sub."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from support.mosquitto import Mosquitto
from support.reactor import TestReactor
from support.requirements import require_program
from support.upstream_owner import Owner, make_message

from microedge.upstream.mqtt import MqttConnector, Timings
from microedge.upstream.reported import Pace
from microedge.upstream.settings import UpstreamSettings

QUICK = Timings(first_retry_s=0.02, max_retry_s=0.2, reports=Pace(0.02, 0.02, refresh_s=0.1))
DESIRED, REPORTED = "microedge/d/pump/twin/desired", "microedge/d/pump/twin/reported"

pytestmark = pytest.mark.parametrize("protocol", [5, 311])


class Device:
    """A connector with its owner."""

    def __init__(self, reactor: TestReactor, port: int, protocol: int) -> None:
        settings = UpstreamSettings(type="mqtt", device="d", host="127.0.0.1", port=port, protocol=protocol)
        self._reactor = reactor
        self.owner = Owner()
        self.connector = MqttConnector(settings, reactor, timings=QUICK)
        self.owner.attach(self.connector)
        self.connector.open(self.owner)

    def wait_for_desired(self, *documents: bytes) -> None:
        self._reactor.run_until(lambda: self.owner.desired == [("pump", document) for document in documents])

    def connect(self) -> None:
        self._reactor.run_until(lambda: self.owner.is_connected)

    def report(self, document: bytes) -> None:
        self.connector.set_reported("pump", document)
        self._reactor.run_until(lambda: self.connector.status()["reports_pending"] == 0)

    def close(self) -> None:
        if not self.owner.is_closed:
            self.connector.close(self.owner.close_done, 3.0)
            self._reactor.run_until(lambda: self.owner.is_closed)


@pytest.fixture
def reactor() -> Iterator[TestReactor]:
    one = TestReactor()
    yield one
    one.close()


@pytest.fixture
def broker(tmp_path) -> Iterator[Mosquitto]:
    with Mosquitto(str(tmp_path)) as broker:
        yield broker


@pytest.fixture
def device(reactor, broker, protocol):
    devices: list[Device] = []

    def make() -> Device:
        devices.append(Device(reactor, broker.port, protocol))
        return devices[-1]

    yield make
    for one in devices:
        one.close()


def publish(broker: Mosquitto, document: str, *, retain: bool = True) -> None:
    content = ["-m", document] if document else ["-n"]
    flags = ["-r"] if retain else []
    command = [require_program("mosquitto_pub"), "-p", str(broker.port), "-t", DESIRED, "-q", "1", *flags, *content]
    subprocess.run(command, check=True, timeout=10)


def retained(broker: Mosquitto, topic: str) -> str:
    """Return what the broker keeps, "" for nothing."""
    program = require_program("mosquitto_sub")
    command = [program, "-p", str(broker.port), "-t", topic, "-t", "end", "-C", "1", "-F", "%r %p"]
    publish_end = [require_program("mosquitto_pub"), "-p", str(broker.port), "-t", "end", "-r", "-m", "end"]
    subprocess.run(publish_end, check=True, timeout=10)
    found = subprocess.run(command, check=True, timeout=10, capture_output=True, text=True).stdout.strip()
    return "" if found == "1 end" else found


def test_what_was_set_while_the_device_was_off_arrives_when_it_connects(broker, device):
    publish(broker, '{"interval_s": 9}')

    device().wait_for_desired(b'{"interval_s": 9}')


def test_changes_arrive_as_they_are_made_and_a_withdrawal_is_empty(broker, device):
    one = device()
    one.connect()

    publish(broker, '{"interval_s": 9}')
    one.wait_for_desired(b'{"interval_s": 9}')
    publish(broker, '{"interval_s": 8}', retain=False)
    one.wait_for_desired(b'{"interval_s": 9}', b'{"interval_s": 8}')
    publish(broker, "")
    one.wait_for_desired(b'{"interval_s": 9}', b'{"interval_s": 8}', b"")


def test_the_desired_document_comes_again_at_each_connection(broker, device, reactor):
    publish(broker, "{}")
    one = device()
    one.wait_for_desired(b"{}")

    other = device()  # with the same client id: it throws the first out
    other.wait_for_desired(b"{}")
    other.close()
    one.wait_for_desired(b"{}", b"{}")


def test_what_a_module_reports_is_kept_by_the_broker_and_can_be_removed(broker, device):
    one = device()
    one.report(b'{"state": "ok"}')
    assert retained(broker, REPORTED) == '1 {"state": "ok"}'

    one.report(b"")
    assert retained(broker, REPORTED) == ""


def test_what_was_reported_last_is_there_after_closing(broker, device):
    one = device()
    one.connect()
    one.connector.set_reported("pump", b'{"state": "stopped"}')

    one.close()

    assert retained(broker, REPORTED) == '1 {"state": "stopped"}'


def test_a_broker_that_forgot_everything_in_a_restart_is_told_again(broker, device, reactor):
    one = device()
    one.report(b'{"n": 1}')
    one.connector.set_reported("valve", b'{"n": 2}')
    reactor.run_until(lambda: one.connector.status()["reports_pending"] == 0)
    broker.stop()
    reactor.run_until(lambda: not one.owner.is_connected)
    broker.start()
    one.connect()

    reactor.run_for(0.3)

    assert retained(broker, REPORTED) == '1 {"n": 1}'
    assert retained(broker, "microedge/d/valve/twin/reported") == '1 {"n": 2}'


def test_what_is_reported_while_the_broker_is_away_arrives_when_it_is_back(broker, device, reactor):
    one = device()
    one.report(b'{"n": 1}')
    broker.stop()
    reactor.run_until(lambda: not one.owner.is_connected)
    for number in range(2, 30):
        one.connector.set_reported("pump", b'{"n": %d}' % number)
    broker.start()
    reactor.run_until(lambda: one.connector.status()["reports_pending"] == 0)

    assert retained(broker, REPORTED) == '1 {"n": 29}'


def test_reports_do_not_wait_behind_a_backlog(broker, device, reactor):
    one = device()
    one.owner.add(*[make_message(number) for number in range(1, 20_001)])
    one.report(b"{}")

    assert not one.owner.is_idle
    reactor.run_until(lambda: one.owner.is_idle)
    assert len(one.owner.delivered) == 20_000


def test_a_giant_document_does_not_keep_the_device_from_connecting(broker, device, reactor, protocol, tmp_path, caplog):
    """Over MQTT 5 the broker does not send it at all."""
    file = tmp_path / "giant"
    file.write_bytes(b"x" * 3_000_000)
    command = [
        require_program("mosquitto_pub"),
        "-p",
        str(broker.port),
        "-t",
        DESIRED,
        "-q",
        "1",
        "-r",
        "-f",
        str(file),
    ]
    subprocess.run(command, check=True, timeout=10)

    one = device()
    one.connect()
    if protocol == 311:
        reactor.run_until(lambda: bool(one.connector.status()["problems"]))
    publish(broker, "{}")
    one.wait_for_desired(b"{}")

    assert one.owner.losses == []
    assert caplog.text.count("dropped from above") == (protocol == 311)
    assert one.connector.status()["problems"] == []
