"""The values of the route language: undefined, null, true and false, numbers, text.

Undefined is Python's None and null is `NULL`, because undefined is the common case: a property that is not there, a
body that cannot be read, a sum of things that are no numbers. Every number is a float, as in Azure IoT Edge; what is
not a number (0 divided by 0) is undefined.
"""

from __future__ import annotations

from enum import Enum
from typing import Union


class Null(Enum):
    """The null of JSON."""

    NULL = "null"


NULL = Null.NULL

Value = Union[None, bool, float, str, Null]


class Kind(Enum):
    """What is known of a value before there is a message. The texts stand in errors."""

    BOOL = "true or false"
    NUMBER = "a number"
    TEXT = "text"
    NULL = "null"
    UNDEFINED = "undefined"
    ANY = "any value"  # what the body holds shows only when a message comes


_KINDS: dict[type, Kind] = {
    type(None): Kind.UNDEFINED,
    bool: Kind.BOOL,
    float: Kind.NUMBER,
    str: Kind.TEXT,
    Null: Kind.NULL,
}


def kind_of_value(value: Value) -> Kind:
    """Return the kind of a value that is there; never ANY."""
    return _KINDS[type(value)]


def show(value: Value) -> str:
    """Return a value as the route language writes it; whole numbers without a point."""
    if value is None:
        return "undefined"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else repr(value)
    return "null" if value is NULL else quoted(str(value))


def quoted(text: str) -> str:
    """Return `text` as a literal: in apostrophes, with the escapes that a literal knows."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
