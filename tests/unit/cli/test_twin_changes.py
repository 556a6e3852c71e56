from __future__ import annotations

import re
import time

import pytest
from support import twins

from microedge.cli.terminal import Look
from microedge.cli.twin_changes import newest, render_history, render_set

NOW_S = twins.START_S + 8 * 60

HISTORY = """\
22:13:20.000 configuration: desired version 2
  interval_s: (none) -> 10
  limits.min: (none) -> 0
  limits.max: (none) -> 35
  unit: (none) -> "C"
  name: (none) -> "north wall"
22:14:20.000 command line: desired version 3
  interval_s: 10 -> 5
22:15:20.000 upstream: desired version 4
  limits.max: 35 -> 30
22:17:20.000 command line: desired refused (2 times)
  properties.desired.limits.max = 31: expected a key that the upstream does not
  set; the upstream says 30: change it there
22:18:20.000 command line: tags version 5
  site: (none) -> "hall 3\""""


@pytest.fixture(autouse=True)
def _utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_the_history_has_changes_and_refusals_in_their_order():
    assert render_history(twins.history(twins.example()), Look(80), NOW_S) == HISTORY


def test_colour_changes_no_text():
    painted = render_history(twins.history(twins.example()), Look(80, colour=True), NOW_S)

    assert re.sub(r"\x1b\[\d*m", "", painted) == HISTORY
    assert "\x1b[31mrefused (2 times)\x1b[0m" in painted


def test_a_twin_without_a_history_says_so():
    assert render_history({"changes": [], "refusals": []}, Look(80), NOW_S) == "nothing was ever changed"


def test_a_change_says_what_was_removed_and_how_much_is_left_out():
    entry = {"time": "2023-11-13T01:00:00.000Z", "origin": "cli", "part": "properties.desired", "version": 9}
    entries = [{**entry, "changes": [{"path": "a", "before": [1]}], "more": 3}, {**entry, "changes": []}]

    assert render_history({"changes": entries}, Look(80), NOW_S).splitlines() == [
        "2023-11-13 01:00:00.000 command line: desired version 9",
        "  a: [1] -> (removed)",
        "  and 3 values more",
        "2023-11-13 01:00:00.000 command line: desired version 9: no value differs",
    ]


@pytest.mark.parametrize(
    ("part", "word"),
    [
        ("properties.desired", "desired"),
        ("properties.desired.tags.reported", "desired"),
        ("properties.reported", "reported"),
        ("tags.site", "tags"),
        ("deviceId", "edit"),
        ("", "edit"),
    ],
)
def test_a_refusal_names_its_part(part, word):
    entry = {"time": "2023-11-14T22:13:20.000Z", "origin": "file", "part": part, "reason": "r", "count": 1}

    assert render_history({"refusals": [entry]}, Look(80), NOW_S).startswith(
        f"22:13:20.000 edited file: {word} refused"
    )


def test_a_clock_that_was_set_back_does_not_reorder_changes():
    first, second = {"time": "2023-11-14T22:00:00.000Z"}, {"time": "1970-01-01T00:00:09.000Z"}

    assert newest({"changes": [first, second], "refusals": []}, 0)["changes"] == [first, second]


@pytest.mark.parametrize(("last", "changes", "refusals"), [(0, 4, 1), (1, 1, 0), (2, 1, 1), (3, 2, 1), (99, 4, 1)])
def test_the_last_entries_are_counted_over_both_lists(last, changes, refusals):
    found = newest(twins.history(twins.example()), last)

    assert (len(found["changes"]), len(found["refusals"])) == (changes, refusals)


@pytest.mark.parametrize("width", [60, 80])
def test_history_is_cut_to_the_terminal_and_cleaned(width):
    wild = {"path": "p\x1b[2J" * 40, "before": "\x9b" * 60, "after": "x" * 199}
    entry = {"time": "\x1b[2J", "origin": "\x1b[2J", "part": "\x1b[2J", "version": 1, "changes": [wild]}
    refusal = {"time": "\x1b[2J", "origin": "cli", "part": "tags", "reason": "\x1b[2J" + " x" * 300, "count": 1}

    text = render_history({"changes": [entry], "refusals": [refusal]}, Look(width), NOW_S)

    assert text.replace("\n", "").isprintable()
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize(
    ("patch", "result", "text"),
    [
        (
            {"interval_s": 5, "limits": {"max": None}},
            {"part": "desired", "version": 4, "changed": True, "delivered": True},
            "north: interval_s = 5, limits.max removed; desired version 4; delivered",
        ),
        (
            {"a": 1},
            {"part": "desired", "version": 4, "changed": True, "delivered": False},
            "north: a = 1; desired version 4; the module will get it when it runs",
        ),
        (
            {"a": 1},
            {"part": "desired", "version": 4, "changed": False, "delivered": True},
            "north: a = 1: as it was before; desired version 4; delivered",
        ),
        (
            {"a": 1},
            {"part": "desired", "version": 4, "changed": False, "delivered": False},
            "north: a = 1: as it was before; desired version 4",
        ),
        (
            {"a": 1, "b": 2, "c": 3, "d": {"e": None}},
            {"part": "tags", "version": 9, "changed": True, "delivered": False},
            "north: tags 3 values set, 1 removed; twin version 9",
        ),
        (
            {"a": None, "b": None, "c": None, "d": None, "$version": 7},
            {"part": "desired", "version": 9, "changed": True, "delivered": True},
            "north: 4 removed; desired version 9; delivered",
        ),
        (
            {},
            {"part": "desired", "version": 9, "changed": False, "delivered": True},
            "north: nothing: as it was before; desired version 9; delivered",
        ),
        (
            {"a": "\x1b[2J" + "x" * 100},
            {"part": "desired", "version": 9, "changed": True, "delivered": True},
            'north: a = "\\u001b[2Jxxxxxxxxxxxxxxx…; desired version 9; delivered',
        ),
    ],
)
def test_what_was_set_is_one_line(patch, result, text):
    assert render_set("north", patch, result, is_whole=False, look=Look(80)) == text


def test_a_replacement_says_how_much_there_is_now():
    result = {"part": "desired", "version": 4, "changed": True, "delivered": True}

    text = render_set("north", {"a": 1, "b": {"c": 2}}, result, is_whole=True, look=Look(80))

    assert text == "north: replaced by 2 values; desired version 4; delivered"
