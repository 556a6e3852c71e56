"""The MQTT connector against brokers that misbehave. Whatever they do, the loop goes on turning."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from support.fake_broker import CLOSE, FakeBroker, connack
from support.mosquitto import free_port
from support.reactor import TestReactor
from support.upstream_owner import Owner, make_message

from microedge.upstream.mqtt import MqttConnector, Timings
from microedge.upstream.settings import UpstreamSettings

QUICK = Timings(connect_s=0.5, ack_s=0.3, first_retry_s=0.02, max_retry_s=0.1)
MAX_GAP_S = 0.15  # the ticker is due every 10 ms; the rest is a busy machine of two cores


class Ticker:
    """A timer of 10 ms on the loop; `longest_s` tells how late it ever came."""

    def __init__(self, reactor: TestReactor) -> None:
        self._reactor = reactor
        self._last = time.monotonic()
        self.ticks, self.longest_s = 0, 0.0
        self._tick()

    def _tick(self) -> None:
        now = time.monotonic()
        self.longest_s, self._last = max(self.longest_s, now - self._last), now
        self.ticks += 1
        self._reactor.call_later(0.01, self._tick)


@pytest.fixture
def reactor() -> Iterator[TestReactor]:
    reactor = TestReactor()
    yield reactor
    reactor.close()


@pytest.fixture
def start(reactor):
    opened: list[tuple[MqttConnector, Owner]] = []

    def start(port: int, messages=(), *, resolve=None, timings=QUICK, **settings):
        values = {"type": "mqtt", "device": "d", "host": "127.0.0.1", "port": port, "keepalive_s": 0, **settings}
        options = {"resolve": resolve} if resolve else {}
        connector, owner = (
            MqttConnector(UpstreamSettings(**values), reactor, timings=timings, **options),
            Owner(messages),
        )
        owner.attach(connector)
        opened.append((connector, owner))
        connector.open(owner)
        return connector, owner

    yield start
    for connector, owner in opened:
        if not owner.is_closed:
            connector.close(owner.close_done, 0.3)
            reactor.run_until(lambda owner=owner: owner.is_closed)


def failed(reactor: TestReactor, connector: MqttConnector) -> str:
    reactor.run_until(lambda: connector.status()["state"] == "waiting")
    return str(connector.status()["reason"])


def test_a_broker_that_accepts_and_never_answers_does_not_stop_the_loop(reactor, start):
    with FakeBroker(answer=b"") as broker:
        connector, owner = start(broker.port)
        reactor.run_for(0.2)  # loading paho on the other thread shares the interpreter
        ticker = Ticker(reactor)

        reason = failed(reactor, connector)

        assert "does not answer CONNECT" in reason
        assert ticker.ticks > 10
        assert ticker.longest_s < MAX_GAP_S
        assert owner.events == []


def test_a_tls_handshake_that_hangs_does_not_stop_the_loop(reactor, start):
    with FakeBroker(answer=b"") as broker:
        ticker = Ticker(reactor)
        connector, _ = start(broker.port, tls=True)

        assert "does not answer the TLS handshake" in failed(reactor, connector)
        assert ticker.longest_s < 2 * MAX_GAP_S  # reading the system's certificates shares the interpreter


def test_a_name_look_up_that_hangs_does_not_stop_the_loop_nor_close(reactor, start):
    release = threading.Event()

    def hang(*_: object) -> list[tuple[object, ...]]:
        release.wait(15)
        return []

    try:
        connector, owner = start(1883, resolve=hang)
        reactor.run_for(0.2)
        ticker = Ticker(reactor)
        reactor.run_until(lambda: "look-ups of the name" in str(connector.status()["reason"]))

        connector.close(owner.close_done, 0.3)
        reactor.run_until(lambda: owner.is_closed, 1.0)

        assert ticker.longest_s < MAX_GAP_S
        assert sum(thread.name == "upstream-dial" for thread in threading.enumerate()) <= 4
    finally:
        release.set()
        for thread in threading.enumerate():
            if thread.name == "upstream-dial":
                thread.join(5)


def test_a_message_that_the_broker_closes_on_is_set_aside_and_the_rest_delivered(reactor, start):
    def judge(packet: bytes) -> int:
        return CLOSE if b"poison" in packet else 0

    with FakeBroker(judge=judge) as broker:
        messages = [make_message(number) for number in range(1, 41)]
        messages[20] = make_message(21, b"poison")
        connector, owner = start(broker.port, messages)
        reactor.run_until(lambda: owner.is_idle)

        expected = {message.message_id for message in messages} - {"s1-21"}
        assert set(owner.delivered) == expected
        assert [(message_id, reason) for message_id, reason, _ in owner.refused] == [("s1-21", "poison")]
        assert connector.status()["refused"] == 1
        names = [event[0] for event in owner.events]
        assert names[names.index("refused") + 1] == "lost"
        assert broker.connects <= 8


def test_no_message_is_blamed_for_a_broker_that_is_gone_or_says_why(reactor, start):
    takeover = b"\xe0\x02\x8e\x00"
    with FakeBroker(judge=lambda packet: None) as broker:
        _, owner = start(broker.port, [make_message(1)])
        for _ in range(5):
            reactor.run_until(lambda: owner.is_connected and len(broker.bodies) > len(owner.losses))
            broker.send_to_all(takeover)
            losses = len(owner.losses)
            reactor.run_until(lambda losses=losses: len(owner.losses) > losses)

        assert owner.refused == []
        assert "microedge-d" in owner.losses[-1]


def test_a_broker_that_acknowledges_nothing_is_left_and_tried_again(reactor, start):
    with FakeBroker(judge=lambda packet: None) as broker:
        _, owner = start(broker.port, [make_message(1)])
        reactor.run_until(lambda: len(owner.losses) == 4)

        assert "acknowledged none of 1 messages" in owner.losses[0]
        assert owner.refused == []  # it may be the network


@pytest.mark.parametrize(
    ("code", "reason"), [(0x87, "refused"), (0x90, "refused"), (0x99, "refused"), (0x95, "oversize")]
)
def test_a_refusal_for_ever_sets_one_message_aside(reactor, start, code, reason):
    with FakeBroker(judge=lambda packet: code if b"bad" in packet else 0) as broker:
        _, owner = start(broker.port, [make_message(1), make_message(2, b"bad"), make_message(3)])
        reactor.run_until(lambda: owner.is_idle)

        assert owner.delivered == ["s1-1", "s1-3"]
        assert owner.refused[0][:2] == ("s1-2", reason)
        assert f"0x{code:02x}" in owner.refused[0][2]
        assert owner.losses == []


@pytest.mark.parametrize("code", [0x80, 0x83, 0x97])
def test_a_passing_refusal_is_tried_again_after_a_pause(reactor, start, code):
    answers = [code, 0]
    with FakeBroker(judge=lambda packet: answers.pop(0)) as broker:
        _, owner = start(broker.port, [make_message(1)])
        reactor.run_until(lambda: owner.is_idle)

        assert owner.delivered == ["s1-1"]
        assert f"0x{code:02x}" in owner.losses[0]


def test_the_window_is_what_the_broker_says_and_at_most_256(reactor, start):
    with FakeBroker(connack(properties=b"\x21\x00\x05")) as small, FakeBroker() as silent:
        _, one = start(small.port)
        _, two = start(silent.port)
        reactor.run_until(lambda: one.is_connected and two.is_connected)

        assert (one.window, two.window) == (5, 256)


def test_a_message_over_the_brokers_packet_size_is_refused_without_sending(reactor, start):
    with FakeBroker(connack(properties=b"\x27" + (500).to_bytes(4, "big"))) as broker:
        _, owner = start(broker.port, [make_message(1, b"x" * 600), make_message(2)])
        reactor.run_until(lambda: owner.is_idle)

        assert owner.refused[0][:2] == ("s1-1", "oversize")
        assert "at most 500" in owner.refused[0][2]
        assert len(broker.bodies) == 1


@pytest.mark.parametrize(
    ("broker", "settings", "expected"),
    [
        (lambda: FakeBroker(connack(0x84)), {}, "unsupported protocol version (0x84); set protocol = 311"),
        (lambda: FakeBroker(b"\x20\x02\x00\x01"), {}, "set protocol = 311"),
        (lambda: FakeBroker(b"\x20\x02\x00\x01"), {"protocol": 311}, "speaks no MQTT 3.1.1"),
        (lambda: FakeBroker(connack(0x86)), {}, "bad user name or password (0x86); check username and password"),
        (lambda: FakeBroker(b"\x20\x02\x00\x04"), {"protocol": 311}, "check username and password"),
        (lambda: FakeBroker(connack(0x85)), {}, "client_id = 'microedge-d' is not accepted"),
        (lambda: FakeBroker(b"\x20\x02\x00\x02"), {"protocol": 311, "client_id": "x"}, "client_id = 'x'"),
        (lambda: FakeBroker(connack(properties=b"\x24\x00")), {}, "QoS not supported"),
        (lambda: FakeBroker(first=b"\x15\x03\x01\x00\x02\x02\x46", hangs_up=True), {}, "write mqtts:// in the url"),
        (lambda: FakeBroker(first=b"HTTP/1.1 400 Bad Request\r\n\r\n", hangs_up=True), {}, "web server"),
        (lambda: FakeBroker(hangs_up=True), {}, "without an answer to CONNECT"),
    ],
)
def test_the_reason_says_what_to_do(reactor, start, broker, settings, expected):
    with broker() as fake:
        connector, _ = start(fake.port, **settings)

        assert expected in failed(reactor, connector)


def test_a_port_where_nobody_listens_and_a_name_that_does_not_exist(reactor, start):
    refused, _ = start(free_port())
    unknown, _ = start(1883, host="no.such.name.invalid", timings=Timings())

    assert "refused: nothing listens" in failed(reactor, refused)
    assert "name not found: no.such.name.invalid" in failed(reactor, unknown)


def test_pings_keep_a_quiet_connection_alive(reactor, start):
    with FakeBroker() as broker:
        _, owner = start(broker.port, keepalive_s=1)
        reactor.run_until(lambda: broker.pings >= 2)

        assert owner.losses == []


def test_a_broker_that_answers_no_ping_is_left(reactor, start):
    with FakeBroker(answers_pings=False) as broker:
        _, owner = start(broker.port, keepalive_s=1)
        reactor.run_until(lambda: bool(owner.losses))

        assert owner.losses == ["the broker answers no ping within keepalive_s = 1"]


def test_the_keepalive_that_the_broker_asks_for_is_obeyed(reactor, start):
    with FakeBroker(connack(properties=b"\x13\x00\x01")) as broker:
        _, owner = start(broker.port, keepalive_s=600)

        reactor.run_until(lambda: broker.pings >= 1, 3.0)

        assert owner.losses == []


def test_garbage_from_the_broker_ends_the_connection_not_the_program(reactor, start):
    with FakeBroker() as broker:
        connector, owner = start(broker.port)
        for garbage in (b"\x40\xff\xff\xff\xff\xff", b"\xf0\x00", b"\x20\x00", b"\x30\x05\xff\xff\x00\x00\x00"):
            reactor.run_until(lambda: owner.is_connected)
            losses = len(owner.losses)
            broker.send_to_all(garbage)
            reactor.run_until(lambda losses=losses: len(owner.losses) > losses)

        assert all("broke the MQTT protocol" in reason for reason in owner.losses)
        assert connector.status()["reconnects"] >= 3
