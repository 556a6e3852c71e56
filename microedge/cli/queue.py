"""`microedge queue status`: what waits, for whom and since when."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from typing import Any

from microedge.cli import table
from microedge.cli.failure import FAILED, OK
from microedge.cli.settings import client_of
from microedge.cli.status_view import queue_lines
from microedge.cli.terminal import Look, clean, labelled, look_of, say
from microedge.cli.units import count, duration, size

_COLUMNS = (
    table.Column("ENDPOINT", 12),
    table.Column("PRIORITY", is_number=True),
    table.Column("WAITING", is_number=True),
    table.Column("ON DISK", is_number=True),
    table.Column("IN FLIGHT", is_number=True),
    table.Column("OLDEST", is_number=True),
)


def show(args: Namespace) -> int:
    """Print the queue. Returns 1 when it cannot write to disk.

    Raises:
        MicroedgeError: no supervisor answers.
    """
    document = client_of(args).request("queue")
    if args.json:
        say(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        say(render_queue(document, look_of(sys.stdout)))
    return FAILED if document.get("state") == "degraded" else OK


def render_queue(queue: dict[str, Any], look: Look) -> str:
    """Return the queue part of the status document as text, one line per endpoint and priority."""
    lines = queue_lines(queue, look)
    written = f"{size(queue.get('written_bytes') or 0)} in {count(queue.get('commits') or 0, 'commit')} since the start"
    lines += labelled(look, "written", written)
    endpoints = queue.get("endpoints") or []
    if endpoints:
        lines += ["", *table.render(look, _COLUMNS, [_row(endpoint) for endpoint in endpoints])]
    lines += _dropped_lines(queue.get("dropped_by_module") or {}, look)
    return look.plain("\n".join(lines))


def _dropped_lines(modules: dict[str, Any], look: Look) -> list[str]:
    """Return what did not arrive: a line per module, a column per reason; nothing when all did."""
    reasons = sorted({reason for counts in modules.values() for reason in counts})
    if not reasons:
        return []
    columns = [table.Column("DROPPED FROM", 12), *(table.Column(clean(one).upper(), is_number=True) for one in reasons)]
    rows = []
    for module, counts in sorted(modules.items(), key=lambda item: (not item[0], item[0])):
        numbers = [f"{counts[reason]:,}" if counts.get(reason) else "-" for reason in reasons]
        rows.append(table.Row([clean(module) or "(not known)", *numbers]))
    return ["", *table.render(look, columns, rows)]


def _row(endpoint: dict[str, Any]) -> table.Row:
    messages = endpoint.get("messages") or 0
    return table.Row(
        [
            clean(endpoint.get("endpoint", "?")),
            str(endpoint.get("priority", "?")),
            f"{messages:,}",
            f"{endpoint.get('disk_messages') or 0:,}",
            f"{endpoint.get('in_flight') or 0:,}",
            duration(endpoint.get("oldest_age_s") or 0) if messages else "-",
        ]
    )
