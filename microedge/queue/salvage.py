"""Gets the messages out of a database that was set aside, a small piece at a time, on the writer's thread.

Rows keep their ids, and a new database begins far above those of the old one: so salvaged rows stand in front of newer
ones by themselves, and a row that is there already is not there twice. They are moved in the order of their ids, each
transaction notes how far that got, and nothing in the old files is changed: a crash costs only the search.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import NamedTuple

from microedge.queue.jobs import Known, Outcome
from microedge.queue.losses import DROPPED, GAP, Counters
from microedge.queue.record import NEVER_MS, decode
from microedge.queue.salvage_image import Image
from microedge.queue.salvage_pages import Value, leaf_cells
from microedge.queue.salvage_survey import (
    LAST_ID,
    Found,
    Stored,
    Survey,
    read_meta,
    record,
    row_at,
    rows_of,
    stored_row,
    walk,
)

SLICE_S = 0.02  # how long a commit may have to wait for a search that is under way
_SAMPLE_PAGES = 4096  # 16 MiB are looked through for any row, where the way to the newest one is lost
_ID_LEAP = 1 << 32  # no ids of rows that wait together are further apart: a row per second for a century
_LETTER_LEAP = 1_000_000

Part = list[tuple[Found, Stored, int]]
"""Rows that are moved together: where each was, what is stored, and the bit set of what was delivered."""

Letter = tuple[Value, ...]
"""A dead letter as its table has it."""


class Heritage(NamedTuple):
    """What a new database takes over from the old one at once."""

    boots: dict[int, tuple[str, int]]  # number -> boot id, ms that it was up
    offsets_ms: dict[int, int]  # number -> what its wall clock was ahead of CLOCK_BOOTTIME, where that was known
    counters: Counters
    next_id: int
    next_letter: int


class Salvage:
    """One database. Call `look` until it is True, then move one `part` after the other, then read `outcome`."""

    def __init__(self, file: str, roots: dict[str, int], known: Known | None = None, after: int = 0) -> None:
        """`known` is what waited, where that is known; rows up to `after` have been moved before."""
        self.outcome = Outcome(0, 0, True)
        self._image = Image(file)
        self._survey = Survey(self._image, roots, known)
        self._steps = self._survey.steps()
        self._after = after
        self._rows: list[Found] = []
        self._has_looked = False
        self._failed = 0  # messages of rows that could be read only once

    def look(self) -> bool:
        """Search on for about `SLICE_S`; True when the search is at its end.

        Raises:
            OSError: a file cannot be opened.
        """
        self._image.open()
        if self._has_looked:
            return True
        ends_s = time.monotonic() + SLICE_S
        for _ in self._steps:
            if time.monotonic() >= ends_s:
                return False
        survey = self._survey
        recovered = sum(row.left for row in survey.rows)
        self.outcome = Outcome(recovered, survey.lost, survey.is_exact, survey.repeats, len(survey.letters))
        self._rows = [row for row in reversed(survey.rows) if row.row_id > self._after]
        self._has_looked = True
        return True

    def part(self, max_bytes: int) -> Part:
        """Return the next rows; empty at the end."""
        part: Part = []
        for found in reversed(self._rows):
            try:
                stored = row_at(self._image, found.place, found.slot)
            except (ValueError, IndexError):  # it could be read a moment ago: the card is dying
                self._failed += found.left
                self._rows.remove(found)
                continue
            max_bytes -= len(stored.data)
            if part and max_bytes < 0:
                break
            part.append((found, stored, self._survey.done.get(found.row_id, 0)))
        return part

    def moved(self, part: Part) -> None:
        """Take note that a part is in the new database."""
        del self._rows[len(self._rows) - len(part) :]

    def letters(self) -> Iterator[Letter]:
        """Yield the dead letters that can be read, with their numbers."""
        for number, place, slot in self._survey.letters:
            with contextlib.suppress(ValueError, IndexError):
                cell = leaf_cells(self._image.read(place) or b"")[slot]
                values = record(self._image, cell) if cell is not None else []
                if len(values) == 6 and isinstance(values[5], bytes):
                    yield (number, *values[1:])

    def close(self) -> Outcome:
        """Close the files and return what came of it so far; `look` opens them again."""
        self._image.close()
        outcome, failed = self.outcome, self._failed
        return outcome._replace(recovered=outcome.recovered - failed, lost=outcome.lost + failed)


def expiry_ms(stored: Stored) -> int:
    """Return when the last message of a row expires, as the row's column has it."""
    if stored.expires_ms is not None:
        return stored.expires_ms
    times = [expires_ms for expires_ms, _ in decode(stored.data)[1]]
    return NEVER_MS if NEVER_MS in times else max(times, default=0)


