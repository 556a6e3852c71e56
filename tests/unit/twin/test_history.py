"""History and refusals: complete enough to answer "who?", and bounded."""

from __future__ import annotations

import json

from microedge.errors import TwinError
from microedge.twin.history import MAX_BYTES, MAX_CHANGES, MAX_REFUSALS, History, differences


def entry(version: int) -> dict[str, object]:
    return {"time": "T", "origin": "cli", "part": "properties.desired", "version": version}


def test_differences_say_what_was_and_what_is():
    assert differences({"a": 1, "b": {"c": 2}, "d": [1]}, {"a": 1, "b": {"c": 3}, "e": "x" * 500}) == [
        {"path": "b.c", "before": 2, "after": 3},
        {"path": "d", "before": [1]},
        {"path": "e", "after": "(502 characters of JSON)"},
    ]


def test_the_last_fifty_changes_are_kept():
    history = History()

    for version in range(MAX_CHANGES + 10):
        history.changed(entry(version), [])

    assert [change["version"] for change in history.changes] == list(range(10, MAX_CHANGES + 10))


def test_large_changes_are_kept_up_to_a_size():
    history = History()

    for version in range(MAX_CHANGES):
        history.changed(entry(version), [{"path": f"k{n}", "after": "x" * 190} for n in range(30)])

    assert len(json.dumps(history.changes)) <= MAX_BYTES
    assert history.changes[-1]["version"] == MAX_CHANGES - 1
    assert (len(history.changes[-1]["changes"]), history.changes[-1]["more"]) == (20, 10)


def test_a_refusal_that_repeats_is_counted():
    history = History()

    for time in ("T1", "T2", "T3"):
        history.refused("upstream", "properties.desired", TwinError("properties.desired.a", 1, "a 2"), time)

    (refusal,) = history.refusals
    assert (refusal["time"], refusal["count"], refusal["path"]) == ("T3", 3, "properties.desired.a")
    assert refusal["reason"] == "properties.desired.a = 1: expected a 2"


def test_refusals_are_bounded():
    history = History()

    for n in range(100):
        history.refused("module", "properties.reported", TwinError("p", n, "x" * 1000), "T")

    assert len(history.refusals) <= MAX_REFUSALS
    assert len(json.dumps(history.refusals)) <= MAX_BYTES


def test_a_refusal_stands_until_its_origin_sends_something_acceptable():
    history = History()
    history.refused("upstream", "properties.desired", TwinError("p", 1, "2"), "T")

    assert history.standing("cli") is None
    assert history.standing("upstream") is history.refusals[0]

    history.settled("upstream")

    assert history.standing("upstream") is None
    assert len(history.refusals) == 1
