"""merge_patch against the examples of RFC 7386, as far as a twin's documents are objects."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from microedge.twin.document import merge_patch


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
