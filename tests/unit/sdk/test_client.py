"""ModuleClient against a hub that the test plays: sending, credit, callbacks, and the end."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.module_hub import ModuleHub

from microedge import wire
from microedge.errors import LocalProtocolError
from microedge.message import MAX_MESSAGE_BYTES, Envelope, Message
from microedge.sdk.link import HubGoneError


@pytest.fixture
def hub() -> Iterator[ModuleHub]:
    with ModuleHub() as one:
        yield one


# --- Sending ---


def test_a_dict_is_sent_as_json_and_says_so(hub: ModuleHub):
    assert hub.client.send("readings", {"celsius": 21.5}) == 1

    ((kind, number, time_ms, head, body),) = hub.frames()
    envelope = Envelope.decode(head)
    assert (kind, number, body) == (wire.SEND, 1, b'{"celsius":21.5}')
    assert (envelope.content_type, envelope.content_encoding) == ("application/json", "utf-8")
    assert abs(time_ms - time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000) < 5_000


@pytest.mark.parametrize(
    ("start", "said", "expected"),
    [
        ({}, {}, "batched"),
        ({"durability": "volatile"}, {}, "volatile"),
        ({"durability": "volatile"}, {"durability": "batched"}, "batched"),
        ({"durability": "immediate"}, {"durability": "volatile"}, "volatile"),
    ],
)
def test_a_message_is_as_durable_as_the_configuration_says_unless_the_module_does(start, said, expected):
    with ModuleHub(**start) as hub:
        hub.client.send("readings", 1, **said)

        ((_, _, _, head, _),) = hub.frames()
        assert Envelope.decode(head).durability == expected


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b"\x00\xff", None, ("", "", b"\x00\xff")),
        ("warm", None, ("text/plain", "utf-8", b"warm")),
        ([1, "zwölf"], None, ("application/json", "utf-8", '[1,"zwölf"]'.encode())),
        (7, None, ("application/json", "utf-8", b"7")),
        (b"{}", "application/json", ("application/json", "utf-8", b"{}")),
        (b"\x01", "application/cbor", ("application/cbor", "", b"\x01")),
    ],
)
def test_a_body_says_what_it_is(hub: ModuleHub, body: object, content_type: str | None, expected: tuple[Any, ...]):
    hub.client.send("readings", body, content_type=content_type)

    ((_, _, _, head, sent),) = hub.frames()
    envelope = Envelope.decode(head)
    assert (envelope.content_type, envelope.content_encoding, sent) == expected


def test_properties_ttl_and_durability_travel_with_the_message(hub: ModuleHub):
    hub.client.send("alarms", 1, properties={"line": "north"}, ttl_s=60, durability="immediate")

    envelope = Envelope.decode(hub.frames()[0][3])
    assert (envelope.output, envelope.properties) == ("alarms", {"line": "north"})
    assert (envelope.ttl_s, envelope.durability) == (60, "immediate")


def test_changing_a_properties_dict_afterwards_changes_no_message(hub: ModuleHub):
    properties = {"n": "1"}
    hub.client.send("readings", 1, properties=properties)
    properties["n"] = "2"
    hub.client.send("readings", 1, properties=properties)
    hub.client.send("readings", 1, properties={"n": "1"})

    assert [Envelope.decode(frame[3]).properties["n"] for frame in hub.frames()] == ["1", "2", "1"]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"output": "reading"}, LocalProtocolError, "output 'reading': expected one of .*: alarms, readings"),
        ({"body": b"x" * MAX_MESSAGE_BYTES}, LocalProtocolError, "expected at most 262144; split it"),
        ({"properties": {"k": "v" * 70_000}}, LocalProtocolError, "expected at most 65535"),
        ({"properties": {"k": 1}}, ValueError, "property 'k' = 1: expected strings"),
        ({"ttl_s": -2}, ValueError, "ttl_s = -2"),
        ({"durability": "forever"}, ValueError, "durability = 'forever'"),
        ({"content_type": "a\nb"}, ValueError, "content_type"),
        ({"body": float("nan")}, ValueError, "not JSON compliant"),
        ({"body": {1, 2}}, TypeError, "not JSON serializable"),
    ],
)
def test_what_cannot_be_sent_says_why_and_spends_no_sequence_number(
    hub: ModuleHub, arguments: dict[str, Any], error: type[Exception], words: str
):
    with pytest.raises(error, match=words):
        hub.client.send(**{"output": "readings", "body": 1, **arguments})

    assert hub.client.send("readings", 1) == 1


def test_a_full_window_waits_for_an_acknowledgement_and_then_goes_on():
    with ModuleHub(window=3) as hub:
        for _ in range(3):
            hub.client.send("readings", 1)
        hub.put(wire.ACK, 2)

        assert hub.client.send("readings", 1) == 4
        assert hub.client.send("readings", 1) == 5
        assert len(hub.frames()) == 5


def test_a_window_full_of_bytes_waits_too_but_one_large_message_always_fits():
    with ModuleHub(window_bytes=1_000) as hub:
        hub.client.send("readings", b"x" * 5_000)
        hub.put(wire.ACK, 1)
        hub.client.send("readings", b"x" * 600)
        hub.put(wire.ACK, 2)

        assert hub.client.send("readings", b"x" * 600) == 3


# --- Flushing ---


def test_flush_returns_true_once_all_is_acknowledged(hub: ModuleHub):
    hub.client.send("readings", 1)
    hub.client.send("readings", 2)
    hub.put(wire.ACK, 2)

    assert hub.client.flush(5)


def test_flush_returns_false_when_the_time_is_up(hub: ModuleHub):
    hub.client.send("readings", 1)
    hub.client.send("readings", 2)
    hub.put(wire.ACK, 1)

    assert not hub.client.flush(0.01)


def test_flush_with_no_time_looks_at_what_has_arrived(hub: ModuleHub):
    hub.client.send("readings", 1)
    hub.put(wire.ACK, 1)

    assert hub.client.flush(0)


def test_flush_with_nothing_sent_returns_at_once(hub: ModuleHub):
    assert hub.client.flush(0)


def test_callbacks_do_not_run_in_flush(hub: ModuleHub):
    obeyed: list[str] = []
    read_end, write_end = os.pipe()
    try:
        os.write(write_end, b"x")
        hub.client.watch(read_end, lambda: obeyed.append("watch"))
        hub.client.on_input("commands", lambda message: obeyed.append("input"))
        hub.client.every(0.001, lambda: obeyed.append("timer"))
        hub.client.send("readings", 1)
        hub.deliver(1, "open")
        hub.put(wire.ACK, 1)

        assert hub.client.flush(5)
        assert obeyed == []
    finally:
        os.close(read_end)
        os.close(write_end)


# --- Waiting ---


def test_wait_returns_true_when_the_time_is_up(hub: ModuleHub):
    started_s = time.monotonic()

    assert hub.client.wait(0.02)
    assert time.monotonic() - started_s >= 0.02


def test_wait_and_run_end_when_the_hub_says_stop(hub: ModuleHub):
    hub.put(wire.STOP)

    assert not hub.client.wait(60)
    assert hub.client.is_stopping
    assert not hub.client.wait(60)
    hub.client.run()


def test_a_request_to_stop_from_a_signal_handler_ends_wait_at_once(hub: ModuleHub):
    """The system call below wait starts again by itself after a signal, for up to an hour."""
    before = signal.signal(signal.SIGALRM, lambda signum, frame: hub.client.request_stop())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        started_s = time.monotonic()
        assert not hub.client.wait(15)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert time.monotonic() - started_s < 5


def test_a_timer_that_requests_the_stop_ends_wait_at_once(hub: ModuleHub):
    hub.client.every(0.001, hub.client.request_stop)

    started_s = time.monotonic()
    assert not hub.client.wait(15)
    assert time.monotonic() - started_s < 5


def test_a_stop_that_arrives_while_a_timer_flushes_ends_wait_at_once(hub: ModuleHub):
    def send() -> None:
        hub.client.send("readings", 1)
        hub.put(wire.STOP)
        hub.put(wire.ACK, 1)
        assert hub.client.flush(5)

    hub.client.every(0.001, send)
    started_s = time.monotonic()

    assert not hub.client.wait(15)
    assert time.monotonic() - started_s < 5


def test_timers_run_in_wait_again_and_again_and_missed_calls_are_skipped(hub: ModuleHub):
    calls: list[float] = []

    def call() -> None:
        calls.append(time.monotonic())
        if len(calls) == 1:
            until_s = time.monotonic() + 0.05  # five calls are missed meanwhile
            while time.monotonic() < until_s:
                pass
        if len(calls) == 3:
            hub.client.request_stop()

    hub.client.every(0.01, call)
    assert not hub.client.wait(10)
    assert calls[1] - calls[0] >= 0.05
    assert calls[2] - calls[1] < 5


def test_the_same_callback_again_gets_another_interval(hub: ModuleHub):
    calls: list[int] = []

    def call() -> None:
        calls.append(1)
        hub.client.request_stop()

    hub.client.every(3_600, call)
    hub.client.every(0.001, call)
    assert not hub.client.wait(15)
    assert calls == [1]


@pytest.mark.parametrize("seconds", [0, -1])
def test_a_timer_needs_an_interval(hub: ModuleHub, seconds: float):
    with pytest.raises(ValueError, match="expected more than 0 seconds"):
        hub.client.every(seconds, lambda: None)


def test_a_watched_descriptor_calls_back_while_it_is_readable_and_until_the_watch_ends(hub: ModuleHub):
    read_end, write_end = os.pipe()
    seen: list[bytes] = []

    def read() -> None:
        seen.append(os.read(read_end, 1))
        if len(seen) == 2:
            hub.client.watch(read_end, None)
            hub.client.request_stop()

    try:
        os.write(write_end, b"abc")
        hub.client.watch(read_end, read)
        assert not hub.client.wait(10)
        hub.client.watch(read_end, None)  # twice is harmless
    finally:
        os.close(read_end)
        os.close(write_end)

    assert seen == [b"a", b"b"]


def test_two_watched_descriptors_may_end_each_others_watch(hub: ModuleHub):
    first, second = os.pipe(), os.pipe()
    calls: list[int] = []

    def read(fd: int, other: int) -> None:
        calls.append(fd)
        hub.client.watch(other, None)
        hub.client.request_stop()

    try:
        for (fd, write_end), (other, _) in ((first, second), (second, first)):
            os.write(write_end, b"x")
            hub.client.watch(fd, lambda fd=fd, other=other: read(fd, other))
        assert not hub.client.wait(10)
    finally:
        for fd in (*first, *second):
            os.close(fd)

    assert len(calls) == 1


# --- Inputs ---


def test_a_message_is_acknowledged_after_its_handler_has_returned(hub: ModuleHub):
    answered_before: list[list[tuple[int, str]]] = []

    def obey(message: Message) -> None:
        answered_before.append(hub.answers())
        assert (message.input, message.json(), message.module, message.output) == ("commands", "open", "desk", "orders")

    hub.client.on_input("commands", obey)
    hub.deliver(7, "open")
    hub.client.wait(0.01)
    hub.client.wait(0)

    assert answered_before == [[]]
    assert hub.answers() == [(7, "")]


def test_a_failed_message_is_answered_with_its_error_and_what_was_sent_ahead_is_forgotten(
    hub: ModuleHub, capsys: pytest.CaptureFixture[str]
):
    obeyed: list[object] = []

    def obey(message: Message) -> None:
        if message.json() == "break":
            raise ValueError("too\ncold")
        obeyed.append(message.json())

    hub.client.on_input("commands", obey)
    for delivery, body in enumerate(["a", "break", "b", "c"], start=1):
        hub.deliver(delivery, body)
    hub.client.wait(0.01)
    hub.deliver(5, "b", epoch=1)
    hub.client.wait(0.01)
    hub.client.wait(0)

    assert obeyed == ["a", "b"]
    assert hub.answers() == [(1, ""), (2, "ValueError: too\\ncold"), (5, "")]
    assert "<3>input commands: message s9-2 failed: ValueError('too\\ncold')" in capsys.readouterr().err


def test_of_a_suspect_the_module_says_at_once_that_it_has_begun_and_that_it_is_done(hub: ModuleHub):
    said_before: list[list[tuple[int, int]]] = []
    hub.client.on_input("commands", lambda message: said_before.append([frame[:2] for frame in hub.frames()]))
    for delivery in range(1, 21):  # more than a burst: what is not urgent would be gathered
        hub.deliver(delivery, "x", is_suspect=delivery > 17)
    hub.client.wait(0)
    hub.client.wait(0)

    assert said_before[17][-1] == (wire.BEGUN, 18)
    assert said_before[18:] == [[(wire.DONE, n), (wire.BEGUN, n + 1)] for n in (18, 19)]
    assert hub.answers() == [(20, "")]


def test_inputs_fail_independently(hub: ModuleHub, capsys: pytest.CaptureFixture[str]):
    obeyed: list[object] = []
    hub.client.on_input("commands", lambda message: 1 / 0)
    hub.client.on_input("queries", lambda message: obeyed.append(message.json()))
    hub.deliver(1, "x")
    hub.deliver(2, "y", to="queries")
    hub.client.wait(0.01)
    hub.client.wait(0)

    assert obeyed == ["y"]
    assert hub.answers() == [(1, "ZeroDivisionError: division by zero"), (2, "")]


def test_a_message_waits_until_somebody_handles_its_input(hub: ModuleHub):
    obeyed: list[object] = []
    hub.deliver(1, "first")
    hub.deliver(2, "second")
    hub.client.wait(0.01)
    assert hub.answers() == []

    hub.client.on_input("commands", lambda message: obeyed.append(message.json()))
    hub.client.wait(0.01)

    assert obeyed == ["first", "second"]


def test_a_message_that_arrived_while_a_timer_flushed_is_handled_at_once(hub: ModuleHub):
    def obey(message: Message) -> None:
        hub.client.request_stop()

    def send() -> None:
        hub.client.send("readings", 1)
        hub.deliver(1, "open")
        hub.put(wire.ACK, hub.client.send("readings", 1))
        assert hub.client.flush(5)

    hub.client.on_input("commands", obey)
    hub.client.every(0.001, send)
    started_s = time.monotonic()
    assert not hub.client.wait(15)
    assert time.monotonic() - started_s < 5


def test_a_handler_that_waits_gets_no_second_message_before_it_has_returned(hub: ModuleHub):
    log: list[str] = []

    def obey(message: Message) -> None:
        log.append(f"begin {message.json()}")
        hub.client.wait(0.01)
        log.append(f"end {message.json()}")

    hub.client.on_input("commands", obey)
    hub.deliver(1, "a")
    hub.deliver(2, "b")
    hub.client.wait(0.1)

    assert log == ["begin a", "end a", "begin b", "end b"]


def test_after_a_stop_no_further_message_is_handled(hub: ModuleHub):
    obeyed: list[object] = []

    def obey(message: Message) -> None:
        obeyed.append(message.json())
        hub.client.request_stop()

    hub.client.on_input("commands", obey)
    for delivery in range(1, 5):
        hub.deliver(delivery, delivery)

    assert not hub.client.wait(5)
    assert obeyed == [1]


def test_an_input_that_the_manifest_does_not_name_is_refused(hub: ModuleHub):
    with pytest.raises(LocalProtocolError, match=r"input 'command': expected one of .*: commands, queries"):
        hub.client.on_input("command", lambda message: None)


@pytest.mark.parametrize("verb", ["on_input", "on_method", "on_desired", "every", "watch"])
def test_a_coroutine_function_is_no_callback_here_because_nobody_would_await_it(hub: ModuleHub, verb: str):
    async def obey(*_arguments: object) -> None:
        """Never called."""

    before: dict[str, tuple[object, ...]] = {"on_desired": (), "every": (1,), "watch": (0,)}
    with pytest.raises(LocalProtocolError, match="is a coroutine function: expected def"):
        getattr(hub.client, verb)(*before.get(verb, ("commands",)), obey)


# --- Twin, identity, progress, the end ---


def test_on_desired_calls_at_once_with_the_whole_document_as_the_patch(hub: ModuleHub):
    calls: list[tuple[object, object]] = []

    hub.client.on_desired(lambda patch, desired: calls.append((patch, desired)))

    assert calls == [({"interval_s": 5, "unit": "C", "$version": 0}, {"interval_s": 5, "unit": "C"})]


def test_a_client_knows_who_it_is(hub: ModuleHub):
    client = hub.client

    assert (client.identity, client.data_dir) == ("/devices/greenhouse-7/modules/north", "/nowhere")
    assert client.desired["interval_s"] == 5


def test_a_client_knows_its_generation_unless_it_runs_alone(hub: ModuleHub):
    with ModuleHub(generation="4b42bf9e94288ee0") as other:
        assert other.client.generation == "4b42bf9e94288ee0"
    assert hub.client.generation == ""


def test_ready_is_said_at_once(hub: ModuleHub):
    hub.client.ready()

    assert [frame[0] for frame in hub.frames()] == [wire.READY]


def test_progress_is_reported_from_wait_and_flush_as_often_as_the_hub_asks():
    with ModuleHub(progress_s=0.005) as hub:
        hub.client.wait(0.05)
        hub.client.send("readings", 1)
        hub.client.flush(0.05)
        hub.socket.setblocking(True)
        frames = wire.Decoder(wire.FROM_MODULE).feed(hub.socket.recv(1 << 16))

    kinds = [frame[0] for frame in frames]
    at = kinds.index(wire.SEND)
    assert kinds[:at].count(wire.PROGRESS) >= 3
    assert kinds[at:].count(wire.PROGRESS) >= 3


def test_a_module_that_does_nothing_reports_no_progress():
    with ModuleHub(progress_s=0.001) as hub:
        assert hub.client.data_dir
        hub.socket.settimeout(0.02)
        with pytest.raises(OSError, match="timed out"):
            hub.socket.recv(1)


@pytest.mark.parametrize("verb", ["wait", "run", "flush", "ready"])
def test_a_hub_that_is_gone_raises_hub_gone_error(hub: ModuleHub, verb: str):
    hub.client.send("readings", 1)
    hub.frames()
    hub.socket.close()

    verbs = {
        "wait": lambda: hub.client.wait(5),
        "run": hub.client.run,
        "flush": lambda: hub.client.flush(5),
        "ready": hub.client.ready,
    }
    with pytest.raises(HubGoneError, match="the hub closed the connection"):
        verbs[verb]()


def test_a_send_to_a_hub_that_is_gone_raises_hub_gone_error(hub: ModuleHub):
    hub.socket.close()

    with pytest.raises(HubGoneError):
        hub.client.send("readings", 1)


def test_the_sdk_and_the_wire_agree_on_a_message(hub: ModuleHub):
    body = {"text": "größer", "n": [1, 2.5, None, True]}
    hub.client.send("readings", body)

    assert json.loads(hub.frames()[0][4]) == body
