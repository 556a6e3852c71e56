"""A twin as text that reads at a glance. Pure: documents, the time and a `Look` in, text out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from microedge.cli import table
from microedge.cli.status_view import wrapped
from microedge.cli.terminal import Look, clean, labelled
from microedge.cli.units import duration
from microedge.twin.document import METADATA, VERSION, Path, leaves, properties_of, value_at
from microedge.twin.history import dotted
from microedge.twin.layers import CONFIGURATION, DEFAULT, LOCAL, UPSTREAM
from microedge.twin.metadata import LAST_UPDATED, NEVER

PARTS = ("desired", "reported", "tags")

_LAYER_WORDS = {
    DEFAULT: "image default",
    CONFIGURATION: "configuration",
    UPSTREAM: "upstream",
}
_ORIGIN_WORDS = {"cli": "command line", "file": "edited file", "default": "image default"}
_LABEL_COLUMNS = 15
_LONG = 40  # columns that a path is given before values have to make room
_MAX_VALUE_CHARS = 1000

_BLAME = (
    table.Column("  KEY", 16),
    table.Column("VALUE", 10),
    table.Column("SET BY"),
    table.Column("AGO", is_number=True),
    table.Column("BEFORE", 8),
)
_TOLD = (table.Column("  KEY", 16), table.Column("VALUE", 10), table.Column("AGO", is_number=True))


def render_twin(
    answer: Mapping[str, Any], look: Look, now_s: float, *, part: str = "", with_blame: bool = False
) -> str:
    """Return the answer to the control command `twin` as text, or one part of it.

    `now_s` is wall-clock seconds since the epoch. Lines fit `look.width`.
    """
    twin: Mapping[str, Any] = answer["twin"]
    lines = _header(answer, twin, look, now_s)
    for name in [part] if part else PARTS:
        lines += ["", *_part(answer, name, look, now_s, with_blame=with_blame)]
    return look.plain("\n".join(lines))


def part_of(twin: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return "desired", "reported" or "tags" of a twin document."""
    found: dict[str, Any] = twin["tags"] if name == "tags" else twin["properties"][name]
    return found


def value_text(value: Any) -> str:
    """Return a value as JSON on one line that cannot move the cursor, at most 1000 characters long."""
    return clean(json.dumps(value, ensure_ascii=False), _MAX_VALUE_CHARS)


def ago(time_text: object, now_s: float) -> str:
    """Return how long ago a time of the twin was: "12 s"; "-" for never, the time itself if that is yet to come."""
    if time_text == NEVER:
        return "-"
    time_s = epoch_s(time_text)
    if time_s is None or time_s > now_s + 1:  # a clock that was set back
        return clean(time_text, 16)
    return duration(now_s - time_s)


def epoch_s(time_text: object) -> float | None:
    """Return a time of the twin as seconds since the epoch, None if it is none."""
    try:
        moment = datetime.strptime(str(time_text), "%Y-%m-%dT%H:%M:%S.%fZ")
    except ValueError:
        return None
    return moment.replace(tzinfo=timezone.utc).timestamp()


def _header(answer: Mapping[str, Any], twin: Mapping[str, Any], look: Look, now_s: float) -> list[str]:
    active = ago(twin.get("lastActivityTime"), now_s)
    facts = [
        clean(twin.get("status", "?")),
        clean(twin.get("connectionState", "?")).lower(),
        f"twin version {twin.get('version', '?')}",
        "never active" if active == "-" else f"active {active} ago",
    ]
    lines = [f"{look.paint(clean(twin.get('moduleId', '?')), 'bold')}  {', '.join(facts)}"]
    saved = "" if answer.get("is_saved", True) else ", the last changes not yet saved"
    lines += labelled(look, "file", f"{clean(answer.get('file') or 'none', 1000)}{saved}")
    for note in answer.get("notes") or []:
        lines += [look.paint(line, "yellow") for line in labelled(Look(look.width), "problem", clean(note, 1000))]
    return lines


def _part(answer: Mapping[str, Any], name: str, look: Look, now_s: float, *, with_blame: bool) -> list[str]:
    bag = part_of(answer["twin"], name)
    found = list(leaves(bag if name == "tags" else properties_of(bag)))
    version = "" if name == "tags" else f"version {bag.get(VERSION, '?')}"
    words = ", ".join(word for word in (version, "" if found else "empty") if word)
    lines = [(look.paint(name, "bold") + " " * (_LABEL_COLUMNS - len(name)) + words).rstrip()]
    if not with_blame or name == "tags":
        return lines + _assignments(found, look)
    if name == "reported":
        return lines + _told(found, bag.get(METADATA) or {}, look, now_s)
    return lines + _blamed(found, answer.get("blame") or {}, look, now_s) + _overruled(answer, look)


def _assignments(found: list[tuple[Path, Any]], look: Look) -> list[str]:
    paths = [clean(dotted(path), _MAX_VALUE_CHARS) for path, _ in found]
    column = max((len(path) for path in paths if len(path) <= _LONG), default=0)
    lines = []
    for path, (_, value) in zip(paths, found):
        head = f"  {look.clip(path, look.width - 20):<{column}} = "
        lines.append(head + look.paint(look.clip(value_text(value), look.width - len(head)), "cyan"))
    return lines


def _told(found: list[tuple[Path, Any]], metadata: Mapping[str, Any], look: Look, now_s: float) -> list[str]:
    rows = []
    for path, value in found:
        updated = value_at(metadata, (*path, LAST_UPDATED))
        age = ago(updated, now_s) if updated else "-"
        rows.append(table.Row([f"  {clean(dotted(path))}", value_text(value), age], {1: "cyan"}))
    return table.render(look, _TOLD, rows) if rows else []


def _blamed(found: list[tuple[Path, Any]], blame: Mapping[str, Any], look: Look, now_s: float) -> list[str]:
    rows = []
    for path, value in found:
        name = dotted(path)
        entry = blame.get(name) or {}
        before = value_text(entry["before"]) if "before" in entry else "-"
        age = ago(entry.get("time", "?"), now_s)
        cells = [f"  {clean(name)}", value_text(value), _setter(entry), age, before]
        rows.append(table.Row(cells, {1: "cyan"}))
    return table.render(look, _BLAME, rows) if rows else []


def _setter(entry: Mapping[str, Any]) -> str:
    layer = entry.get("layer", "?")
    return _LAYER_WORDS.get(layer) or _ORIGIN_WORDS.get(entry.get("origin", "?"), clean(layer))


def _overruled(answer: Mapping[str, Any], look: Look) -> list[str]:
    lines: list[str] = []
    for entry in answer.get("overruled") or []:
        path, value = clean(entry.get("path")), entry.get("value")
        said = f"no {path}" if value is None else f"{path} = {look.clip(value_text(value), _LONG)}"
        text = f"in vain: {said} from the {_layer(entry.get('layer'))}; the {_layer(entry.get('by'))} goes first"
        lines += [look.paint(line, "yellow") for line in wrapped(text, look, 2)]
    return lines


def _layer(layer: object) -> str:
    return "command line or edited file" if layer == LOCAL else _LAYER_WORDS.get(str(layer), clean(layer))
