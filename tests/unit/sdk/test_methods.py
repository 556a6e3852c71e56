"""Direct methods as a module has them: what it answers, and what it asks."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.module_hub import ModuleHub

from microedge import MethodResponse, wire
from microedge.errors import LocalProtocolError
from microedge.method import MAX_PAYLOAD_BYTES


@pytest.fixture
def hub() -> Iterator[ModuleHub]:
    with ModuleHub() as one:
        yield one


def call(hub: ModuleHub, name: str, payload: object = None, number: int = 1) -> MethodResponse:
    """Call a method of the module and return its answer."""
    hub.put(wire.METHOD, number, head=name.encode(), body=json.dumps(payload).encode())
    hub.client.wait(0)
    hub.client.wait(0)
    ((kind, answered, _, head, body),) = hub.frames()
    assert (kind, answered) == (wire.RESULT, number)
    return MethodResponse(int(head), json.loads(body))


def fail(_payload: object) -> None:
    raise ValueError("größer\nthan 3")


@pytest.mark.parametrize(
    ("callback", "expected"),
    [
        (lambda payload: payload, MethodResponse(200, {"points": 3})),
        (lambda payload: None, MethodResponse(200, None)),
        (lambda payload: MethodResponse(418, [1]), MethodResponse(418, [1])),
        (fail, MethodResponse(500, {"message": "ValueError: größer\\nthan 3"})),
    ],
)
def test_what_a_method_returns_or_raises_is_the_answer(hub: ModuleHub, callback: Any, expected: MethodResponse):
    hub.client.on_method("calibrate", callback)

    assert call(hub, "calibrate", {"points": 3}) == expected


@pytest.mark.parametrize("result", [object(), float("nan"), "x" * MAX_PAYLOAD_BYTES, b"bytes"])
def test_a_result_that_no_answer_can_hold_is_500_with_the_reason(hub: ModuleHub, result: object):
    hub.client.on_method("calibrate", lambda payload: result)

    answer = call(hub, "calibrate")

    assert answer.status == 500
    assert "the answer of calibrate" in answer.payload["message"]


def test_an_unknown_method_is_404_and_the_known_ones_are_named(hub: ModuleHub):
    hub.client.on_method("on", lambda payload: None)
    hub.client.on_method("off", lambda payload: None)

    answer = call(hub, "calibrate")

    assert answer == MethodResponse(404, {"message": "module north has no method calibrate; it has: off, on"})


def test_a_name_that_no_method_can_have_is_refused(hub: ModuleHub):
    with pytest.raises(LocalProtocolError, match=r"method 'a/b': expected 1 to 100 printable"):
        hub.client.on_method("a/b", lambda payload: None)


def test_calls_are_answered_in_order_and_one_at_a_time(hub: ModuleHub):
    running: list[object] = []

    def slow(payload: object) -> list[object]:
        running.append(payload)
        hub.client.wait(0)  # the next call is here and must not begin
        return list(running)

    hub.client.on_method("slow", slow)
    for number in (1, 2):
        hub.put(wire.METHOD, number, head=b"slow", body=b"%d" % number)
    hub.client.wait(0)
    hub.client.wait(0)

    assert [(frame[1], frame[4]) for frame in hub.frames()] == [(1, b"[1]"), (2, b"[1,2]")]


def test_a_method_does_not_run_while_an_input_is_handled(hub: ModuleHub):
    seen: list[str] = []

    def obey(_message: object) -> None:
        seen.append("begin")
        hub.client.wait(0)
        seen.append("end")

    hub.client.on_input("commands", obey)
    hub.client.on_method("on", lambda payload: seen.append("method"))
    hub.deliver(1, {})
    hub.put(wire.METHOD, 1, head=b"on", body=b"null")
    hub.client.wait(0)
    hub.client.wait(0)

    assert seen == ["begin", "end", "method"]


def answer_invoke(
    hub: ModuleHub, status: int, body: bytes, *, first: bytes = b""
) -> tuple[threading.Thread, list[Any]]:
    """Answer the next INVOKE from a thread; the list gets what was asked."""
    asked: list[Any] = []

    def run() -> None:
        deadline_s = time.monotonic() + 5
        while time.monotonic() < deadline_s and not asked:
            asked.extend(hub.frames())
            time.sleep(0.001)
        hub.socket.sendall(first)
        hub.put(wire.INVOKED, asked[0][1], head=b"%d" % status, body=body)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, asked


@pytest.mark.parametrize("status", [200, 404, 504, -7])
def test_invoke_returns_whatever_the_answer_is(hub: ModuleHub, status: int):
    thread, asked = answer_invoke(hub, status, b'{"a":1}')

    answer = hub.client.invoke("pump", "on", {"n": 1}, 7, connect_timeout_s=2)
    thread.join()

    assert answer == MethodResponse(status, {"a": 1})
    ((kind, _, _, head, body),) = asked
    assert (kind, body) == (wire.INVOKE, b'{"n":1}')
    assert json.loads(head) == {"module": "pump", "method": "on", "response_timeout_s": 7, "connect_timeout_s": 2}


def test_no_callback_runs_while_a_module_waits_for_an_answer(hub: ModuleHub):
    called: list[object] = []
    hub.client.on_method("on", called.append)
    first = wire.encode(wire.METHOD, 5, head=b"on", body=b"1")
    thread, _ = answer_invoke(hub, 200, b"2", first=first)

    assert hub.client.invoke("pump", "on").payload == 2
    thread.join()
    assert called == []
    hub.client.wait(0)
    assert called == [1]


def test_a_module_that_is_asked_to_stop_waits_for_no_answer(hub: ModuleHub):
    hub.put(wire.STOP)

    assert hub.client.invoke("pump", "on").status == 504
    assert hub.client.is_stopping
    hub.frames()
    thread, _ = answer_invoke(hub, 200, b"1")
    assert hub.client.invoke("pump", "goodbye").status == 200, "a last call on the way out is possible"
    thread.join()


def test_an_answer_that_nobody_waits_for_is_ignored(hub: ModuleHub):
    hub.put(wire.INVOKED, 99, head=b"200", body=b"1")

    assert hub.client.wait(0)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"timeout_s": 1}, ValueError),
        ({"timeout_s": 301}, ValueError),
        ({"connect_timeout_s": -1}, ValueError),
        ({"payload": "x" * MAX_PAYLOAD_BYTES}, ValueError),
        ({"payload": object()}, TypeError),
    ],
)
def test_a_call_that_cannot_be_made_is_refused_at_once(
    hub: ModuleHub, arguments: dict[str, Any], error: type[Exception]
):
    with pytest.raises(error):
        hub.client.invoke("pump", "on", **arguments)

    assert hub.frames() == []
