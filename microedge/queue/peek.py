"""Which messages wait for an endpoint, in the order in which they would leave; looks, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import NamedTuple

from microedge.message import Message
from microedge.queue.jobs import Loaded
from microedge.queue.line import NEVER_MS, Endpoint, Entry, Line, Row
from microedge.queue.lines import Lines

_ROWS_BYTES = 1 << 20  # stored bytes read for one look, about: more is beyond what a person reads
_ROWS = 64


class Waiting(NamedTuple):
    """One message as it waits. `age_ms` counts from when it came, or the oldest of its row on disk."""

    message: Message
    priority: int
    age_ms: int
    expires_in_ms: int | None  # None: never
    is_on_disk: bool = False
    is_in_flight: bool = False


class Gap(NamedTuple):
    """Messages of a row on disk that have to be read first, by their positions in the row."""

    line: Line
    row: Row
    indexes: list[int]


class View:
    """The first `count` messages of an endpoint as they are now; those on disk follow with `fill`."""

    def __init__(self, lines: Lines, endpoint: Endpoint, count: int, now_ms: int) -> None:
        self._count = count
        self._now_ms = now_ms
        self._places: list[Waiting | Gap] = []
        self._missing = count
        for entry in lines.leased.values():
            if entry.line.endpoint is endpoint:
                self._see([entry])
        for line in endpoint.lines:
            self._see(line.loaded)
            self._look_at_rows(line)
            self._see(line.fresh)

    @property
    def rows(self) -> list[Row]:
        """The rows to read for `fill`."""
        return [place.row for place in self._places if isinstance(place, Gap)]

    def fill(self, loaded: list[Loaded]) -> list[Waiting]:
        """Return the messages, with those of `rows` as they were read; what cannot be read is left out."""
        by_id = {one.row.id: one for one in loaded if not one.damage}
        found: list[Waiting] = []
        for place in self._places:
            if isinstance(place, Waiting):
                found.append(place)
            elif place.row.id in by_id:
                found += self._read(place, by_id[place.row.id])
        return found[: self._count]

    def _see(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            message = entry.message
            if self._missing <= 0:
                return
            if message is not None and (entry.expires_ms > self._now_ms or entry.ticket):
                place = self._waiting(message, entry.line, entry.at_ms, entry.expires_ms)
                self._places.append(place._replace(is_on_disk=entry.row is not None, is_in_flight=entry.ticket > 0))
                self._missing -= 1

    def _look_at_rows(self, line: Line) -> None:
        room_bytes, room_rows = _ROWS_BYTES, _ROWS
        for row in chain(line.loading, line.backlog):
            if self._missing <= 0:
                return
            if room_bytes <= 0 or not room_rows:
                self._missing = 0  # what comes behind rows that are not shown would be out of order
                return
            indexes = [index for index in range(row.handed, row.n) if not row.done >> index & 1]
            self._places.append(Gap(line, row, indexes))
            self._missing -= len(indexes)
            room_bytes, room_rows = room_bytes - row.size, room_rows - 1

    def _read(self, gap: Gap, loaded: Loaded) -> Iterable[Waiting]:
        for index in gap.indexes:
            expires_ms, message = loaded.messages[index]
            if expires_ms > self._now_ms:
                yield self._waiting(message, gap.line, gap.row.at_ms, expires_ms)._replace(is_on_disk=True)

    def _waiting(self, message: Message, line: Line, at_ms: int, expires_ms: int) -> Waiting:
        expires_in_ms = expires_ms - self._now_ms if expires_ms < NEVER_MS else None
        return Waiting(message, line.priority, max(0, self._now_ms - at_ms), expires_in_ms)
