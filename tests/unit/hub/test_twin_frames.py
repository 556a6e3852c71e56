"""The frames of a twin, as the module's decoder sees them."""

from __future__ import annotations

import json

import pytest

from microedge import wire
from microedge.errors import TwinError
from microedge.hub.twin_frames import desired_frame, report_refused_frame, reported_frame


def decoded(frame: bytes) -> tuple[int, int, bytes, object]:
    """Return type, number, head and the body's JSON value."""
    ((kind, number, _, head, body),) = wire.Decoder(wire.FROM_HUB).feed(frame)
    return kind, number, head, json.loads(body)


def test_a_report_that_was_taken_is_answered_with_the_version():
    assert decoded(reported_frame(3, 17)) == (wire.REPORTED, 3, b"200", {"version": 17})


def test_a_refused_report_is_answered_with_what_was_wrong():
    error = TwinError("properties.reported.a", [None], "a value: an array must not contain null", hint="use 0")

    assert decoded(report_refused_frame(3, error)) == (
        wire.REPORTED,
        3,
        b"400",
        {
            "path": "properties.reported.a",
            "got": [None],
            "expected": "a value: an array must not contain null",
            "message": "properties.reported.a = [None]: expected a value: an array must not contain null; use 0",
        },
    )


@pytest.mark.parametrize("got", ["x" * 2_000, float("inf"), {1, 2}])
def test_a_refused_value_that_is_large_or_no_json_becomes_a_short_text(got: object):
    _, _, _, body = decoded(report_refused_frame(1, TwinError("a", got, "less")))

    assert isinstance(body, dict)
    assert isinstance(body["got"], str)
    assert len(body["got"]) <= 201


@pytest.mark.parametrize(("is_whole", "head"), [(False, b"patch"), (True, b"whole")])
def test_desired_properties_say_whether_they_are_all(is_whole: bool, head: bytes):
    frame = desired_frame(9, {"a": {"b": None}, "name": "größer"}, is_whole)

    assert decoded(frame) == (wire.DESIRED, 9, head, {"a": {"b": None}, "name": "größer"})
