"""Decoding for all inputs: garbage is refused in one way only, and what is delivered can be sent on."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microedge.serial.checksums import LineCheck, strip_crc32, strip_nmea, with_crc32, with_nmea
from microedge.serial.decoding import Column, CsvDecoder, JsonDecoder, RegexDecoder, TextDecoder
from microedge.serial.errors import DecodeError

DECODERS = [
    JsonDecoder(),
    CsvDecoder([Column("a"), Column("b", "text")]),
    CsvDecoder(),
    RegexDecoder(r"(?P<key>\w+)=(?P<value>.*)"),
    TextDecoder(),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
NOISE = (
    st.binary()
    | st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))
    | JSON.map(json.dumps).map(str.encode)
)


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: type(decoder).__name__)
@given(line=NOISE)
def test_garbage_is_a_reading_or_a_decode_error_and_a_reading_can_be_sent(decoder: object, line: bytes) -> None:
    refusals: list[DecodeError] = []
    try:
        reading = decoder.decode(line)  # type: ignore[attr-defined]
        json.dumps(reading, allow_nan=False, ensure_ascii=False).encode()
    except DecodeError as error:
        refusals.append(error)

    assert all(str(error).isprintable() for error in refusals)


@given(st.dictionaries(st.text(), JSON, min_size=1))
def test_every_json_object_comes_back_as_it_was(value: dict[str, object]) -> None:
    assert JsonDecoder().decode(json.dumps(value, ensure_ascii=False).encode("utf-8")) == value


@given(st.dictionaries(st.text(), JSON, min_size=1), st.integers(1, 10_000))
def test_the_tail_of_a_json_object_is_never_a_reading(value: dict[str, object], start: int) -> None:
    line = json.dumps(value).encode()
    tail = line[1 + start % (len(line) - 1) :]

    with pytest.raises(DecodeError):
        JsonDecoder().decode(tail)


@given(st.binary(), st.integers(0, 10_000), st.integers(0, 7))
def test_a_checked_line_comes_back_and_no_flipped_bit_goes_unseen(payload: bytes, at: int, bit: int) -> None:
    line = with_crc32(payload)
    damaged = bytearray(line)
    damaged[at % len(line)] ^= 1 << bit

    assert strip_crc32(line) == payload
    try:
        assert strip_crc32(bytes(damaged)) == payload  # only the case of a hex digit may have changed
        assert bytes(damaged).upper() == line.upper()
    except DecodeError:
        pass


@given(st.binary().filter(lambda payload: not set(payload) & set(b"$!*")))
def test_an_nmea_payload_comes_back(payload: bytes) -> None:
    assert strip_nmea(with_nmea(payload)) == payload


@given(st.sampled_from(["none", "crc32", "nmea", "auto"]), st.lists(st.binary()))
def test_a_line_check_refuses_in_one_way_only(kind: str, lines: list[bytes]) -> None:
    check = LineCheck(kind)
    refusals = []
    for line in lines:
        try:
            check.strip(line)
        except DecodeError as error:
            refusals.append(error.kind)

    assert set(refusals) <= {"check"}


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**18), 10**18))
def test_a_csv_number_comes_back(value: float) -> None:
    found = CsvDecoder([Column("x")]).decode(repr(value).encode())["x"]

    assert math.isclose(found, value, rel_tol=1e-15, abs_tol=0.0) or found == value
