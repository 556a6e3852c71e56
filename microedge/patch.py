"""JSON merge patches, as a twin and the SDK apply them. Pure."""

from __future__ import annotations

from collections.abc import Mapping

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is, without loading typing (0.6 MiB resident)
if TYPE_CHECKING:
    from typing import Any


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
