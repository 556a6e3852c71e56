"""What was changed in a twin, as text: the answer to `twin set`, and its history. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from microedge.cli.status_view import wrapped
from microedge.cli.terminal import Look, clean
from microedge.cli.twin_view import PARTS, epoch_s, value_text
from microedge.cli.units import clock, count
from microedge.twin.document import leaves, properties_of
from microedge.twin.history import dotted

_ORIGIN_WORDS = {"cli": "command line", "file": "edited file", "default": "image default"}
_NAMED = 3  # changes that the answer names; more are counted
_VALUE_COLUMNS = 40


def render_set(name: str, patch: Mapping[str, Any], result: Mapping[str, Any], *, is_whole: bool, look: Look) -> str:
    """Return one line: what was asked for, the version that it has made, and whether the module has it."""
    is_tags = result.get("part") == "tags"
    asked = ("tags " if is_tags else "") + _asked(patch, look, is_whole=is_whole)
    if result.get("reset"):
        asked = f"{', '.join(clean(dotted(path)) for path, _ in leaves(properties_of(patch)))} withdrawn"
    if not result.get("changed"):
        asked = f"{asked}: as it was before"
    bag = "twin version" if is_tags else "desired version"
    words = [asked, f"{bag} {result.get('version', '?')}"]
    if not is_tags and (result.get("changed") or result.get("delivered")):
        words.append("delivered" if result.get("delivered") else "the module will get it when it runs")
    return look.plain(f"{clean(name)}: {'; '.join(words)}")


def newest(history: Mapping[str, Any], last: int) -> dict[str, list[dict[str, Any]]]:
    """Return the `last` entries of changes and refusals together, all of them for 0."""
    kept = list(_in_order(history))[-last:]
    return {kind: [entry for other, entry in kept if other == kind] for kind in ("changes", "refusals")}


def render_history(history: Mapping[str, Any], look: Look, now_s: float) -> str:
    """Return changes and refused attempts, the newest last. `now_s` is wall-clock seconds since the epoch."""
    lines: list[str] = []
    for kind, entry in _in_order(history):
        lines += _change(entry, look, now_s) if kind == "changes" else _refusal(entry, look, now_s)
    return look.plain("\n".join(lines)) if lines else "nothing was ever changed"


def _in_order(history: Mapping[str, Any]) -> Iterable[tuple[str, dict[str, Any]]]:
    # Merged, not sorted: within each list the order is that of the events, whatever the clock said then.
    lists = ([(kind, entry) for entry in history.get(kind) or []] for kind in ("changes", "refusals"))
    return heapq.merge(*lists, key=lambda each: str(each[1].get("time")))


def _asked(patch: Mapping[str, Any], look: Look, *, is_whole: bool) -> str:
    found = list(leaves(properties_of(patch)))
    if is_whole:
        return f"replaced by {count(len(found), 'value')}"
    if len(found) > _NAMED:
        removed = sum(value is None for _, value in found)
        words = [f"{count(len(found) - removed, 'value')} set"] if len(found) > removed else []
        return ", ".join([*words, f"{removed:,} removed"] if removed else words)
    named = [
        f"{clean(dotted(path))} removed" if value is None else f"{clean(dotted(path))} = {_short(value, look)}"
        for path, value in found
    ]
    return ", ".join(named) or "nothing"


def _change(entry: Mapping[str, Any], look: Look, now_s: float) -> list[str]:
    changes: Sequence[Mapping[str, Any]] = entry.get("changes") or []
    lines = [_head(entry, look, now_s, f"{_part(entry)} version {entry.get('version', '?')}")]
    lines += [f"  {_step(change, look)}" for change in changes]
    if entry.get("more"):
        lines.append(f"  and {count(entry['more'], 'value')} more")
    return lines if changes else [f"{lines[0]}: no value differs"]


def _refusal(entry: Mapping[str, Any], look: Look, now_s: float) -> list[str]:
    times = entry.get("count") or 1
    repeated = f" ({times:,} times)" if times > 1 else ""
    head = _head(entry, look, now_s, f"{_part(entry)} {look.paint(f'refused{repeated}', 'red')}")
    return [head, *wrapped(clean(entry.get("reason") or "no reason given", 1000), look, 2)]


def _head(entry: Mapping[str, Any], look: Look, now_s: float, what: str) -> str:
    origin = str(entry.get("origin"))
    who = _ORIGIN_WORDS.get(origin, clean(origin, 40))
    return f"{look.paint(_clock(entry.get('time'), now_s), 'dim')} {who}: {what}"


def _part(entry: Mapping[str, Any]) -> str:
    part = str(entry.get("part"))  # a refused edit of the file has the whole path here, or nothing
    return next((name for name in PARTS if name in part.split(".")[:2]), "edit")


def _step(change: Mapping[str, Any], look: Look) -> str:
    before = _short(change["before"], look) if "before" in change else "(none)"
    after = _short(change["after"], look) if "after" in change else "(removed)"
    path = look.clip(clean(change.get("path"), 1000), max(look.width - len(before) - len(after) - 8, 10))
    return f"{path}: {before} -> {look.paint(after, 'cyan')}"


def _short(value: Any, look: Look) -> str:
    return look.clip(value_text(value), min(_VALUE_COLUMNS, look.width // 3))


def _clock(time_text: object, now_s: float) -> str:
    time_s = epoch_s(time_text)
    return clean(time_text, 30) if time_s is None else clock(round(time_s * 1000), now_s)
