"""What waits, and dead letters, as text. Pure: the answer of the supervisor and a `Look` in, text out."""

from __future__ import annotations

from typing import Any

from microedge.cli import table
from microedge.cli.status_view import wrapped
from microedge.cli.terminal import Look, clean
from microedge.cli.units import count, duration, size

_TEXT_CHARS = 300  # of what a handler raised; --json has all of it

_WAITING = (
    table.Column("ENDPOINT", 9),
    table.Column("FROM", 8),
    table.Column("MESSAGE", 8),
    table.Column("AGE", is_number=True),
    table.Column("SIZE", is_number=True),
    table.Column("WHERE"),
)
_DEAD = (
    table.Column("ID", is_number=True),
    table.Column("ENDPOINT", 9),
    table.Column("FROM", 8),
    table.Column("AGE", is_number=True),
    table.Column("SIZE", is_number=True),
    table.Column("REASON"),
)


def render_waiting(answer: dict[str, Any], look: Look) -> str:
    """Return what waits, in the order in which it leaves: two lines per message."""
    messages = answer.get("messages") or []
    if not messages:
        return "nothing waits"
    lines = table.render(look, _WAITING, [_waiting_row(one, look) for one in messages])
    return look.plain("\n".join(lines))


def render_dead(answer: dict[str, Any], look: Look) -> str:
    """Return dead letters, the oldest first: up to three lines each, and what can be done with them."""
    messages = answer.get("messages") or []
    if not messages:
        return "no dead letters"
    lines = table.render(look, _DEAD, [_dead_row(one, look) for one in messages])
    lines += ["", "send again: microedge queue replay ID; throw away: microedge queue purge --dead"]
    return look.plain("\n".join(lines))


def left_out(answer: dict[str, Any]) -> str:
    """Return a sentence about messages for which the answer had no room, or ""."""
    number = answer.get("left_out") or 0
    return f"{count(number, 'further message')} left out: the bodies fill the answer; ask for fewer" if number else ""


def _waiting_row(one: dict[str, Any], look: Look) -> table.Row:
    place = "in flight" if one.get("is_in_flight") else "disk" if one.get("is_on_disk") else "RAM"
    cells = [
        _endpoint(one),
        _source(one),
        clean(one.get("message_id", "?")),
        duration(one.get("age_s") or 0),
        size(one.get("bytes") or 0),
        place,
    ]
    return table.Row(cells, {0: "bold"}, [_preview(one, look)])


def _dead_row(one: dict[str, Any], look: Look) -> table.Row:
    cells = [
        clean(one.get("id", "?")),
        _endpoint(one),
        _source(one),
        duration(one.get("age_s") or 0),
        size(one.get("bytes") or 0),
        clean(one.get("reason", "?")),
    ]
    text = clean(one.get("text") or "", _TEXT_CHARS)
    remarks = [look.paint(line, "yellow") for line in wrapped(text, look, 2)]
    damage = clean(one.get("damage") or "")
    if damage:
        remarks.append(look.paint(look.clip(f"  cannot be sent again: {damage}", look.width), "red"))
    else:
        remarks.append(_preview(one, look))
    return table.Row(cells, {0: "bold"}, remarks)


def _endpoint(one: dict[str, Any]) -> str:
    """Return an endpoint as the commands take it, short."""
    parts = clean(one.get("endpoint", "?")).split("/")
    is_input = len(parts) == 5 and (parts[1], parts[3]) == ("modules", "inputs")
    return f"{parts[2]}/{parts[4]}" if is_input else "/".join(parts)


def _source(one: dict[str, Any]) -> str:
    return f"{clean(one['module'])}/{clean(one.get('output', '?'))}" if one.get("module") else "-"


def _preview(one: dict[str, Any], look: Look) -> str:
    text = clean(one["body"]) if "body" in one else f"base64 {clean(one.get('body_base64', ''))}"
    mark = "…" if look.unicode else "~"
    if one.get("is_cut") and len(text) <= look.width - 3:
        text += mark
    return look.clip(f"  {text}", look.width)
