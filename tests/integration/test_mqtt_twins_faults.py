"""Twins with a broker that refuses, closes, or keeps silent: messages go on, and no document is lost or overtaken."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from support.fake_broker import CLOSE, FakeBroker, connack
from support.reactor import TestReactor
from support.upstream_owner import Owner, make_message

from microedge.upstream.mqtt import MqttConnector, Timings
from microedge.upstream.reported import Pace
from microedge.upstream.settings import UpstreamSettings

PACE = Pace(gather_s=0.02, interval_s=0.02, refresh_s=30.0, pause_s=30.0)
QUICK = Timings(first_retry_s=0.02, max_retry_s=0.1, reports=PACE)
TOPIC = "microedge/d/pump/twin/reported"
NOT_AUTHORIZED = 0x87


class Device:
    """A connector with its owner."""

    def __init__(self, reactor: TestReactor, port: int, messages=(), *, timings: Timings = QUICK) -> None:
        settings = UpstreamSettings(type="mqtt", device="d", host="127.0.0.1", port=port)
        self._reactor = reactor
        self.owner = Owner(messages)
        self.connector = MqttConnector(settings, reactor, timings=timings)
        self.owner.attach(self.connector)
        self.connector.open(self.owner)

    @property
    def pending(self) -> object:
        return self.connector.status()["reports_pending"]

    @property
    def problems(self) -> object:
        return self.connector.status()["problems"]

    def report(self, document: bytes, module: str = "pump") -> None:
        self.connector.set_reported(module, document)

    def connect(self) -> None:
        self._reactor.run_until(lambda: self.owner.is_connected)

    def close(self, timeout_s: float = 1.0) -> None:
        self.connector.close(self.owner.close_done, timeout_s)
        self._reactor.run_until(lambda: self.owner.is_closed)


@pytest.fixture
def reactor() -> Iterator[TestReactor]:
    one = TestReactor()
    yield one
    one.close()


def publication(topic: bytes, body: bytes, *, retain: bool = False) -> bytes:
    content = len(topic).to_bytes(2, "big") + topic + b"\x00" + body
    return bytes((0x30 | retain, len(content))) + content


def test_both_kinds_of_topics_are_asked_for_at_once(reactor: TestReactor):
    with FakeBroker() as broker:
        device = Device(reactor, broker.port)
        reactor.run_until(lambda: bool(broker.filters))
        device.close()

    assert broker.filters == [["microedge/d/+/methods/+", "microedge/d/+/twin/desired"]]


@pytest.mark.parametrize(
    ("answers", "problem"),
    [((NOT_AUTHORIZED, 1), "call methods from above"), ((1, NOT_AUTHORIZED), "set desired properties from above")],
)
def test_a_broker_that_refuses_one_kind_still_brings_the_other(reactor: TestReactor, answers, problem, caplog):
    with FakeBroker(suback=answers) as broker:
        device = Device(reactor, broker.port)
        reactor.run_until(lambda: bool(device.problems))
        broker.send_to_all(publication(b"microedge/d/pump/methods/on", b"1"))
        broker.send_to_all(publication(b"microedge/d/pump/twin/desired", b"{}", retain=True))
        reactor.run_until(lambda: len(device.owner.events) == 3)
        device.close()

    assert device.problems == [f"the broker lets nobody {problem}: Not authorized"]
    assert caplog.text.count("lets nobody") == 1
    assert [event[0] for event in device.owner.events] == ["connected", "called", "desired"]


def test_a_refused_subscription_is_asked_for_again_at_the_next_connection(reactor: TestReactor, caplog):
    with FakeBroker(suback=(1, NOT_AUTHORIZED)) as broker:
        device = Device(reactor, broker.port)
        reactor.run_until(lambda: bool(device.problems))
        for suback in ((1, NOT_AUTHORIZED), (1, 1)):
            broker.suback = suback
            count = len(broker.filters)
            broker.send_to_all(b"\xe0\x02\x8b\x00")
            reactor.run_until(lambda count=count: len(broker.filters) > count and device.owner.is_connected)
        reactor.run_until(lambda: not device.problems)
        device.close()

    assert caplog.text.count("lets nobody") == 1


def test_a_report_that_was_not_acknowledged_comes_again_as_it_is_now(reactor: TestReactor):
    answers = [None, 0]
    with FakeBroker(judge=lambda packet: answers.pop(0)) as broker:
        device = Device(reactor, broker.port)
        device.report(b'{"n":1}')
        reactor.run_until(lambda: len(broker.reported) == 1)
        device.report(b'{"n":2}')
        device.report(b'{"n":3}')
        broker.send_to_all(b"\xe0\x02\x8b\x00")
        reactor.run_until(lambda: device.pending == 0)
        device.close()

    assert broker.reported == [(TOPIC, b'{"n":1}'), (TOPIC, b'{"n":3}')]


def test_a_newer_report_never_goes_out_before_the_broker_has_the_older(reactor: TestReactor):
    with FakeBroker(judge=lambda packet: None) as broker:
        device = Device(reactor, broker.port)
        device.report(b'{"n":1}')
        reactor.run_until(lambda: len(broker.reported) == 1)
        device.report(b'{"n":2}')
        device.report(b"{}", module="valve")
        reactor.run_for(0.1)
        count = len(broker.reported)
        device.close(0.2)

    assert count == 1


def test_a_refused_report_is_said_once_and_tried_at_the_next_connection_only(reactor: TestReactor, caplog):
    codes = {"pump": NOT_AUTHORIZED, "valve": 0}
    with FakeBroker(judge=lambda packet: codes["pump" if b"/pump/" in packet else "valve"]) as broker:
        device = Device(reactor, broker.port)
        device.report(b"{}")
        reactor.run_until(lambda: bool(device.problems))
        device.report(b'{"n":2}')
        device.report(b"{}", module="valve")
        reactor.run_until(lambda: device.pending == 1)
        reactor.run_for(0.1)
        topics = [topic for topic, _ in broker.reported]
        problems, losses = device.problems, len(device.owner.losses)
        broker.send_to_all(b"\xe0\x02\x8b\x00")
        reactor.run_until(lambda: len(broker.reported) == 3)
        codes["pump"] = 0
        broker.send_to_all(b"\xe0\x02\x8b\x00")
        reactor.run_until(lambda: device.pending == 0)
        device.close()

    assert topics == [TOPIC, "microedge/d/valve/twin/reported"]
    assert problems == ["pump: reported: refused: not authorized (0x87)"]
    assert losses == 0
    assert broker.reported[-1] == (TOPIC, b'{"n":2}')
    assert caplog.text.count("does not take what pump reports") == 1
    assert device.problems == []


def test_a_report_over_the_packet_size_of_the_broker_is_not_sent_and_a_smaller_one_is(reactor: TestReactor, caplog):
    with FakeBroker(connack(properties=b"\x27" + (500).to_bytes(4, "big"))) as broker:
        device = Device(reactor, broker.port)
        device.report(b"x" * 600)
        reactor.run_until(lambda: bool(device.problems))
        problems = device.problems
        device.report(b"{}")
        reactor.run_until(lambda: device.pending == 0)
        device.close()

    assert broker.reported == [(TOPIC, b"{}")]
    assert problems == ["pump: reported: a packet of 646 bytes, the broker takes at most 500"]
    assert caplog.text.count("does not take what pump reports") == 1
    assert device.problems == []


def test_a_broker_that_closes_over_a_report_loses_no_message_and_is_left_in_peace(reactor: TestReactor, caplog):
    messages = [make_message(number) for number in range(1, 201)]
    with FakeBroker(judge=lambda packet: CLOSE if b"/twin/reported" in packet else 0) as broker:
        device = Device(reactor, broker.port, messages)
        device.report(b"{}")
        device.report(b"{}", module="valve")
        reactor.run_until(lambda: "the next try is in an hour" in caplog.text)
        device.owner.add(*[make_message(number) for number in range(201, 401)])
        reactor.run_until(lambda: device.owner.is_idle and device.owner.is_connected)
        connects = broker.connects
        reactor.run_for(0.2)
        device.close()

    assert device.owner.refused == []
    assert len(device.owner.delivered) >= 400
    assert (connects, broker.connects, len(broker.reported)) == (4, 4, 3)


def test_a_message_that_the_broker_closes_on_is_found_while_modules_report(reactor: TestReactor):
    messages = [make_message(number) for number in range(1, 41)]
    messages[20] = make_message(21, b"poison")
    with FakeBroker(judge=lambda packet: CLOSE if b"poison" in packet else 0) as broker:
        device = Device(reactor, broker.port, messages)
        count = 0
        while not (device.owner.is_idle and device.owner.is_connected):
            count += 1
            device.report(b"%d" % count)
            reactor.run_for(0.005)
        reactor.run_until(lambda: device.pending == 0)
        device.close()

    assert [refused[:2] for refused in device.owner.refused] == [("s1-21", "poison")]
    assert len(set(device.owner.delivered)) == 39
    assert broker.reported[-1] == (TOPIC, b"%d" % count)
    assert device.problems == []


def test_a_report_that_is_never_acknowledged_does_not_stop_messages_for_good(reactor: TestReactor):
    timings = Timings(ack_s=0.2, first_retry_s=0.02, max_retry_s=0.1, reports=PACE)
    with FakeBroker(connack(properties=b"\x13\x00\x00"), lambda packet: None if b"/twin/" in packet else 0) as broker:
        settings = UpstreamSettings(type="mqtt", device="d", host="127.0.0.1", port=broker.port, keepalive_s=0)
        owner = Owner()
        connector = MqttConnector(settings, reactor, timings=timings)
        owner.attach(connector)
        connector.open(owner)
        connector.set_reported("pump", b"{}")
        reactor.run_until(lambda: len(owner.losses) == 3)
        owner.add(make_message(1))
        reactor.run_until(lambda: owner.is_idle)
        reactor.run_for(0.5)
        connector.close(owner.close_done, 0.5)
        reactor.run_until(lambda: owner.is_closed)

    assert len(owner.losses) == 3
    assert "has not acknowledged what a module reports" in owner.losses[0]


def test_messages_and_reports_together_stay_within_the_window_of_the_broker(reactor: TestReactor):
    unacknowledged: list[bytes] = []
    with FakeBroker(connack(properties=b"\x21\x00\x04"), unacknowledged.append) as broker:
        device = Device(reactor, broker.port)
        device.report(b"{}")
        reactor.run_until(lambda: len(unacknowledged) == 1)
        device.report(b"{}", "valve")
        device.owner.add(*[make_message(number) for number in range(1, 11)])
        reactor.run_until(lambda: len(unacknowledged) == 4)
        reactor.run_for(0.1)
        most = len(unacknowledged)
        device.close(0.2)

    assert (device.owner.window, most) == (4, 4)


def test_a_report_waits_where_messages_fill_the_window_of_the_broker(reactor: TestReactor):
    unacknowledged: list[bytes] = []
    with FakeBroker(connack(properties=b"\x21\x00\x04"), unacknowledged.append) as broker:
        device = Device(reactor, broker.port, [make_message(number) for number in range(1, 11)])
        reactor.run_until(lambda: len(unacknowledged) == 4)
        device.report(b"{}")
        reactor.run_for(0.1)
        most = len(unacknowledged)
        device.close(0.2)

    assert (most, broker.reported) == (4, [])


def test_a_report_that_the_broker_closed_on_goes_alone_and_no_message_with_it(reactor: TestReactor):
    answers = [CLOSE, None]
    with FakeBroker(judge=lambda packet: answers.pop(0) if b"/twin/" in packet else None) as broker:
        device = Device(reactor, broker.port)
        device.report(b"{}")
        reactor.run_until(lambda: len(broker.reported) == 2)
        device.owner.add(make_message(1))
        reactor.run_for(0.1)
        bodies = list(broker.bodies)
        device.close(0.2)

    assert bodies == []


def test_a_message_beside_a_report_is_no_suspect_when_the_broker_closes(reactor: TestReactor):
    with FakeBroker(judge=lambda packet: CLOSE if b"/twin/" in packet else None) as broker:
        device = Device(reactor, broker.port, [make_message(1)])
        reactor.run_until(lambda: len(broker.bodies) == 1)
        device.report(b"{}")
        reactor.run_until(lambda: len(device.owner.losses) == 1)
        suspect = device.connector._poison.suspect
        device.close(0.2)

    assert suspect == ""


def test_a_window_of_one_serves_messages_and_reports_in_turn(reactor: TestReactor):
    with FakeBroker(connack(properties=b"\x21\x00\x01")) as broker:
        device = Device(reactor, broker.port, [make_message(number) for number in range(1, 2_000)])
        reactor.run_until(lambda: len(broker.bodies) > 5)
        device.report(b"{}")
        reactor.run_until(lambda: device.pending == 0)
        is_backlog = not device.owner.is_idle
        reactor.run_until(lambda: device.owner.is_idle)
        device.close()

    assert is_backlog
    assert device.owner.losses == []


def test_reports_go_out_before_offline_and_no_later_than_the_time_limit(reactor: TestReactor):
    with FakeBroker() as broker:
        device = Device(reactor, broker.port, timings=Timings(first_retry_s=0.02))
        device.connect()
        for number in range(5):
            device.report(b"{}", f"m{number}")
        device.close()

    assert broker.order == [
        "microedge/d/status",
        *(f"microedge/d/m{n}/twin/reported" for n in range(5)),
        "microedge/d/status",
    ]


def test_a_broker_that_takes_no_report_still_hears_goodbye(reactor: TestReactor):
    with FakeBroker(judge=lambda packet: None) as broker:
        device = Device(reactor, broker.port)
        device.connect()
        device.report(b"{}")
        device.close(0.4)

    assert [b"offline" in status for status in broker.statuses] == [False, True]


def test_a_giant_document_is_acknowledged_dropped_and_said_once(reactor: TestReactor, caplog):
    topic = b"microedge/d/pump/twin/desired"
    length = 2 + len(topic) + 2 + 3_000_000
    head = b"\x33" + bytes((length & 127 | 128, length >> 7 & 127 | 128, length >> 14 & 127 | 128, length >> 21))
    giant = head + len(topic).to_bytes(2, "big") + topic + b"\x00\x09" + bytes(3_000_000)
    with FakeBroker() as broker:
        device = Device(reactor, broker.port)
        device.report(b"{}")
        reactor.run_until(lambda: device.pending == 0)  # the broker has no more to say that would get in between
        sender = threading.Thread(target=broker.send_to_all, args=(giant + giant,))
        sender.start()
        reactor.run_until(lambda: not sender.is_alive() and broker.acknowledged == [9, 9])
        problems = device.problems
        broker.send_to_all(publication(topic, b"{}"))
        reactor.run_until(lambda: device.owner.desired == [("pump", b"{}")])
        device.close()

    assert problems == [f"{topic.decode()}: a packet of {length} bytes, at most 1048576 are taken"]
    assert caplog.text.count("dropped from above") == 1
    assert device.owner.losses == []
    assert device.problems == []
