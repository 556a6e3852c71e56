"""Rules of the twin's JSON documents, as pure code."""

from __future__ import annotations

from collections.abc import Mapping
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
