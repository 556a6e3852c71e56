"""From a route's text to a Route.

    route  := [SELECT *] FROM source [WHERE condition] INTO sink         keywords in any case
    source := /* | /messages/* | /messages/modules/* | /messages/modules/<m>/* |
              /messages/modules/<m>/outputs/* | /messages/modules/<m>/outputs/<o> | /twinChangeNotifications
    sink   := $upstream | BrokeredEndpoint("/modules/<m>/inputs/<i>")

The trailing `/*` may be left out, and `<m>` may be `*`. The grammar is edgeHub's; see Microsoft's page "Deploy
modules and establish routes".
"""

from __future__ import annotations

import re
from dataclasses import replace

from microedge.errors import RouteSyntaxError
from microedge.hub.route import LOWEST_PRIORITY, Route, Sink, Source
from microedge.names import is_name

_SPACE = re.compile(r"\s*")
_WORD = re.compile(r"[^\s()\"']+")
_STRING = re.compile(r"\"([^\"]*)\"|'([^']*)'")
_SOURCES = "a source: /messages/*, /messages/modules/<module>/outputs/<output> or /twinChangeNotifications"
_SINKS = '$upstream or BrokeredEndpoint("/modules/<module>/inputs/<input>")'
_MAX_CHARS = 4_096


def parse(name: str, text: str, *, priority: int = LOWEST_PRIORITY, ttl_s: int | None = None) -> Route:
    """Return the route that `text` says.

    Raises:
        RouteSyntaxError: the text does not follow the grammar; the error names the column and what was expected.
    """
    if len(text) > _MAX_CHARS:
        raise RouteSyntaxError(name, text[:_MAX_CHARS], _MAX_CHARS, f"at most {_MAX_CHARS} characters")
    cursor = _Cursor(name, text)
    if cursor.takes("SELECT"):
        cursor.need("*", "* after SELECT")
    cursor.need("FROM", "FROM")
    source = _source(cursor)
    if cursor.takes("WHERE"):
        raise cursor.error("no WHERE: this version routes by source only", at=cursor.word_at)
    cursor.need("INTO", "INTO")
    sink = _sink(cursor)
    cursor.need_end()
    return replace(Route(name, text, source, sink), priority=priority, ttl_s=ttl_s)


def _source(cursor: _Cursor) -> Source:
    path = cursor.word(_SOURCES)
    at = cursor.word_at
    parts = path.split("/")
    if parts[0] or len(parts) < 2:
        raise cursor.error(_SOURCES, at=at)
    segments = parts[1:]
    if len(segments) > 1 and segments[-1] in ("*", ""):
        segments.pop()
    if segments == ["*"]:
        return Source(kind="all")
    lowered = [segment.lower() for segment in segments]
    if lowered == ["twinchangenotifications"]:
        return Source(kind="twin")
    return _message_source(cursor, at, lowered)


def _message_source(cursor: _Cursor, at: int, segments: list[str]) -> Source:
    """`segments` of messages[/modules[/<m>[/outputs[/<o>]]]], in lower case."""
    literals = {0: "messages", 1: "modules", 3: "outputs"}
    column = at + 1
    for index, segment in enumerate(segments):
        literal = literals.get(index)
        is_right = segment == literal if literal else index < 5 and (segment == "*" or is_name(segment))
        if not is_right:
            wanted = literal or ("a name or *" if index < 5 else "no further segment")
            raise cursor.error(f"{wanted} in {_SOURCES}" if index else _SOURCES, at=column if index else at)
        column += len(segment) + 1
    module = segments[2] if len(segments) > 2 else ""
    output = segments[4] if len(segments) > 4 else ""
    return Source(module="" if module == "*" else module, output="" if output == "*" else output)


def _sink(cursor: _Cursor) -> Sink:
    word = cursor.word(_SINKS)
    at = cursor.word_at
    if word.lower() == "$upstream":
        return Sink()
    if word.lower() != "brokeredendpoint":
        raise cursor.error(_SINKS, at=at)
    cursor.need_character("(")
    path, path_at = cursor.string('"/modules/<module>/inputs/<input>"')
    cursor.need_character(")")
    segments = path.split("/")
    if len(segments) != 5 or segments[0] or [segments[1].lower(), segments[3].lower()] != ["modules", "inputs"]:
        raise cursor.error('"/modules/<module>/inputs/<input>"', at=path_at)
    if not (is_name(segments[2]) and is_name(segments[4])):
        raise cursor.error("a module name and an input name", at=path_at)
    return Sink(module=segments[2], input=segments[4])


class _Cursor:
    """A place in the text. Offsets count from 0 here, columns in errors from 1."""

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._text = text
        self._at = 0
        self.word_at = 0

    def takes(self, keyword: str) -> bool:
        """Step over `keyword` if it comes next; a question and a move, because grammars are read that way."""
        self._skip_space()
        match = _WORD.match(self._text, self._at)
        if match is None or match.group().upper() != keyword:
            return False
        self.word_at, self._at = match.start(), match.end()
        return True

    def need(self, keyword: str, expected: str) -> None:
        if not self.takes(keyword):
            raise self.error(expected)

    def word(self, expected: str) -> str:
        self._skip_space()
        match = _WORD.match(self._text, self._at)
        if match is None:
            raise self.error(expected)
        self.word_at, self._at = match.start(), match.end()
        return match.group()

    def string(self, expected: str) -> tuple[str, int]:
        self._skip_space()
        match = _STRING.match(self._text, self._at)
        if match is None:
            raise self.error(expected)
        self._at = match.end()
        return match.group(1) or match.group(2) or "", match.start()

    def need_character(self, character: str) -> None:
        self._skip_space()
        if not self._text.startswith(character, self._at):
            raise self.error(f"{character!r}")
        self._at += 1

    def need_end(self) -> None:
        self._skip_space()
        if self._at < len(self._text):
            raise self.error("the end of the route")

    def error(self, expected: str, *, at: int | None = None) -> RouteSyntaxError:
        self._skip_space()
        return RouteSyntaxError(self._name, self._text, (self._at if at is None else at) + 1, expected)

    def _skip_space(self) -> None:
        match = _SPACE.match(self._text, self._at)
        self._at = match.end() if match else self._at
