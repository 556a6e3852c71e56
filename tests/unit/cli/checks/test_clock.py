from __future__ import annotations

import pytest

from microedge.cli.checks.clock import judge
from microedge.cli.checks.outcome import OK, WARNING


@pytest.mark.parametrize(
    ("year", "is_synced", "outcome", "words"),
    [
        (1970, True, WARNING, "cannot be right"),
        (2023, None, WARNING, "cannot be right"),
        (2026, True, OK, "synchronised"),
        (2026, None, OK, "not known"),
        (2026, False, WARNING, "not synchronised"),
    ],
)
def test_a_clock_that_cannot_be_right_is_a_warning(year, is_synced, outcome, words):
    found = judge(year, "now", is_synced)

    assert found.outcome == outcome
    assert words in found.found
