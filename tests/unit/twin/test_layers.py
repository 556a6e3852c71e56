"""Who wins: default, configuration, local, upstream."""

from __future__ import annotations

import pytest

from microedge.patch import merge_patch
from microedge.twin.layers import CONFIGURATION, DEFAULT, LOCAL, UPSTREAM, Layers, Overruled


def layers(default=None, configuration=None, local=None, upstream=None) -> Layers:
    documents = {DEFAULT: default, CONFIGURATION: configuration, LOCAL: local, UPSTREAM: upstream}
    return Layers({name: document for name, document in documents.items() if document is not None})


@pytest.mark.parametrize(
    ("documents", "desired"),
    [
        ([], {}),
        ([{"a": 1}], {"a": 1}),
        ([{"a": 1}, {"a": 2}], {"a": 2}),
        ([{"a": 1}, {"a": 2}, {"a": 3}], {"a": 3}),
        ([{"a": 1}, {"a": 2}, {"a": 3}, {"a": 4}], {"a": 4}),
        ([{"a": 1, "b": 1}, {"b": 2, "c": 2}, {"c": 3, "d": 3}, {"d": 4}], {"a": 1, "b": 2, "c": 3, "d": 4}),
        ([{"a": {"b": 1, "c": 1}}, None, None, {"a": {"c": 4}}], {"a": {"b": 1, "c": 4}}),
        ([{"a": 1}, None, None, {"a": None}], {}),
        ([{"a": 1}, None, {"a": None}, {"a": 4}], {"a": 4}),
    ],
)
def test_the_higher_layer_wins_key_by_key(documents, desired):
    assert layers(*documents).merged() == desired


@pytest.mark.parametrize(
    ("before", "patch", "local"),
    [  # default, local before, patch -> local after
        (({}, {}), {"a": 1}, {"a": 1}),
        (({"a": 1}, {}), {"a": 1}, {"a": 1}),  # asked for, though it is the default as well
        (({"a": 1}, {"a": 2}), {"a": None}, {"a": None}),
        (({}, {"a": 2}), {"a": None}, {}),  # nothing beneath to take away
        (({"a": {"x": 1}}, {"a": 5}), {"a": {"y": 2}}, {"a": {"x": None, "y": 2}}),
        (({"a": {"x": 1}}, {}), {"a": {"y": 2}}, {"a": {"y": 2}}),
        (({"a": {"x": {"p": 1, "q": 2}}}, {"a": None}), {"a": {"x": {"p": 3}}}, {"a": {"x": {"p": 3, "q": None}}}),
        (({"a": 1}, {}), {"a": {"b": None}}, {"a": {}}),
    ],
)
def test_a_patch_becomes_part_of_its_layer(before, patch, local):
    default, was = before
    old = layers(default, None, was)

    new = old.amended(LOCAL, patch)

    assert new[LOCAL] == local
    assert new.merged() == merge_patch(old.merged(), patch)


@pytest.mark.parametrize(
    ("upstream", "patch", "path"),
    [
        ({}, {"a": 1}, None),
        ({"a": 1}, {"a": 2}, ("a",)),
        ({"a": 1}, {"a": 1}, None),
        ({"a": 1}, {"a": None}, ("a",)),
        ({"a": None}, {"a": 1}, ("a",)),
        ({"a": {"b": 1}}, {"a": {"c": 2}}, None),
        ({"a": {"b": 1}}, {"a": {"c": 2, "b": 2}}, ("a", "b")),
        ({"a": {"b": 1}}, {"a": 5}, ("a",)),
        ({"a": 5}, {"a": {"b": 1}}, ("a",)),
    ],
)
def test_a_key_of_the_upstream_is_free_only_for_what_it_says_already(upstream, patch, path):
    held = layers(upstream=upstream).holder(LOCAL, patch)

    assert held == (None if path is None else (path, UPSTREAM))


def test_nobody_is_above_the_upstream():
    assert layers({"a": 1}, {"a": 2}, {"a": 3}, {"a": 4}).holder(UPSTREAM, {"a": 5}) is None


def test_what_is_said_in_vain_is_listed():
    found = layers({"a": 1, "b": {"c": 1}}, {"a": 1}, {"b": 5}, {"a": 4}).overruled()

    assert found == [
        Overruled(("a",), DEFAULT, 1, UPSTREAM),
        Overruled(("b", "c"), DEFAULT, 1, LOCAL),
        Overruled(("a",), CONFIGURATION, 1, UPSTREAM),
    ]
