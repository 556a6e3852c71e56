"""merge_patch against the examples of RFC 7386, as far as a twin's documents are objects; and its opposite, diff."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from microedge.patch import diff, merge_patch, same


@pytest.mark.parametrize(
    ("document", "patch", "expected"),
    [  # appendix A; its cases whose result is no object cannot occur: a twin's document is one
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({"a": 1}, {"a": {"b": None, "c": 2}}, {"a": {"c": 2}}),
        ({"a": {"b": 1}}, {}, {"a": {"b": 1}}),
        ({}, {"a": False, "b": 0, "c": ""}, {"a": False, "b": 0, "c": ""}),
    ],
)
def test_a_patch_is_merged_as_rfc_7386_says(document: dict[str, Any], patch: dict[str, Any], expected: dict[str, Any]):
    before = copy.deepcopy((document, patch))

    assert merge_patch(document, patch) == expected
    assert (document, patch) == before


@pytest.mark.parametrize(
    ("old", "new", "patch"),
    [
        ({}, {}, {}),
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1}, {}, {"a": None}),
        ({}, {"a": {}}, {"a": {}}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, {"a": {"c": None}}),
        ({"a": {"b": 1}}, {"a": 1}, {"a": 1}),
        ({"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": [1, 2]}, {"a": [1]}, {"a": [1]}),
        ({"a": 1}, {"a": True}, {"a": True}),
        ({"a": 1}, {"a": 1.0}, {"a": 1.0}),
    ],
)
def test_a_difference_is_the_smallest_patch_that_makes_it(old, new, patch):
    assert same(diff(old, new), patch)
    assert same(merge_patch(old, diff(old, new)), new)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (1, True, False),
        (0, False, False),
        (1, 1.0, False),
        ([1], [True], False),
        ([1], [1, 2], False),
        ({"a": [{"b": None}]}, {"a": [{"b": None}]}, True),
        ({"a": None}, {}, False),
        ("1", 1, False),
    ],
)
def test_values_are_the_same_only_as_the_same_json(one, other, expected):
    assert same(one, other) is expected
