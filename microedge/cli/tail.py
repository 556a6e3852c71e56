"""`microedge tail`: messages as they pass the hub."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from itertools import islice
from typing import Any

from microedge.cli.failure import FAILED, OK, USAGE, CommandError
from microedge.cli.settings import client_of
from microedge.cli.terminal import Look, clean, look_of, say
from microedge.cli.units import clock
from microedge.names import NAME_RULE, is_name

_MAX_BODY_CHARS = 4096  # what a person can read; --json has the whole body


def show(args: Namespace) -> int:
    """Print messages until Ctrl-C, until `--count` of them, or until the supervisor stops.

    Raises:
        CommandError: NAME/OUTPUT is not written as names are.
        MicroedgeError: no supervisor answers, or it knows no such module.
    """
    look = look_of(sys.stdout)
    events = client_of(args).stream("tail", **source_arguments(args.source))
    shown = 0
    for message in islice(events, args.count or None):
        say(json.dumps(message, ensure_ascii=False) if args.json else "\n".join(render_lines(message, look)))
        shown += 1
    return OK if shown >= args.count else FAILED


def source_arguments(source: str) -> dict[str, object]:
    """Return the arguments of the tail command for "", "NAME" or "NAME/OUTPUT".

    Raises:
        CommandError: a part is no name.
    """
    if not source:
        return {}
    parts = source.split("/")
    if len(parts) > 2 or not all(is_name(part) for part in parts):
        raise CommandError(
            f"{clean(source)!r}: expected NAME or NAME/OUTPUT, each {NAME_RULE}",
            "see the names: microedge status",
            USAGE,
        )
    return dict(zip(("module", "output"), parts))


def render_message(message: dict[str, Any], look: Look) -> str:
    """Return one message as "12:00:01.123 north/readings {...}"."""
    source = f"{clean(message.get('module', '?'))}/{clean(message.get('output', '?'))}"
    time = look.paint(clock(message.get("time_ms") or 0), "dim")
    return f"{time} {look.paint(look.plain(source), 'cyan')} {look.plain(body_text(message))}"


def render_lines(message: dict[str, Any], look: Look) -> list[str]:
    """Return one message, and before it how many the supervisor left out because this reader was too slow."""
    left_out = message.get("left_out_before")
    note = [look.paint(f"  ... {left_out:,} left out: more than can be shown", "yellow")] if left_out else []
    return [*note, render_message(message, look)]


def body_text(message: dict[str, Any]) -> str:
    """Return the body as one safe line; bytes that are no text as their size and base64."""
    encoded = message.get("body_base64")
    if encoded is not None:
        return f"(not UTF-8, base64) {clean(encoded, _MAX_BODY_CHARS)}"
    body = message.get("body", "")
    return clean(body if isinstance(body, str) else json.dumps(body, ensure_ascii=False), _MAX_BODY_CHARS)
