from __future__ import annotations

import pytest

from microedge.config.document import parse_document
from microedge.config.reader import TableReader
from microedge.config.sections import read_desired, read_limits, read_permissions, read_supervision
from microedge.errors import ConfigError


def table(text: str) -> TableReader:
    return TableReader(parse_document("x.toml", f"[t]\n{text}".encode())).table("t")


def nested(levels: int) -> str:
    return "a = " + "{a = " * (levels - 1) + "1" + "}" * (levels - 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = 12:30:00", r"\[t\] a = 12:30:00: expected a JSON value"),
        ("a = 4503599627370496", "a = 4503599627370496: expected a whole number of at most 53 bits"),
        ("a = [nan]", "a = nan: expected a finite number"),
        ("'$version' = 1", r"\[t\] \"\$version\" = …: expected a key of 1 to 1024 bytes"),
        ("'' = 1", "expected a key of 1 to 1024 bytes"),
        ("'a b' = 1", "expected a key"),
        (f"a = '{'ü' * 2049}'", r"a = \(a string of 4098 bytes\): expected at most 4096 bytes"),
        (nested(11), r"a = \(nested too deeply\): expected at most 10 levels"),
        ("\n".join(f"a{n} = '{'x' * 4000}'" for n in range(9)), r"t = \(a table of 36018 bytes\): expected a document"),
    ],
)
def test_a_desired_document_that_no_twin_can_hold_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_desired(table(text))


def test_a_desired_document_at_the_limits_is_read() -> None:
    text = nested(10).replace("1", "-4503599627370496") + f"\nb = '{'x' * 4096}'\nc = [true, 1.5, 'd', {{ e = 1 }}]"

    assert read_desired(table(text))["c"] == [True, 1.5, "d", {"e": 1}]


def test_only_what_is_written_is_returned_so_that_it_can_override() -> None:
    assert read_limits(table("cpu_weight = 7")) == {"cpu_weight": 7}
    assert read_supervision(table("start_order = 3\nstop_timeout_s = 1.5")) == {"start_order": 3, "stop_timeout_s": 1.5}
    assert read_permissions(table("")).network is False


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("restart = 'on_failure'", "did you mean on-failure"),
        ("start_order = -1", "from 0 to"),
        ("ready_timeout_s = 0", "a number of seconds from 1 to 3600"),
        ("stop_timeout_s = 601", "from 1 to 600"),
        ("hang_timeout_s = -1", "from 0 to 86400"),
        ("timeout_s = 1", "a known key"),
    ],
)
def test_supervision_outside_of_its_ranges_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_supervision(table(text))
