"""What happened to a twin: who changed what and when, and what was refused and why. Pure, and bounded.

Entries are JSON objects, because they live in the twin's file and travel to the command line as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from microedge.errors import TwinError, printable
from microedge.patch import same
from microedge.twin.document import Path, leaves, value_at

MAX_CHANGES = 50
MAX_REFUSALS = 20
MAX_BYTES = 16 * 1024  # of each of the two lists as compact JSON: the file is rewritten at every save
MAX_PATHS = 20  # of one change; the rest is counted
MAX_VALUE_CHARS = 200

Entry = dict[str, Any]

_ABSENT = object()
_SAME_REFUSAL = ("origin", "part", "reason")


def dotted(path: Path) -> str:
    """Return a path as one text; no key of a twin contains a dot."""
    return ".".join(path)


def shown(value: Any) -> Any:
    """Return `value` as it is, or a text that says how long it is."""
    text = json.dumps(value)
    return value if len(text) <= MAX_VALUE_CHARS else f"({len(text)} characters of JSON)"


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Entry]:
    """Return {path, before, after} of every value that differs; the member that was or is absent is left out."""
    paths = dict.fromkeys([path for path, _ in leaves(before)] + [path for path, _ in leaves(after)])
    entries = (_difference(path, before, after) for path in paths)
    return [entry for entry in entries if entry is not None]


def _difference(path: Path, before: Mapping[str, Any], after: Mapping[str, Any]) -> Entry | None:
    old, new = value_at(before, path, _ABSENT), value_at(after, path, _ABSENT)
    if same(old, new):
        return None
    entry: Entry = {"path": dotted(path)}
    if old is not _ABSENT:
        entry["before"] = shown(old)
    if new is not _ABSENT:
        entry["after"] = shown(new)
    return entry


class History:
    """The last changes of desired properties and tags, and the last refusals; oldest first.

    Lists and entries are replaced and never changed, so another thread may go on reading those it was given.
    """

    def __init__(self, changes: list[Entry] | None = None, refusals: list[Entry] | None = None) -> None:
        self.changes = list(changes or ())
        self.refusals = list(refusals or ())

    def changed(self, entry: Entry, differences: list[Entry]) -> None:
        """Note an accepted change; `entry` says time, origin, part and version."""
        noted = {**entry, "changes": differences[:MAX_PATHS]}
        if len(differences) > MAX_PATHS:
            noted["more"] = len(differences) - MAX_PATHS
        self.changes = _bounded([*self.changes, noted], MAX_CHANGES)

    def refused(self, origin: str, part: str, error: TwinError, now: str) -> None:
        """Note a refusal. One that repeats an earlier one is counted, so that a loop cannot push out others."""
        fresh = {
            "time": now,
            "origin": origin,
            "part": part,
            "path": printable(error.path),
            "reason": printable(error, 500),
            "count": 1,
            "standing": True,
        }
        rest = [entry for entry in self.refusals if any(entry[key] != fresh[key] for key in _SAME_REFUSAL)]
        fresh["count"] += sum(entry["count"] for entry in self.refusals if entry not in rest)
        self.refusals = _bounded([*rest, fresh], MAX_REFUSALS)

    def settled(self, origin: str) -> None:
        """Note that `origin` sent something acceptable: what was refused before is over."""
        if self.standing(origin) is not None:
            self.refusals = [
                {**entry, "standing": False} if entry["origin"] == origin else entry for entry in self.refusals
            ]

    def standing(self, origin: str) -> Entry | None:
        """Return the last refusal from `origin` if it has sent nothing acceptable since."""
        found = (entry for entry in reversed(self.refusals) if entry["standing"] and entry["origin"] == origin)
        return next(found, None)


def _bounded(entries: list[Entry], max_entries: int) -> list[Entry]:
    kept = entries[-max_entries:]
    sizes = [len(json.dumps(entry)) for entry in kept]
    while len(kept) > 1 and sum(sizes) > MAX_BYTES:
        del kept[0], sizes[0]
    return kept
