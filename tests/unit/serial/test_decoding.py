"""Decoders: what is a reading, and what is nearly one."""

from __future__ import annotations

import pytest

from microedge.serial.decoding import Column, CsvDecoder, JsonDecoder, RegexDecoder, TextDecoder
from microedge.serial.errors import DecodeError

SCALE = r"(?P<state>ST|US),(?P<kind>GS|NT),(?P<kg>[+-] *[0-9.]+)kg"


def test_a_json_object_is_a_reading() -> None:
    line = '{"celsius": 21.5, "ok": true, "note": "été", "none": null, "tags": [1, {"a": -2e3}]}'.encode()

    assert JsonDecoder().decode(line) == {
        "celsius": 21.5,
        "ok": True,
        "note": "été",
        "none": None,
        "tags": [1, {"a": -2000.0}],
    }


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"21.5",
        b"[1]",
        b'"text"',
        b"null",
        b"{}",
        b'{"a": 1',
        b'{"a": 1} x',
        b'{"a": 1}}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": [[-1e999]]}',
        b'{"a": ' + b"9" * 400 + b"}",
        b'{"a": ' + b"9" * 5_000 + b"}",
        b'{"a": "\x00"}',
        b'{"a": "\xff"}',
        b'{"a": "\\ud800"}',
        b'{"\\udc00": 1}',
        b'{"a": ' + b"[" * 17 + b"]" * 17 + b"}",
        b'{"a": ' + b"[" * 500_000,
        b"\xef\xbb\xbf{}",
    ],
    ids=lambda line: repr(line[:20]),
)
def test_what_is_no_sound_json_object_is_refused(line: bytes) -> None:
    with pytest.raises(DecodeError, match="not a JSON object") as refusal:
        JsonDecoder().decode(line)

    assert refusal.value.kind == "format"
    assert len(str(refusal.value)) < 200


def test_a_whole_surrogate_pair_is_text() -> None:
    assert JsonDecoder().decode(rb'{"a": "\ud83d\ude00"}') == {"a": "\U0001f600"}


def test_csv_columns_get_their_names_and_types() -> None:
    decoder = CsvDecoder([Column("n"), Column("label", "text"), Column("x", "skip"), Column("celsius")])

    assert decoder.decode(b"007, door ,?, -2.50e1") == {"n": 7, "label": "door", "celsius": -25.0}


@pytest.mark.parametrize(
    ("delimiter", "line"), [(";", b"1;2.5"), ("\t", b"1\t2.5"), (" ", b" 1   2.5 "), (",", b'"1","2.5"')]
)
def test_csv_takes_other_delimiters_and_quotes(delimiter: str, line: bytes) -> None:
    decoder = CsvDecoder([Column("a"), Column("b")], delimiter=delimiter)

    assert decoder.decode(line) == {"a": 1, "b": 2.5}


@pytest.mark.parametrize(
    "line",
    [
        b"1",
        b"1,2,3",
        b"1,",
        b"1,x",
        b"1,nan",
        b"1,inf",
        b"1,1e999",
        b"1,1_0",
        b"1,0x1",
        "1,٣".encode(),
        b"1,\xff",
        b"1,2\0",
    ],
)
def test_a_csv_row_with_a_wrong_cell_or_count_is_refused(line: bytes) -> None:
    with pytest.raises(DecodeError):
        CsvDecoder([Column("a"), Column("b")]).decode(line)


def test_a_quote_that_does_not_end_is_refused() -> None:
    with pytest.raises(DecodeError, match="not a CSV row"):
        CsvDecoder([Column("a", "text"), Column("b")]).decode(b'"1,2')


def test_a_header_row_names_the_columns_and_is_no_reading() -> None:
    decoder = CsvDecoder()

    with pytest.raises(DecodeError, match="no header row seen yet"):
        decoder.decode(b"21.5,40")
    assert decoder.decode(b"celsius,percent") == {}
    assert decoder.decode(b"21.5,40") == {"celsius": 21.5, "percent": 40}


def test_a_header_row_is_skipped_when_the_columns_are_given() -> None:
    decoder = CsvDecoder([Column("celsius"), Column("state", "text")])

    assert decoder.decode(b"celsius,state") == {}
    assert decoder.decode(b"1,on") == {"celsius": 1, "state": "on"}


def test_columns_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="each name once"):
        CsvDecoder([Column("a"), Column("a")])
    with pytest.raises(ValueError, match="one character"):
        CsvDecoder([Column("a")], delimiter=", ")
    with pytest.raises(ValueError, match="number, text, skip"):
        Column("a", "float")


def test_named_groups_become_a_reading() -> None:
    assert RegexDecoder(SCALE).decode(b"ST,GS,+  12.34kg") == {"state": "ST", "kind": "GS", "kg": 12.34}


def test_a_group_keeps_its_text_or_must_be_a_number_when_told_so() -> None:
    decoder = RegexDecoder(r"(?P<id>\d+) (?P<value>\S+)", {"id": "text", "value": "number"})

    assert decoder.decode(b"0012 7") == {"id": "0012", "value": 7}
    with pytest.raises(DecodeError, match="value = 'x'"):
        decoder.decode(b"0012 x")


def test_a_group_that_took_no_part_is_left_out() -> None:
    assert RegexDecoder(r"(?P<a>\d+)(?:,(?P<b>\d+))?").decode(b"1") == {"a": 1}


def test_a_line_must_match_as_a_whole() -> None:
    with pytest.raises(DecodeError, match="does not match"):
        RegexDecoder(r"T=(?P<t>\d+)").decode(b"xT=12")


@pytest.mark.parametrize("pattern", ["(", r"\d+", "(?P<a>", "[", "(?P<1>x)"])
def test_a_pattern_that_cannot_give_readings_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"expected|expression"):
        RegexDecoder(pattern)


def test_text_is_a_reading_unless_it_holds_control_characters() -> None:
    assert TextDecoder().decode("motor läuft\t1".encode()) == {"text": "motor läuft\t1"}
    for line in (b"\x1b[2J", b"a\0b", b"\xff\xfe"):
        with pytest.raises(DecodeError):
            TextDecoder().decode(line)
