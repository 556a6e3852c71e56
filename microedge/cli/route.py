"""`microedge route test`: why a route takes a message or not, clause by clause. Needs no supervisor."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from typing import Any

from microedge.cli.failure import CONFIGURATION, FAILED, OK, USAGE, CommandError
from microedge.cli.route_message import MAX_FILE_BYTES, GivenMessage, message_of
from microedge.cli.settings import config_of
from microedge.cli.terminal import Look, clean, look_of, say
from microedge.config.model import Config
from microedge.errors import ConfigError, RouteSyntaxError
from microedge.hub.explain import Clause, Explanation, describe, explain
from microedge.hub.parser import parse
from microedge.hub.route import Route
from microedge.hub.values import NULL
from microedge.hub.values import show as shown
from microedge.names import is_name

_MAX_CHARS = 400  # of a value that comes from the message
_STYLES = {"true": "green", "false": "red", "undefined": "yellow"}
_VALUE_COLUMNS = 11


def show(args: Namespace) -> int:
    """Print whether the route takes the message, and why; return 0 if it does, 1 if not.

    Raises:
        CommandError: the file is no message; or the route is wrong, with a caret under the column.
    """
    config = _config(args)
    route = _route(args.route, config)
    given = message_of(_text(args.message))
    device = config.device.id if config is not None else ""
    explanation = explain(route, given.message, device, is_twin_change=given.is_twin_change, system=given.system)
    look = look_of(sys.stdout)
    if args.json:
        say(json.dumps(_document(route, explanation), indent=2, ensure_ascii=False))
    else:
        say("\n".join(render(route, given, explanation, look)))
    return OK if explanation.is_match else FAILED


def render(route: Route, given: GivenMessage, explanation: Explanation, look: Look) -> list[str]:
    """Return the explanation as lines: the message, the source, the condition with its parts, and the verdict."""
    matches = "matches" if explanation.is_source else "does not match"
    lines = [
        _labelled(look, "message", f"{explanation.source}, {_kind(given)}"),
        _labelled(look, "source", f"{matches}: the route takes {describe(route.source)}"),
    ]
    if explanation.clause is not None:
        lines.append(_labelled(look, "condition", shown(explanation.clause.value)))
        lines += _clause_lines(explanation.clause, look, 1)
    verdict = f"match: it goes INTO {route.sink.endpoint}, priority {route.priority}"
    if not explanation.is_match:
        why = "the condition is " + _plain(explanation.clause) if explanation.is_source else "another source"
        verdict = f"no match: {why}"
    style = "green" if explanation.is_match else "red"
    return [*lines, look.paint(_labelled(look, "result", verdict), style)]


def _clause_lines(clause: Clause, look: Look, level: int) -> list[str]:
    value = clean(_plain(clause), _MAX_CHARS)
    mark = look.paint(f"{value:<{_VALUE_COLUMNS}}", _STYLES.get(value, ""))
    reason = look.paint(f"  ({clean(clause.reason, _MAX_CHARS)})", "dim") if clause.reason else ""
    line = look.plain(f"{'  ' * level}{mark} {clean(clause.text, _MAX_CHARS)}{reason}")
    return [line, *(line for part in clause.parts for line in _clause_lines(part, look, level + 1))]


def _plain(clause: Clause | None) -> str:
    return shown(clause.value) if clause is not None else ""


def _labelled(look: Look, label: str, text: str) -> str:
    return f"{look.paint(f'{label:<10}', 'dim')} {look.plain(clean(text, 2_000))}"


def _kind(given: GivenMessage) -> str:
    message = given.message
    words = [message.content_type or "no content type", message.content_encoding or "no content encoding"]
    return ", ".join([*words, f"{len(message.body)} bytes"])


def _document(route: Route, explanation: Explanation) -> dict[str, Any]:
    clause = explanation.clause
    return {
        "route": route.text,
        "matches": explanation.is_match,
        "endpoint": route.sink.endpoint,
        "priority": route.priority,
        "source": {"path": explanation.source, "matches": explanation.is_source},
        "condition": None if clause is None else _clause_document(clause),
    }


def _clause_document(clause: Clause) -> dict[str, Any]:
    """JSON has no undefined, so a value comes with what it is: `"defined": false` beside null."""
    value: object = None if clause.value is NULL else clause.value
    if isinstance(value, float) and value - value != 0:  # infinite, which JSON has not either
        value = shown(value)
    return {
        "text": clause.text,
        "value": value,
        "defined": clause.value is not None,
        "reason": clause.reason,
        "parts": [_clause_document(part) for part in clause.parts],
    }


def _route(text: str, config: Config | None) -> Route:
    """Return the route that is written, or the configured one that has this name."""
    name, priority, ttl_s = "test", 9, None
    if is_name(text):
        found = [route for route in config.routes if route.name == text] if config is not None else []
        if not found:
            known = ", ".join(route.name for route in config.routes) if config is not None else ""
            advice = f"the configuration has: {known or 'none'}" if config is not None else "there is no configuration"
            raise CommandError(f"no route is called {text!r}", advice, USAGE)
        name, text, priority, ttl_s = text, found[0].text, found[0].priority, found[0].ttl_s
    try:
        return parse(name, text, priority=priority, ttl_s=ttl_s)
    except RouteSyntaxError as error:
        raise CommandError(str(error), clean_lines(error.caret()), CONFIGURATION) from error


def clean_lines(text: str) -> str:
    """Return a caret and the line above it, indented as advice is, safe to print."""
    return "\n  ".join(clean(line, 5_000) for line in text.splitlines())


def _config(args: Namespace) -> Config | None:
    """The configuration, if there is one: it only gives the device's id and the names of routes."""
    try:
        return config_of(args)
    except ConfigError:
        if args.config:
            raise
        return None


def _text(name: str) -> str:
    if name == "-":
        return sys.stdin.read(MAX_FILE_BYTES + 1)
    try:
        with open(name, encoding="utf-8") as stream:
            return stream.read(MAX_FILE_BYTES + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise CommandError(
            f"cannot read {clean(name)}: {reason}", "name a file with a message as JSON, or -", USAGE
        ) from error
