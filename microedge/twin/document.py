"""Rules of the twin's JSON documents, as pure code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

VERSION, METADATA = "$version", "$metadata"
SYSTEM_KEYS = (VERSION, METADATA)  # kept by the hub beside the properties of a bag; never properties themselves

Path = tuple[str, ...]  # of members, from the top down; arrays have no inside, because they are replaced whole


def merge_patch(document: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return `document` with `patch` applied, by RFC 7386 as IoT Edge applies it to twins.

    A member that the patch does not name stays; null deletes it; objects are merged; anything else, arrays included,
    is replaced whole. Neither argument is changed.
    """
    merged = dict(document)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            below = merged.get(key)
            merged[key] = merge_patch(below if isinstance(below, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged


def diff(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the smallest patch that makes `new` of `old`: merge_patch(old, diff(old, new)) is `new`.

    Empty when nothing differs. `new` holds no null outside arrays, as no twin document does.
    """
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if key in old and same(before, value):
            continue
        both_objects = isinstance(before, Mapping) and isinstance(value, Mapping)
        patch[key] = diff(before, value) if both_objects else value  # type: ignore[arg-type]  # both were looked at
    return patch


def same(one: object, other: object) -> bool:
    """True when both are the same JSON. Unlike `==`, which takes true for 1 and 1 for 1.0."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


def properties_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return `document` without the system keys that the hub keeps at its top."""
    return {key: value for key, value in document.items() if key not in SYSTEM_KEYS}


def copied(value: Any) -> Any:
    """Return a copy that shares no object and no array with `value`; its depth has been checked before."""
    if isinstance(value, Mapping):
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, list) else value


def leaves(document: Mapping[str, Any], above: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield (path, value) of everything that has no members: scalars, nulls, arrays and empty objects."""
    for key, value in document.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, (*above, key))
        else:
            yield (*above, key), value


def value_at(document: Mapping[str, Any], path: Path, absent: Any = None) -> Any:
    """Return what stands at `path`, or `absent` when the document has no such member."""
    value: Any = document
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return absent
        value = value[key]
    return value
