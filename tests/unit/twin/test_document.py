"""merge_patch against the examples of RFC 7386, as far as a twin's documents are objects; and its opposite, diff."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from microedge.twin.document import copied, diff, leaves, merge_patch, properties_of, same, value_at


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


def test_system_keys_are_no_properties():
    assert properties_of({"a": 1, "$version": 3, "$metadata": {}}) == {"a": 1}


def test_a_copy_shares_nothing_that_can_change():
    original = {"a": [{"b": [1]}]}

    copied(original)["a"][0]["b"].append(2)

    assert original == {"a": [{"b": [1]}]}


def test_leaves_are_everything_without_members():
    document = {"a": {"b": 1, "c": {}}, "d": [1, {"e": 2}], "f": None}

    assert list(leaves(document)) == [(("a", "b"), 1), (("a", "c"), {}), (("d",), [1, {"e": 2}]), (("f",), None)]


@pytest.mark.parametrize(
    ("path", "expected"),
    [(("a", "b"), 1), (("a",), {"b": 1}), (("a", "x"), "none"), (("a", "b", "c"), "none"), ((), {"a": {"b": 1}})],
)
def test_a_value_is_found_by_its_path(path, expected):
    assert value_at({"a": {"b": 1}}, path, "none") == expected
