"""When to commit and what must go when the space is spent; pure: facts and `now` come in, decisions go out.

Commits wear the card, and their number counts more than their size. So nothing is committed while the upstream keeps
up (an acknowledgement within the linger settles a message), and a commit takes along everything that waits.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

ROW_BYTES = 64 * 1024  # raw bytes of one row: what is loaded, evicted and lost at once
TRANSACTION_BYTES = 256 * 1024  # raw bytes of one transaction: bounds the WAL, and how long one commit takes
AWAY_BYTES = 64 * 1024  # waiting for endpoints that are away: there is no point in waiting for their acknowledgement
AWAY_MESSAGES = 128  # of one producer: half its window of 256, so that it never stands still for a commit
ACKS_PER_COMMIT = 1000  # acknowledgements ride along; alone they are written this many at a time ...
ACK_AGE_MS = 30_000  # ... or this late. A crash costs that many duplicates
COUNTERS_AGE_MS = 600_000  # counters that nothing takes along to the disk are written alone this late
LOW_WATER = 0.9  # evict down to this share of the cap, so that not every commit evicts
FRAME_BYTES = 4096 + 24  # one page in the WAL with its header
MIN_FRAMES, MAX_FRAMES = 16, 250  # a checkpoint at 1 MiB: soon overwritten again, yet pages that change often go once
WAL_SHARE = 16  # of a small cap, the WAL may take one part in this many before a checkpoint
MIN_CAP_BYTES = 1024 * 1024  # usable even when other software has eaten up the free space of the file system
FIRST_RETRY_S, LAST_RETRY_S = 1.0, 30.0


class Pressure(NamedTuple):
    """What speaks for a commit now. Times in ms of one clock; `oldest_ms` is None when nothing waits for the disk."""

    is_urgent: bool  # an immediate message waits, or an endpoint has just gone away
    oldest_ms: float | None
    away_bytes: int
    away_messages: int  # of the producer that has most
    acks: int
    acks_since_ms: float
    counted_since_ms: float | None = None


def is_commit_due(pressure: Pressure, linger_ms: float, now_ms: float) -> bool:
    """True when a commit has to start now."""
    if pressure.oldest_ms is not None:
        if pressure.is_urgent or pressure.oldest_ms + linger_ms <= now_ms:
            return True
        if pressure.away_bytes >= AWAY_BYTES or pressure.away_messages >= AWAY_MESSAGES:
            return True
    return are_acks_due(pressure, now_ms) or are_counters_due(pressure, now_ms)


def are_acks_due(pressure: Pressure, now_ms: float) -> bool:
    """True when acknowledgements alone are worth a commit."""
    if not pressure.acks:
        return False
    return pressure.acks >= ACKS_PER_COMMIT or pressure.acks_since_ms + ACK_AGE_MS <= now_ms


def are_counters_due(pressure: Pressure, now_ms: float) -> bool:
    """True when counters that nothing else has taken along are worth a commit."""
    return pressure.counted_since_ms is not None and pressure.counted_since_ms + COUNTERS_AGE_MS <= now_ms


def next_look_ms(pressure: Pressure, linger_ms: float) -> float | None:
    """Return when a commit may become due by the passing of time alone, or None."""
    times: list[float] = []
    if pressure.oldest_ms is not None:
        times.append(pressure.oldest_ms + linger_ms)
    if pressure.acks:
        times.append(pressure.acks_since_ms + ACK_AGE_MS)
    return min(times, default=None)


def retry_delay_s(failures: int) -> float:
    """Return how long to wait after the n-th failure in a row (from 1)."""
    return float(min(LAST_RETRY_S, FIRST_RETRY_S * 2 ** min(failures - 1, 10)))


class Limits(NamedTuple):
    """What the operator allows: bytes on disk in all, and bytes of the file system to leave free."""

    max_bytes: int
    keep_free_bytes: int


class Usage(NamedTuple):
    """Bytes on disk: pages in use, database file, WAL, ballast and what was set aside, free space beside them."""

    live: int = 0
    file: int = 0
    wal: int = 0
    aside: int = 0
    free: int = 1 << 62


def checkpoint_frames(limits: Limits) -> int:
    """Return how many pages the WAL may hold before they are copied into the database file."""
    return max(MIN_FRAMES, min(MAX_FRAMES, limits.max_bytes // WAL_SHARE // FRAME_BYTES))


def wal_bytes(limits: Limits) -> int:
    """Return how large the WAL gets: what a checkpoint waits for, and one full transaction on top of it."""
    return checkpoint_frames(limits) * FRAME_BYTES + TRANSACTION_BYTES * 9 // 8


def cap_bytes(usage: Usage, limits: Limits) -> int:
    """Return how many bytes rows and WAL may take now: the operator's cap, or less where the file system runs out.

    Neither file ever shrinks, so room for a grown WAL is left before the rows take it. Ballast and what was set aside
    count too, but leave the queue at least a quarter of its cap: it must go on working.
    """
    by_free_bytes = usage.file + usage.wal + usage.free - limits.keep_free_bytes
    growth_bytes = max(0, wal_bytes(limits) - usage.wal)
    by_cap_bytes = max(limits.max_bytes - usage.aside - growth_bytes, limits.max_bytes // 4)
    return min(by_cap_bytes, max(by_free_bytes, MIN_CAP_BYTES))


class Evictable(Protocol):
    """A row on disk that nobody has leased; a smaller `id` is older."""

    id: int
    size: int
    expires_ms: int


class Newcomer(NamedTuple):
    """A row that is about to be written: its priority (0 first, 9 last) and raw bytes."""

    priority: int
    size: int


class Room(NamedTuple):
    """What has to go: rows that expired, rows evicted, and indexes of newcomers to reject."""

    expired: list[Evictable]
    evicted: list[Evictable]
    rejected: set[int]


def make_room(
    lines: Sequence[tuple[int, Iterable[Evictable]]],
    newcomers: Sequence[Newcomer],
    *,
    used_bytes: int,
    limit_bytes: int,
    now_ms: float,
) -> Room:
    """Return what to remove so that `newcomers` fit; `lines` are (priority, rows oldest first).

    Expired rows go first, then the lowest priority, oldest first. Nothing makes room for a newcomer of lower priority
    than its own: then the newcomer is rejected, the least urgent and last one first.
    """
    room = Room([], [], set())
    need = used_bytes + sum(newcomer.size for newcomer in newcomers) - limit_bytes
    if need <= 0:
        return room
    hoped = need + int(limit_bytes * (1 - LOW_WATER))
    room.expired.extend(row for _, rows in lines for row in rows if row.expires_ms <= now_ms)
    freed = sum(row.size for row in room.expired)
    if freed >= need:
        return room
    order = sorted(range(len(newcomers)), key=lambda index: newcomers[index].priority)
    for priority, row in _victims(lines, now_ms):
        while freed < need and order and priority < newcomers[order[-1]].priority:
            need -= _reject(room, newcomers, order)
        if not order or priority < newcomers[order[-1]].priority or freed >= hoped:
            break
        room.evicted.append(row)
        freed += row.size
    while freed < need and order:
        need -= _reject(room, newcomers, order)
    return room


def _reject(room: Room, newcomers: Sequence[Newcomer], order: list[int]) -> int:
    index = order.pop()
    room.rejected.add(index)
    return newcomers[index].size


def _victims(lines: Sequence[tuple[int, Iterable[Evictable]]], now_ms: float) -> Iterator[tuple[int, Evictable]]:
    """Yield (priority, row) in the order of eviction; lines of one priority are merged by age."""
    for priority in sorted({priority for priority, _ in lines}, reverse=True):
        alike = [rows for line_priority, rows in lines if line_priority == priority]
        for row in heapq.merge(*alike, key=lambda row: row.id):
            if row.expires_ms > now_ms:
                yield priority, row
