"""The rules of a twin's documents: system keys, copies, leaves and paths."""

from __future__ import annotations

import pytest

from microedge.twin.document import copied, leaves, properties_of, value_at


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
