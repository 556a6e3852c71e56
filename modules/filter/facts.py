"""What a rule may look at in one message: where it comes from, its properties, the fields of its body. Pure."""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

SOURCE_MODULE, SOURCE_OUTPUT = "source-module", "source-output"
WHOLE_BODY = "$body"

ABSENT: Any = object()
"""What stands for a field that is not there; null is a value."""

_MAX_NAME_CHARS = 64  # of a module or an output; what is longer in a property was not written by a filter

Source = tuple[str, str]
"""The module and the output that a message comes from."""


def source_of(module: str, output: str, properties: Mapping[str, str]) -> Source:
    """Return where a message comes from: its sender, or what another filter on its way says in two properties."""
    marks = properties.get(SOURCE_MODULE, ""), properties.get(SOURCE_OUTPUT, "")
    return marks if all(0 < len(mark) <= _MAX_NAME_CHARS for mark in marks) else (module, output)


def path_of(field: str) -> tuple[str, ...]:
    """Return the names on the way to `field`, as `a.b.0`; none for `$body`, which is the whole of it.

    Raises:
        ValueError: there is nothing between two dots, or at an end.
    """
    names = field.split(".")
    if names[0] == WHOLE_BODY:
        del names[0]
    if not all(names):
        raise ValueError("names with a dot between them")
    return tuple(names)


class Facts:
    """One message, as the rules see it. The body is decoded when the first rule asks for a field."""

    __slots__ = ("_body", "_document", "_is_decoded", "properties", "source")

    def __init__(self, source: Source, properties: Mapping[str, str], body: bytes) -> None:
        self.source = source
        self.properties = properties
        self._body = body
        self._document = ABSENT
        self._is_decoded = False

    def value_at(self, path: tuple[str, ...]) -> Any:
        """Return the value at the end of `path`, ABSENT when there is none or the body is not JSON."""
        if not self._is_decoded:
            self._is_decoded = True
            self._document = _decoded(self._body)
        value = self._document
        for name in path:
            value = _member(value, name)
        return value


class Match:
    """Which messages a rule is about: each of the four says "any" where it is empty."""

    __slots__ = ("equals", "module", "output", "property")

    def __init__(self, *, module: str = "", output: str = "", property: str = "", equals: str | None = None) -> None:  # noqa: A002
        self.module = module
        self.output = output
        self.property = property
        self.equals = equals

    def fits(self, facts: Facts) -> bool:
        """True if all that was said is so; a property without `equals` has to be there, whatever its value."""
        module, output = facts.source
        if (self.module and self.module != module) or (self.output and self.output != output):
            return False
        if not self.property:
            return True
        found = facts.properties.get(self.property)
        return found is not None and self.equals in (None, found)


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):  # no JSON, no text, or nested beyond reason
        return ABSENT


def _member(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return value.get(name, ABSENT)
    if isinstance(value, list) and name.isdecimal() and int(name) < len(value):
        return value[int(name)]
    return ABSENT
