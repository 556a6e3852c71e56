"""Versions and times of a bag of properties."""

from __future__ import annotations

import pytest

from microedge.twin.metadata import NEVER, Bag, stamped, utc_text


@pytest.mark.parametrize(
    ("epoch_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_700_000_000_007, "2023-11-14T22:13:20.007Z"),
        (951_826_154_999, "2000-02-29T12:09:14.999Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
    ],
)
def test_a_time_is_utc_with_milliseconds(epoch_ms, text):
    assert utc_text(epoch_ms) == text


def test_every_level_that_a_patch_touches_is_stamped_and_no_other():
    before = stamped({}, {"a": {"b": 1, "c": 2}, "d": 3, "e": {"f": 1}}, "T1")

    after = stamped(before, {"a": {"b": 9}, "d": None, "e": 5}, "T2")

    assert after == {
        "$lastUpdated": "T2",
        "a": {"$lastUpdated": "T2", "b": {"$lastUpdated": "T2"}, "c": {"$lastUpdated": "T1"}},
        "e": {"$lastUpdated": "T2"},
    }


def test_a_patch_makes_a_new_bag_one_version_further():
    bag = Bag()

    patched = bag.patched({"a": 1}, "T1")

    assert (bag.version, bag.properties, bag.metadata) == (1, {}, {"$lastUpdated": NEVER})
    assert patched.document() == {"a": 1, "$version": 2}
    assert patched.complete() == {
        "a": 1,
        "$metadata": {"$lastUpdated": "T1", "a": {"$lastUpdated": "T1"}},
        "$version": 2,
    }
