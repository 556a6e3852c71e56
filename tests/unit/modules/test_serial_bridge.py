"""The serial bridge's settings and readings: what an operator may write, and what leaves as a message."""

from __future__ import annotations

import json
import math
import re
import sys
from typing import Any

import pytest
from support.serial_line import ROOT, load_package

from microedge.serial.checksums import with_crc32, with_nmea

load_package("modules", "serial_bridge")
from serial_bridge.readings import ReadingMaker, RefusalReport  # noqa: E402 (the package is where no import finds it)
from serial_bridge.settings import Settings, SettingsError  # noqa: E402

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PORT = {"port": "/dev/ttyUSB0"}


def maker(**desired: Any) -> ReadingMaker:
    return ReadingMaker(Settings({**PORT, **desired}), lambda: 1_700_000_000_123)


def bodies(lines: list[bytes], **desired: Any) -> list[Any]:
    return list(maker(**desired).bodies(lines))


def test_the_manifest_lists_every_key_with_its_default() -> None:
    manifest = tomllib.loads((ROOT / "modules/serial_bridge/module.toml").read_text())

    assert vars(Settings({**manifest["desired"], **PORT})) == vars(Settings(PORT))
    assert set(manifest["desired"]) == set(vars(Settings(PORT)))


@pytest.mark.parametrize(
    ("desired", "message"),
    [
        ({}, "port = '': expected a path such as /dev/ttyUSB0"),
        ({"port": 5}, "port = 5: expected text"),
        ({**PORT, "baudrate": 9600}, "baudrate: unknown key; did you mean baud?"),
        ({**PORT, "baud": "9600"}, "baud = '9600': expected a whole number from 50 to 12000000"),
        ({**PORT, "baud": True}, "baud = True: expected a whole number"),
        ({**PORT, "parity": "mark"}, "parity = 'mark': expected one of none, even, odd"),
        ({**PORT, "framing": "cobs"}, "framing = 'cobs': expected one of line"),
        ({**PORT, "decode": "regex", "pattern": "("}, "not a regular expression"),
        ({**PORT, "decode": "regex"}, "pattern = '': expected at least one named group"),
        ({**PORT, "decode": "csv"}, "columns = []: expected the names of the columns"),
        ({**PORT, "decode": "csv", "columns": ["a", "a"]}, "expected each name once"),
        ({**PORT, "columns": "a,b"}, "columns = 'a,b': expected a list of names"),
        ({**PORT, "fields": {"t": 5}}, "fields.t = 5: expected a table"),
        ({**PORT, "fields": {"t": {"scael": 5}}}, "fields.t.scael: expected one of scale, offset, unit, range, type"),
        ({**PORT, "fields": {"t": {"scale": math.inf}}}, "fields.t.scale = inf: expected a finite number"),
        ({**PORT, "fields": {"t": {"range": [5]}}}, "fields.t.range = [5]: expected two numbers"),
        ({**PORT, "fields": {"t": {"range": [5, 1]}}}, "fields.t: range = "),
        ({**PORT, "stale_s": -1}, "stale_s = -1: expected a number from 0"),
    ],
)
def test_a_wrong_property_is_named_with_what_was_found_and_expected(desired: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        Settings(desired)


def test_metadata_of_the_twin_is_no_unknown_key() -> None:
    assert Settings({**PORT, "$version": 7}).port == "/dev/ttyUSB0"


def test_a_json_line_that_nothing_changes_goes_on_as_it_came() -> None:
    line = b'{ "celsius" : 2.150e1, "n":1 }'

    assert bodies([b"  " + line + b"\r"]) == [line]
    assert bodies([with_crc32(line)], check="crc32") == [line]
    assert bodies([line], fields={"celsius": {"range": [-40, 85], "unit": "Cel"}}) == [line]


def test_a_rule_or_a_timestamp_makes_a_new_body() -> None:
    found = bodies([b'{"t": 215}'], fields={"t": {"scale": 0.1}}, timestamp_field="time_ms")

    assert found == [{"t": 21.5, "time_ms": 1_700_000_000_123}]


def test_csv_and_patterns_follow_the_types_of_their_fields() -> None:
    fields = {"id": {"type": "text"}, "t": {"scale": 0.1, "range": [-40, 85]}}

    assert bodies([b"007,x,215"], decode="csv", columns=["id", "-", "t"], fields=fields) == [{"id": "007", "t": 21.5}]
    assert bodies([b"007:215"], decode="regex", pattern=r"(?P<id>\d+):(?P<t>\d+)", fields=fields) == [
        {"id": "007", "t": 21.5}
    ]


def test_nmea_sentences_are_checked_and_read_as_csv() -> None:
    lines = [with_nmea(b"GPRMC,1.5"), b"$GPRMC,9.5" + with_nmea(b"GPRMC,1.5")[-3:]]

    assert bodies(lines, check="nmea", decode="csv", columns=["-", "v"]) == [{"v": 1.5}]


def test_every_refused_line_is_counted_by_reason_and_none_gets_through() -> None:
    refusing = maker(check="crc32", fields={"t": {"range": [0, 1]}})
    lines = [b"noise", b"", with_crc32(b"{"), with_crc32(b'{"t": 2}'), with_crc32(b'{"t": 1}')]

    assert list(refusing.bodies(lines)) == [b'{"t": 1}']
    assert refusing.refused == {"check": 1, "format": 1, "implausible": 1}
    assert (refusing.lines, refusing.readings) == (4, 1)


def test_a_header_row_is_neither_a_reading_nor_refused() -> None:
    csv = maker(decode="csv", header=True)

    assert list(csv.bodies([b"a,b", b"1,2"])) == [{"a": 1, "b": 2}]
    assert sum(csv.refused.values()) == 0


def test_refused_lines_are_reported_at_once_and_then_in_totals_every_30_seconds() -> None:
    noisy, report = maker(), RefusalReport()
    list(noisy.bodies([b"\x1b[31mred"]))

    first = report.take(noisy, 100.0)
    list(noisy.bodies([b"x"] * 500))
    later = [report.take(noisy, now_s) for now_s in (100.1, 129.9, 130.0, 130.1, 200.0)]

    assert first.startswith("refused lines=1 ")
    assert "\\x1b[31mred" in first
    assert first.isprintable()
    assert [bool(text) for text in later] == [False, False, True, False, False]
    assert later[2].startswith("refused lines=500 since the last report (bad_format=501 of lines=501)")


@pytest.mark.parametrize(
    ("desired", "is_first_line_taken"),
    [
        ({"decode": "json"}, True),
        ({"decode": "text"}, False),
        ({"decode": "csv", "columns": ["a"]}, False),
        ({"decode": "csv", "columns": ["a"], "check": "crc32"}, True),
        ({"decode": "csv", "columns": ["a"], "check": "auto"}, False),
    ],
)
def test_the_first_line_is_taken_only_where_a_fragment_would_be_noticed(
    desired: dict[str, Any], is_first_line_taken: bool
) -> None:
    assert Settings({**PORT, **desired}).knows_fragments is is_first_line_taken


def test_units_travel_as_properties() -> None:
    fields = {"celsius": {"unit": "Cel"}, "raw": {"scale": 2}}

    assert Settings({**PORT, "fields": fields}).units() == {"unit.celsius": "Cel"}


def test_the_largest_line_fits_into_a_message_however_it_is_escaped() -> None:
    line = b"\t" * Settings({**PORT, "max_line_bytes": 32_768}).max_line_bytes

    assert len(json.dumps({"text": line.decode()}).encode()) < 262_144


def test_the_readme_describes_every_key() -> None:
    readme = (ROOT / "modules/serial_bridge/README.md").read_text()

    assert [key for key in vars(Settings(PORT)) if f"`{key}`" not in readme] == []


def test_the_rest_of_a_line_at_the_beginning_is_dropped_and_not_counted_as_bad() -> None:
    subject = maker(decode="json")
    subject.reset(may_be_fragment=True)

    assert list(subject.bodies([b'us":21.5}', b'{"celsius":21.6}'])) == [b'{"celsius":21.6}']
    assert sum(subject.refused.values()) == 0
    assert list(subject.bodies([b'us":21.5}'])) == []
    assert sum(subject.refused.values()) == 1
