"""What a direct method may be called, carry and answer."""

from __future__ import annotations

import json

import pytest

from microedge.method import (
    MAX_PAYLOAD_BYTES,
    MethodResponse,
    check_timeouts,
    decode_payload,
    encode_payload,
    is_method_name,
    refusal,
)


@pytest.mark.parametrize("name", ["a", "calibrate", "Get.State-2", "$x", "x" * 100, "RestartModule"])
def test_a_name_is_up_to_100_printable_characters(name: str):
    assert is_method_name(name)


@pytest.mark.parametrize("name", ["", "x" * 101, "a b", "a/b", "+", "#", "ü", "a\n", "a\x00", None, 7])
def test_what_no_method_can_be_called(name: object):
    assert not is_method_name(name)


@pytest.mark.parametrize("value", [None, True, 0, -1.5, "ü", [], {}, {"a": [1, {"b": None}]}])
def test_a_json_value_comes_back_as_it_was(value: object):
    assert decode_payload(encode_payload(value)) == value


def test_no_bytes_at_all_mean_null():
    assert decode_payload(b"") is None


def test_a_payload_may_have_128_kib_and_not_one_byte_more():
    largest = "x" * (MAX_PAYLOAD_BYTES - 2)

    assert decode_payload(encode_payload(largest)) == largest
    with pytest.raises(ValueError, match=f"bytes={MAX_PAYLOAD_BYTES + 1}: expected at most 131072"):
        encode_payload(largest + "x")
    with pytest.raises(ValueError, match=f"bytes={MAX_PAYLOAD_BYTES + 1}"):
        decode_payload(b"1" * (MAX_PAYLOAD_BYTES + 1))


@pytest.mark.parametrize("raw", [b"{", b"\xff", b"NaN", b"[Infinity]", b"'a'", b"[" * 100_000, b"1 2"])
def test_what_is_no_json_is_refused(raw: bytes):
    with pytest.raises(ValueError, match="payload"):
        decode_payload(raw)


def deep() -> list[object]:
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "error"), [(float("nan"), ValueError), (object(), TypeError), ("\ud800", ValueError), (b"x", TypeError)]
)
def test_what_json_cannot_say_is_refused(value: object, error: type[Exception]):
    with pytest.raises(error):
        encode_payload(value)


def test_a_value_that_is_nested_too_deeply_is_refused():
    with pytest.raises(ValueError, match="nested too deeply"):
        encode_payload(deep())


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")])
def test_a_payload_may_have_100_levels_and_not_one_more(opening: bytes, closing: bytes):
    levels = opening.count(b"[") + opening.count(b"{")
    fits, too_deep = (opening * n + b"0" + closing * n for n in (100 // levels, 100 // levels + 1))

    assert encode_payload(decode_payload(fits)) == fits
    with pytest.raises(ValueError, match="at most 100 levels"):
        decode_payload(too_deep)
    with pytest.raises(ValueError, match="at most 100 levels"):
        encode_payload(json.loads(too_deep))


def test_a_payload_may_be_as_wide_as_it_likes():
    wide = [{"points": [[1, 2], [3, 4]]}] * 1_000

    assert decode_payload(encode_payload(wide)) == wide


@pytest.mark.parametrize("status", [200, 0, -1, 404, 2**31 - 1])
def test_a_status_is_any_whole_number(status: int):
    assert MethodResponse(status).status == status


@pytest.mark.parametrize("status", ["200", 200.0, True, None, 2**31])
def test_anything_else_is_no_status(status: object):
    with pytest.raises(ValueError, match="expected a whole number"):
        MethodResponse(status)  # type: ignore[arg-type]


def test_responses_are_equal_by_value():
    assert MethodResponse(200, [1]) == MethodResponse(200, [1])
    assert MethodResponse(200, [1]) != MethodResponse(201, [1])
    assert MethodResponse(200) != 200
    assert repr(refusal(404, "no")) == "MethodResponse(404, {'message': 'no'})"


@pytest.mark.parametrize(("status", "is_ok"), [(199, False), (200, True), (299, True), (300, False), (0, False)])
def test_ok_is_what_http_calls_success(status: int, is_ok: bool):
    assert MethodResponse(status).is_ok is is_ok


@pytest.mark.parametrize("times", [(5, 0), (300, 300), (30.5, 0.1)])
def test_times_within_their_range_are_taken(times: tuple[float, float]):
    check_timeouts(*times)


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ((4.9, 0), "response timeout = 4.9: expected 5 to 300 seconds"),
        ((301, 0), "response timeout"),
        ((30, -1), "connect timeout = -1: expected 0 to 300 seconds"),
        ((30, 300.1), "connect timeout"),
        ((float("nan"), 0), "response timeout"),
        (("30", 0), "response timeout"),
        ((True, 0), "response timeout"),
    ],
)
def test_other_times_are_refused_with_their_range(times: tuple[object, object], words: str):
    with pytest.raises(ValueError, match=words):
        check_timeouts(*times)
