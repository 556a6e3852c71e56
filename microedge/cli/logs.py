"""`microedge logs`: what a module or the supervisor has said."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from microedge.cli.failure import OK
from microedge.cli.settings import client_of
from microedge.cli.terminal import Look, clean, look_of, say
from microedge.cli.units import clock

_MAX_LINE_CHARS = 8192

# syslog levels 0 to 7: one letter, so that a column of them is read at a glance
_MARKS = ("E", "E", "E", "E", "W", "I", "I", "D")
_STYLES = {"E": "red", "W": "yellow", "D": "dim"}


def show(args: Namespace) -> int:
    """Print the last lines, with `--follow` new ones as well until Ctrl-C, and return 0.

    Raises:
        MicroedgeError: no supervisor answers, or it knows no such module.
    """
    look = look_of(sys.stdout)
    shown = 0
    for line in _lines(args):
        say(json.dumps(line, ensure_ascii=False) if args.json else render_line(line, look))
        shown += 1
    if not shown:
        print(f"{clean(args.name)} has said nothing", file=sys.stderr)
    return OK


def render_line(line: dict[str, Any], look: Look) -> str:
    """Return one log line as "12:00:01.123 E text", the mark being E, W, I or D."""
    level = line.get("level")
    mark = _MARKS[level] if isinstance(level, int) and 0 <= level < len(_MARKS) else "I"
    style = _STYLES.get(mark, "")
    text = look.plain(clean(line.get("text", ""), _MAX_LINE_CHARS))
    time = look.paint(clock(line.get("time_ms") or 0), "dim")
    return f"{time} {look.paint(mark, style)} {look.paint(text, style)}"


def _lines(args: Namespace) -> Iterator[dict[str, Any]]:
    client = client_of(args)
    if args.follow:
        return client.stream("logs", module=args.name, lines=args.lines, follow=True)
    result = client.request("logs", module=args.name, lines=args.lines)
    return iter(result.get("lines") or [])
