"""A direct method call as a value, and in frames."""

from __future__ import annotations

import json
from typing import Any

import pytest

from microedge import wire
from microedge.errors import RemoteProtocolError
from microedge.hub.calls import Invocation, invoked_frame, method_frame, read_invocation, read_result
from microedge.method import MAX_PAYLOAD_BYTES, MethodResponse


def test_a_call_that_is_in_order_has_no_problem():
    assert Invocation("pump", "calibrate", b'{"points":3}', 5, 300).problem() == ""
    assert Invocation("$edgeAgent", "ping").problem() == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "x" * 100},
        {"method": "x"},
        {"payload": b""},
        {"payload": b'"%b"' % (b"x" * (MAX_PAYLOAD_BYTES - 2))},
        {"response_timeout_s": 5},
        {"response_timeout_s": 300},
        {"connect_timeout_s": 0},
        {"connect_timeout_s": 300},
    ],
)
def test_a_call_at_a_limit_has_no_problem(changes: dict[str, Any]):
    assert Invocation(**{"module": "pump", "method": "on", **changes}).problem() == ""


def test_without_times_a_call_waits_30_s_for_its_answer_and_not_for_the_module():
    call = Invocation("pump", "on")

    assert (call.response_timeout_s, call.connect_timeout_s) == (30, 0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": ""}, "method = ''"),
        ({"response_timeout_s": 4.9}, "response timeout = 4.9: expected 5 to 300 seconds"),
        ({"response_timeout_s": 301}, "response timeout = 301: expected 5 to 300 seconds"),
        ({"connect_timeout_s": -1}, "connect timeout = -1: expected 0 to 300 seconds"),
        ({"module": "a b"}, "module = 'a b': expected a letter or digit"),
        ({"module": "$edgeHub"}, "module"),
        ({"module": None}, "module"),
        ({"method": "a/b"}, "method = 'a/b': expected 1 to 100 printable"),
        ({"method": "x" * 101}, "method"),
        ({"method": ["x"]}, "method"),
        ({"payload": b"{"}, "payload is not JSON"),
        ({"payload": b"1" * (MAX_PAYLOAD_BYTES + 1)}, "expected at most 131072"),
        ({"response_timeout_s": 1}, "response timeout = 1: expected 5 to 300 seconds"),
        ({"response_timeout_s": "x"}, "response timeout"),
        ({"connect_timeout_s": 301}, "connect timeout"),
    ],
)
def test_a_problem_is_named(changes: dict[str, Any], words: str):
    assert words in Invocation(**{"module": "pump", "method": "on", **changes}).problem()


def test_an_invocation_is_read_from_its_frame():
    head = json.dumps({"module": "pump", "method": "on", "response_timeout_s": 7, "connect_timeout_s": 1}).encode()

    assert read_invocation(head, b"[1]") == Invocation("pump", "on", b"[1]", 7, 1)
    assert read_invocation(b'{"module":"pump","method":"on"}', b"") == Invocation("pump", "on")


@pytest.mark.parametrize(
    "head", [b"", b"{", b"[]", b'{"module":"pump"}', b'{"module":"p","method":"m","payload":1}', b"[" * 60_000, b"\xff"]
)
def test_a_head_that_names_nothing_breaks_the_protocol(head: bytes):
    with pytest.raises(RemoteProtocolError, match="INVOKE"):
        read_invocation(head, b"")


def test_an_answer_is_read_from_its_frame():
    assert read_result(b"-3", b'{"a":1}') == MethodResponse(-3, {"a": 1})
    assert read_result(b"200", b"") == MethodResponse(200, None)


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"", b""),
        (b"2e2", b""),
        (b"9999999999", b""),
        (b"200", b"{"),
        (b"200", b"NaN"),
        (b"200", b" " * 131_073),
        (b"200", b"[" * 500 + b"]" * 500),
        (b"200", b"1e999"),
        (b"200", b'"\\ud800"'),
    ],
)
def test_an_answer_that_is_none_breaks_the_protocol(head: bytes, body: bytes):
    with pytest.raises(RemoteProtocolError, match="method"):
        read_result(head, body)


def test_frames_carry_the_call_and_the_answer():
    frames = wire.Decoder(wire.FROM_HUB).feed(
        method_frame(7, "on", b"[1]") + invoked_frame(9, MethodResponse(404, {"message": "no"}))
    )

    assert frames == [(wire.METHOD, 7, 0, b"on", b"[1]"), (wire.INVOKED, 9, 0, b"404", b'{"message":"no"}')]
