"""Every limit of a twin, on both of its sides."""

from __future__ import annotations

from typing import Any

import pytest

from microedge.errors import TwinError
from microedge.twin.limits import (
    DESIRED,
    MAX_INTEGER,
    MIN_INTEGER,
    REPORTED,
    TAGS,
    check_document,
    checked_patch,
    merged,
    size_bytes,
)


def nested(levels: int, leaf: Any = 1) -> dict[str, Any]:
    """Return `levels` objects in one another below the bag, the innermost with one property."""
    value: Any = {"property": leaf}
    for level in range(levels - 1):
        value = {f"level{level}": value}
    return {"top": value} if levels else value


def arrays(levels: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return {"a": value}


@pytest.mark.parametrize(
    "patch",
    [
        {"k" * 1024: 1},
        {"é" * 512: 1},
        {"Key": 1, "key": 2},
        {"a": "x" * 4096},
        {"a": "é" * 2048},
        {"a": MAX_INTEGER, "b": MIN_INTEGER},
        {"a": 1, "b": 1.5, "c": True, "d": "2024-01-01", "e": {"f": 1}, "g": [1], "h": None},
        {"a": 1e308},
        nested(10),
        arrays(10),
        {"a": [1, "two", [3], {"four": 4}]},
        {"a": {"b": None}},
        {},
    ],
)
def test_what_is_within_the_limits_is_taken(patch):
    assert checked_patch(patch, DESIRED) is patch


@pytest.mark.parametrize(
    ("patch", "path", "expected"),
    [
        ({"k" * 1025: 1}, "properties.desired", "a key of 1 to 1024 bytes"),
        ({"é" * 513: 1}, "properties.desired", "a key of 1 to 1024 bytes"),
        ({"": 1}, "properties.desired", "a key of 1 to 1024 bytes"),
        ({"a": {"b.c": 1}}, "properties.desired.a", "without ."),
        ({"a$": 1}, "properties.desired", "without ."),
        ({"$version2": 1}, "properties.desired", "without ."),
        ({"a#": 1}, "properties.desired", "without ."),
        ({"a b": 1}, "properties.desired", "without ."),
        ({"a\tb": 1}, "properties.desired", "without ."),
        ({"a\x00": 1}, "properties.desired", "without ."),
        ({"a\x85": 1}, "properties.desired", "without ."),
        ({"a\ud800": 1}, "properties.desired", "without ."),
        ({1: 1}, "properties.desired", "a key of"),
        ({"a.b": None}, "properties.desired", "without ."),
        ({"a": "x" * 4097}, "properties.desired.a", "at most 4096 bytes"),
        ({"a": "é" * 2049}, "properties.desired.a", "at most 4096 bytes"),
        ({"a": "\ud800"}, "properties.desired.a", "valid Unicode"),
        ({"a": MAX_INTEGER + 1}, "properties.desired.a", "4503599627370495"),
        ({"a": MIN_INTEGER - 1}, "properties.desired.a", "-4503599627370496"),
        ({"a": 10**5000}, "properties.desired.a", "an integer"),
        ({"a": float("nan")}, "properties.desired.a", "finite"),
        ({"a": float("inf")}, "properties.desired.a", "finite"),
        ({"a": (1, 2)}, "properties.desired.a", "a JSON value"),
        ({"a": b"x"}, "properties.desired.a", "a JSON value"),
        ({"a": [1, None]}, "properties.desired.a[1]", "must not contain null"),
        ({"a": [{"b": None}]}, "properties.desired.a[0].b", "must not contain null"),
        ({"a": [[None]]}, "properties.desired.a[0][0]", "must not contain null"),
        ([1], "properties.desired", "a JSON object"),
        (None, "properties.desired", "a JSON object"),
        ("text", "properties.desired", "a JSON object"),
    ],
)
def test_what_is_outside_a_limit_is_refused_with_path_and_reason(patch, path, expected):
    with pytest.raises(TwinError) as caught:
        checked_patch(patch, DESIRED)

    assert caught.value.path == path
    assert expected in caught.value.expected
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("patch", [nested(11), arrays(11), nested(5_000), arrays(5_000)])
def test_more_than_ten_levels_are_refused_however_many(patch):
    with pytest.raises(TwinError, match="at most 10 levels"):
        checked_patch(patch, REPORTED)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({}, 0),
        ({"ab": "cd"}, 4),
        ({"é": "é"}, 4),
        ({"a": 1}, 9),
        ({"a": 1.5}, 9),
        ({"a": True}, 5),
        ({"a": "x\n\x00\x7f\x85y"}, 3),
        ({"a": {"b": 1, "c": False}}, 15),
        ({"a": [1, True, "x"]}, 14),
    ],
)
def test_the_size_is_counted_as_iot_hub_counts_it(value, size):
    assert size_bytes(value) == size


def filled(size: int) -> dict[str, str]:
    """Return a document of exactly `size` bytes."""
    document = {}
    while size > 0:
        length = min(size - 4, 4096) if size >= 8 else size - 4
        document[f"k{len(document):03}"] = "x" * max(length, 0)
        size -= 4 + max(length, 0)
    assert size == 0
    return document


@pytest.mark.parametrize(("part", "limit"), [(DESIRED, 32 * 1024), (REPORTED, 32 * 1024), (TAGS, 8 * 1024)])
def test_a_part_may_be_full_and_no_fuller(part, limit):
    full = filled(limit)

    check_document(full, part)
    with pytest.raises(TwinError, match=f"at most {limit} bytes"):
        check_document({**full, "x": ""}, part)


def test_the_merged_document_counts_and_not_the_patch():
    full = filled(32 * 1024)
    key = next(iter(full))

    assert merged(full, {key: "short"}, REPORTED)[key] == "short"
    with pytest.raises(TwinError, match="a document of 32769 bytes"):
        merged(full, {"x": ""}, REPORTED)


def test_a_large_patch_that_makes_the_document_smaller_is_taken():
    full = filled(32 * 1024)

    assert merged(full, dict.fromkeys(full), REPORTED) == {}


def test_a_whole_document_holds_no_null():
    with pytest.raises(TwinError, match=r"tags\.a\.b = None"):
        check_document({"a": {"b": None}}, TAGS)


def test_control_characters_count_nothing_but_are_not_without_end():
    check_document({"a": "\x01" * 4096}, DESIRED)

    with pytest.raises(TwinError, match="4097 control characters"):
        check_document({"a": "\x01" * 4096, "b": ["\x7f"]}, DESIRED)
