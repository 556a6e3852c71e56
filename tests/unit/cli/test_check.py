from __future__ import annotations

import importlib
import pkgutil

import pytest

from microedge.cli import checks
from microedge.cli.check import render_outcomes
from microedge.cli.checks.outcome import FAILED, OK, SKIPPED, WARNING, Outcome, Surroundings
from microedge.cli.terminal import Look

OUTCOMES = [
    Outcome("python", OK, "3.11.2"),
    Outcome("clock", WARNING, "not synchronised", "sudo timedatectl set-ntp true"),
    Outcome("upstream", FAILED, "connection refused", "start the broker"),
    Outcome("serial", SKIPPED, "no module uses a serial port"),
]


def test_each_outcome_is_one_line_with_its_cure_below_it():
    assert render_outcomes(OUTCOMES, Look(80)) == (
        "✓ python        3.11.2\n"
        "! clock         not synchronised\n"
        "                cure: sudo timedatectl set-ntp true\n"
        "✗ upstream      connection refused\n"
        "                cure: start the broker\n"
        "- serial        no module uses a serial port\n"
        "\n"
        "1 ok, 1 to look at, 1 failed"
    )


def test_a_terminal_without_unicode_gets_ascii_marks():
    text = render_outcomes(OUTCOMES, Look(80, unicode=False))

    assert text.isascii()
    assert text.split("\n")[0] == "ok python        3.11.2"
    assert "X  upstream" in text


def test_a_long_finding_wraps_in_its_own_column():
    lines = render_outcomes([Outcome("python", OK, "word " * 40)], Look(80)).split("\n")

    assert max(map(len, lines)) <= 80
    assert lines[1].startswith(" " * 16 + "word")


def test_every_check_has_its_place_in_the_order():
    files = {module.name for module in pkgutil.iter_modules(checks.__path__)} - {"outcome"}

    assert set(checks.ORDER) == files


@pytest.mark.parametrize("name", checks.ORDER)
def test_every_check_answers_when_there_is_no_configuration(name):
    around = Surroundings("/no/such/microedge.toml", None, error="cannot be read")

    outcomes = importlib.import_module(f"microedge.cli.checks.{name}").find(around)

    assert outcomes
    assert all(outcome.outcome in (OK, WARNING, FAILED, SKIPPED) and outcome.found for outcome in outcomes)


def test_a_problem_always_has_a_cure():
    around = Surroundings("/no/such/microedge.toml", None, error="no configuration; write one with: microedge init")

    for name in checks.ORDER:
        for outcome in importlib.import_module(f"microedge.cli.checks.{name}").find(around):
            assert outcome.outcome in (OK, SKIPPED) or outcome.cure or "microedge init" in outcome.found
