"""From a route's text to a Route.

    route  := [SELECT *] FROM source [WHERE condition] INTO sink         keywords in any case
    source := /* | /messages/* | /messages/modules/* | /messages/modules/<m>/* |
              /messages/modules/<m>/outputs/* | /messages/modules/<m>/outputs/<o> | /twinChangeNotifications
    sink   := $upstream | BrokeredEndpoint("/modules/<m>/inputs/<i>")

The trailing `/*` may be left out, and `<m>` may be `*`. The grammar is edgeHub's; see Microsoft's page "Deploy
modules and establish routes". The condition has a file of its own, `condition.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from microedge.errors import RouteSyntaxError
from microedge.hub.lexer import Cursor
from microedge.hub.route import ALL, LOWEST_PRIORITY, TWIN, Route, Sink, Source
from microedge.names import is_name

if TYPE_CHECKING:
    from microedge.hub.compile import Condition

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
    cursor = Cursor(name, text)
    if cursor.takes("SELECT"):
        cursor.need("*", "* after SELECT")
    cursor.need("FROM", "FROM")
    source = _source(cursor)
    condition = _condition(cursor, source) if cursor.takes("WHERE") else None
    cursor.need("INTO", "INTO" if condition else "WHERE or INTO")
    sink = _sink(cursor)
    cursor.need_end()
    return Route(name, text, source, sink, condition, priority, ttl_s)


def _condition(cursor: Cursor, source: Source) -> Condition:
    from microedge.hub.compile import compile_condition  # 0.4 MiB that a device without a WHERE does not pay
    from microedge.hub.condition import parse_condition

    return compile_condition(parse_condition(cursor, is_of_twin=source.kind == TWIN))


def _source(cursor: Cursor) -> Source:
    path = cursor.word(_SOURCES)
    at = cursor.word_at
    parts = path.split("/")
    if parts[0] or len(parts) < 2:
        raise cursor.error(_SOURCES, at=at)
    segments = parts[1:]
    if len(segments) > 1 and segments[-1] in ("*", ""):
        segments.pop()
    if segments == ["*"]:
        return Source(kind=ALL)
    lowered = [segment.lower() for segment in segments]
    if lowered == ["twinchangenotifications"]:
        return Source(kind=TWIN)
    return _message_source(cursor, at, lowered)


def _message_source(cursor: Cursor, at: int, segments: list[str]) -> Source:
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


def _sink(cursor: Cursor) -> Sink:
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
