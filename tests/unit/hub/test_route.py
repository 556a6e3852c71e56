"""What a source matches, and the endpoint of a sink."""

from __future__ import annotations

import pytest

from microedge.hub.route import Sink, Source


@pytest.mark.parametrize(
    ("source", "module", "output", "expected"),
    [
        (Source(), "probe", "readings", True),
        (Source(kind="all"), "probe", "readings", True),
        (Source(kind="twin"), "probe", "readings", False),
        (Source("probe"), "probe", "readings", True),
        (Source("probe"), "probe2", "readings", False),
        (Source("probe"), "pro", "readings", False),
        (Source("probe"), "PROBE", "readings", True),
        (Source("probe", "readings"), "probe", "Readings", True),
        (Source("probe", "readings"), "probe", "alarms", False),
        (Source("", "alarms"), "probe", "alarms", True),
        (Source("", "alarms"), "probe", "alarms2", False),
    ],
)
def test_a_source_is_compared_segment_by_segment_and_without_case(
    source: Source, module: str, output: str, expected: bool
):
    assert source.matches(module, output) is expected


def test_a_sink_without_module_is_the_upstream():
    assert Sink().endpoint == "$upstream"


def test_a_sink_with_module_is_that_modules_input():
    assert Sink("valve", "commands").endpoint == "/modules/valve/inputs/commands"


@pytest.mark.parametrize(
    ("source", "expected"), [(Source(), False), (Source(kind="all"), True), (Source(kind="twin"), True)]
)
def test_changes_of_twins_are_taken_by_their_own_source_and_by_the_one_that_takes_all(source: Source, expected: bool):
    assert source.matches_twin_changes is expected
