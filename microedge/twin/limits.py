"""What a twin may hold: the limits of Azure IoT Hub, checked on the document that a change would make.

Pure code. A patch is looked at first, so that what is nested too deeply never reaches a recursive function; its size
counts only in the merged document, because a small patch can be the one that overflows it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Union

from microedge.errors import TwinError
from microedge.patch import merge_patch

MAX_DEPTH = 10  # objects and arrays below the bag, one in another
MAX_KEY_BYTES = 1024
MAX_TEXT_BYTES = 4096
MAX_CONTROLS = 4096  # in one document: IoT Hub does not count them, so they could make one of any length
MIN_INTEGER, MAX_INTEGER = -(1 << 52), (1 << 52) - 1
NUMBER_BYTES, BOOLEAN_BYTES = 8, 4  # as the hub counts them, whatever they take as text

_BAD_KEY = re.compile(r"[.$#\s\x00-\x1f\x7f-\x9f]")  # '#' and other blanks than space: edgeHub's rule
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_KEY_RULE = f"a key of 1 to {MAX_KEY_BYTES} bytes without . $ # blanks and control characters"
_INTEGER_RULE = f"an integer from {MIN_INTEGER} to {MAX_INTEGER}; write a longer one as text"

_Where = tuple[Union[str, int], ...]


@dataclass(frozen=True)
class Part:
    """A part of the twin that has a size of its own; `name` is its path in the twin document."""

    name: str
    max_bytes: int


DESIRED = Part("properties.desired", 32 * 1024)
REPORTED = Part("properties.reported", 32 * 1024)
TAGS = Part("tags", 8 * 1024)


class Words(str):
    """A description in place of a value: its repr has no quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def merged(document: Mapping[str, Any], patch: object, part: Part) -> dict[str, Any]:
    """Return `document` with `patch` applied, if the result is within the limits. Neither argument is changed.

    Raises:
        TwinError: a key, a value or the size of the result is outside; the whole patch is refused.
    """
    result = merge_patch(document, checked_patch(patch, part))
    check_size(result, part)
    return result


def checked_patch(patch: object, part: Part) -> dict[str, Any]:
    """Return `patch`, whose keys and values are all allowed; null stands for "delete this member".

    Raises:
        TwinError: it is no object, or something in it is not allowed.
    """
    if not isinstance(patch, dict):
        raise TwinError(part.name, patch, "a JSON object")
    _Check(part).members(patch, (), in_array=False)
    return patch


def check_document(document: object, part: Part) -> None:
    """Check a whole document, in which a null has no meaning.

    Raises:
        TwinError: it is no object, or something in it or its size is outside the limits.
    """
    _check_no_null(checked_patch(document, part), (), part)
    check_size(document, part)


def check_size(document: object, part: Part) -> None:
    """Check the size alone.

    Raises:
        TwinError: it is over the limit of `part`.
    """
    size = size_bytes(document)
    if size > part.max_bytes:
        raise TwinError(part.name, Words(f"(a document of {size} bytes)"), f"at most {part.max_bytes} bytes")
    controls = _count_controls(document)
    if controls > MAX_CONTROLS:
        found = Words(f"(a document with {controls} control characters)")
        raise TwinError(part.name, found, f"at most {MAX_CONTROLS} control characters")


def size_bytes(value: object) -> int:
    """Return the size as IoT Hub counts it: UTF-8 without control characters, numbers 8, booleans 4, null 0."""
    if isinstance(value, str):  # most of a twin, and the test for a Mapping is slow where it is none
        is_plain = value.isascii() and value.isprintable()
        return len(value) if is_plain else len(_CONTROLS.sub("", value).encode())
    if isinstance(value, list):
        return sum(map(size_bytes, value))
    if value is None:
        return 0
    if isinstance(value, (bool, int, float)):
        return BOOLEAN_BYTES if isinstance(value, bool) else NUMBER_BYTES
    assert isinstance(value, Mapping)
    return sum(size_bytes(key) + size_bytes(item) for key, item in value.items())


def _count_controls(value: object) -> int:
    if isinstance(value, str):
        return 0 if value.isprintable() else len(_CONTROLS.findall(value))
    if isinstance(value, list):
        return sum(map(_count_controls, value))
    return sum(map(_count_controls, value.values())) if isinstance(value, dict) else 0


def _check_no_null(document: Mapping[str, Any], above: _Where, part: Part) -> None:
    for key, value in document.items():
        if value is None:
            raise TwinError(_dotted(part, (*above, key)), None, "a value; leave the key out instead")
        if isinstance(value, Mapping):
            _check_no_null(value, (*above, key), part)


class _Check:
    """One walk over a patch; recursion ends at `MAX_DEPTH`."""

    def __init__(self, part: Part) -> None:
        self._part = part

    def members(self, value: Mapping[Any, Any], where: _Where, *, in_array: bool) -> None:
        for key, item in value.items():
            self._key(key, where)
            if item is not None or in_array:
                self._value(item, (*where, key), in_array=in_array)

    def _value(self, value: object, where: _Where, *, in_array: bool) -> None:
        if isinstance(value, (dict, list)) and _depth(where) > MAX_DEPTH:
            raise self._error(where, Words("(nested too deeply)"), f"at most {MAX_DEPTH} levels")
        if isinstance(value, dict):
            self.members(value, where, in_array=in_array)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                self._value(item, (*where, index), in_array=True)
        elif isinstance(value, str):
            self._text(value, where)
        else:
            self._plain(value, where)

    def _key(self, key: object, where: _Where) -> None:
        size = _utf8_bytes(key) if isinstance(key, str) else None
        if size is None or not 0 < size <= MAX_KEY_BYTES or _BAD_KEY.search(str(key)):
            raise self._error(where, Words(f"(the key {key!r})"), _KEY_RULE)

    def _text(self, text: str, where: _Where) -> None:
        size = _utf8_bytes(text)
        if size is None:
            raise self._error(where, text, "text that is valid Unicode")
        if size > MAX_TEXT_BYTES:
            raise self._error(where, Words(f"(a string of {size} bytes)"), f"at most {MAX_TEXT_BYTES} bytes")

    def _plain(self, value: object, where: _Where) -> None:
        if value is None:
            raise self._error(where, None, "a value: an array must not contain null")
        if isinstance(value, bool):
            return
        if isinstance(value, int):
            if not MIN_INTEGER <= value <= MAX_INTEGER:
                raise self._error(where, _number(value), _INTEGER_RULE)
        elif not isinstance(value, float):
            raise self._error(where, value, "a JSON value")
        elif not math.isfinite(value):
            raise self._error(where, value, "a finite number")

    def _error(self, where: _Where, got: object, expected: str) -> TwinError:
        return TwinError(_dotted(self._part, where), got, expected)


def _depth(where: _Where) -> int:
    return len(where)


def _utf8_bytes(text: str) -> int | None:
    try:
        return len(text.encode())
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can write and UTF-8 cannot
        return None


def _number(value: int) -> object:
    # Python refuses to print an integer of thousands of digits.
    return value if value.bit_length() < 128 else Words(f"(an integer of {value.bit_length()} bits)")


def _dotted(part: Part, where: _Where) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in where)
    return part.name + "".join(steps)
