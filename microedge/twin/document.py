"""Rules of the twin's JSON documents, as pure code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

VERSION, METADATA = "$version", "$metadata"
SYSTEM_KEYS = (VERSION, METADATA)  # kept by the hub beside the properties of a bag; never properties themselves

Path = tuple[str, ...]  # of members, from the top down; arrays have no inside, because they are replaced whole


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
