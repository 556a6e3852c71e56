"""A module's log: one line per call, the level in front."""

from __future__ import annotations

import pytest

from microedge.sdk.log import Log


def test_each_level_has_its_prefix(capsys: pytest.CaptureFixture[str]):
    log = Log("debug")
    log.debug("a")
    log.info("b %d", 2)
    log.warning("c %s", "three")
    log.error("100 %")

    assert capsys.readouterr().err == "<7>a\n<6>b 2\n<4>c three\n<3>100 %\n"


@pytest.mark.parametrize(
    ("level", "expected"),
    [("debug", "7643"), ("info", "643"), ("WARNING", "43"), ("error", "3"), ("loud", "643"), ("", "643")],
)
def test_a_level_hides_what_is_less_important(capsys: pytest.CaptureFixture[str], level: str, expected: str):
    log = Log(level)
    for write in (log.debug, log.info, log.warning, log.error):
        write("x")

    assert "".join(line[1] for line in capsys.readouterr().err.splitlines()) == expected


def test_a_line_stays_one_line(capsys: pytest.CaptureFixture[str]):
    Log().info("first\nsecond %s", "a\nb")

    assert capsys.readouterr().err == "<6>first\\nsecond a\\nb\n"