def read_heritage(file: str, roots: dict[str, int], boot_id: str, up_ms: int) -> Heritage:
    """Return what can be read at once of a damaged database; this boot has been up for `up_ms`. Blocks for a moment.

    Raises:
        OSError: a file cannot be opened.
    """
    image = Image(file)
    image.open()
    try:
        for _ in image.read_wal():
            pass
        notes = read_meta(image, roots["meta"])
        meta = {key: value for key, value in notes.items() if isinstance(value, int)}
        newest = _newest_row(image, roots["batch"])
        boots, offsets_ms = _read_boots(image, roots["boots"])
    finally:
        image.close()
    last_id = boot = at_ms = 0
    if newest is not None:
        last_id, boot, at_ms = newest.head.row_id, newest.head.boot, newest.head.at_ms
    if boot and boot not in boots:  # rather this boot than one before it: messages are kept too long, not too short
        boots[boot] = (boot_id if at_ms <= up_ms and not boots else "", at_ms)
    next_id = max(last_id, meta.get("next_id", 0)) + _ID_LEAP
    next_letter = meta.get("dead.next", _LETTER_LEAP)
    counters: Counters = {key: n for key, n in meta.items() if key.startswith(DROPPED) or key == "replayed"}
    counters.update((key, text) for key, text in notes.items() if key.startswith(GAP) and isinstance(text, str))
    return Heritage(boots, offsets_ms, counters, next_id, next_letter)


def _read_boots(image: Image, root: int) -> tuple[dict[int, tuple[str, int]], dict[int, int]]:
    boots: dict[int, tuple[str, int]] = {}
    offsets_ms: dict[int, int] = {}
    for _, _, cell in rows_of(image, root):
        with contextlib.suppress(ValueError):
            values = record(image, cell) if cell is not None else []
            if cell is not None and len(values) == 4:
                boot_id, up_ms, offset_ms = values[1:]
                if isinstance(boot_id, str) and isinstance(up_ms, int) and cell.key > 0 <= up_ms:
                    boots[cell.key] = (boot_id, up_ms)
                    if isinstance(offset_ms, int):
                        offsets_ms[cell.key] = offset_ms
    return boots, offsets_ms


def _newest_row(image: Image, root: int) -> Stored | None:
    for leaf in walk(image, root, is_backwards=True):
        rows = _rows_on(image, leaf.page)
        if rows:
            return rows[-1]
    best: Stored | None = None
    for at, place in enumerate(image.unused()):
        if at >= _SAMPLE_PAGES:
            break
        for row in _rows_on(image, image.read(place)):
            best = row if best is None or row.head.row_id > best.head.row_id else best
    return best


def _rows_on(image: Image, page: bytes | None) -> list[Stored]:
    rows: list[Stored] = []
    with contextlib.suppress(ValueError):
        for cell in leaf_cells(page or b""):
            with contextlib.suppress(ValueError):
                if cell is not None and 0 < cell.key < LAST_ID - _ID_LEAP:
                    rows.append(stored_row(image, cell))
    return rows
