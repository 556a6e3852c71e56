"""Calls from above with a broker that refuses or closes: messages go on whatever becomes of the subscription."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.fake_broker import CLOSE, FakeBroker
from support.reactor import TestReactor
from support.upstream_owner import Owner, make_message

from microedge.upstream.mqtt import MqttConnector, Timings
from microedge.upstream.settings import UpstreamSettings

QUICK = Timings(first_retry_s=0.02, max_retry_s=0.1)
REFUSED = 0x87


@pytest.fixture
def reactor() -> Iterator[TestReactor]:
    one = TestReactor()
    yield one
    one.close()


def connect(broker: FakeBroker, reactor: TestReactor, owner: Owner) -> MqttConnector:
    settings = UpstreamSettings(type="mqtt", device="d", host="127.0.0.1", port=broker.port)
    connector = MqttConnector(settings, reactor, timings=QUICK)
    owner.attach(connector)
    connector.open(owner)
    return connector


def close(connector: MqttConnector, reactor: TestReactor, owner: Owner) -> None:
    connector.close(owner.close_done, 1.0)
    reactor.run_until(lambda: owner.is_closed)


def publish(topic: bytes, body: bytes, *, retain: bool = False, properties: bytes = b"") -> bytes:
    content = len(topic).to_bytes(2, "big") + topic + bytes((len(properties),)) + properties + body
    return bytes((0x30 | retain, len(content))) + content


def test_a_refused_subscription_is_named_once_and_stops_nothing(reactor: TestReactor, caplog: pytest.LogCaptureFixture):
    owner = Owner([make_message(number) for number in range(1, 4)])
    with FakeBroker(suback=REFUSED) as broker:
        connector = connect(broker, reactor, owner)
        reactor.run_until(lambda: len(owner.delivered) == 3)
        close(connector, reactor, owner)

    assert owner.losses == []
    assert caplog.text.count("lets nobody call methods from above") == 1


def test_a_broker_that_closes_over_the_subscription_is_not_asked_a_fourth_time(
    reactor: TestReactor, caplog: pytest.LogCaptureFixture
):
    """And no message is blamed for these closings."""
    owner = Owner([make_message(number) for number in range(1, 4)])
    with FakeBroker(suback=CLOSE) as broker:
        connector = connect(broker, reactor, owner)
        reactor.run_until(lambda: len(owner.delivered) >= 3 and owner.is_idle)
        connects = broker.connects
        close(connector, reactor, owner)

    assert connects == 4
    assert owner.refused == []
    assert caplog.text.count("nobody can call methods from above") == 1


def test_a_closing_over_a_message_is_not_blamed_on_the_subscription(
    reactor: TestReactor, caplog: pytest.LogCaptureFixture
):
    owner = Owner([make_message(1), make_message(2, b"poison"), make_message(3)])
    with FakeBroker(judge=lambda packet: CLOSE if packet.endswith(b"poison") else 0) as broker:
        connector = connect(broker, reactor, owner)
        reactor.run_until(lambda: owner.is_connected and owner.is_idle and owner.refused)
        close(connector, reactor, owner)

    assert [refused[1] for refused in owner.refused] == ["poison"]
    assert "methods from above" not in caplog.text


def test_requests_reach_the_owner_and_anything_else_does_not(reactor: TestReactor):
    owner = Owner()
    with FakeBroker() as broker:
        connector = connect(broker, reactor, owner)
        reactor.run_until(lambda: owner.is_connected)
        for topic in (b"microedge/e/pump/methods/on", b"microedge/d/pump/twin/desired", b"\xff/d/pump/methods/on"):
            broker.send_to_all(publish(topic, b"1"))
        broker.send_to_all(publish(b"microedge/d/pump/methods/on", b"1", retain=True))
        broker.send_to_all(publish(b"microedge/d/pump/methods/on", b"2", properties=b"\x08\x00\x03a/b"))
        reactor.run_until(lambda: broker.bodies)
        assert broker.bodies[0].endswith(b'{"status":200,"payload":null}')
        close(connector, reactor, owner)

    assert [event for event in owner.events if event[0] == "called"] == [("called", "pump", "on", b"2")]
