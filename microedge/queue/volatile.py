"""The bound on volatile messages in RAM: nothing holds their producers back, so the oldest give way; pure."""

from __future__ import annotations

from collections import deque

from microedge.queue.line import Entry

MAX_BYTES = 4 * 1024 * 1024
_LOW_WATER = 0.9  # evict a tenth at once, so that a flood does not walk the whole deque per message


class VolatileBound:
    """Remembers volatile entries in order of arrival until they have left, or are on disk."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._entries: deque[tuple[Entry, int]] = deque()
        self._bytes = 0

    def add(self, entry: Entry, size: int) -> None:
        """Take note of one more; those at the old end that have left are forgotten."""
        entries = self._entries
        entries.append((entry, size))
        self._bytes += size
        while entries and _has_left(entries[0][0]):
            self._bytes -= entries.popleft()[1]

    def overflow(self) -> list[Entry]:
        """Return the oldest entries that must go now; leased ones stay. They are forgotten here."""
        if self._bytes <= self._max_bytes:
            return []
        present = [(entry, size) for entry, size in self._entries if not _has_left(entry)]
        excess = sum(size for _, size in present) - int(self._max_bytes * _LOW_WATER)
        evicted: list[Entry] = []
        self._entries.clear()
        for entry, size in present:
            if excess > 0 and not entry.ticket:
                evicted.append(entry)
                excess -= size
            else:
                self._entries.append((entry, size))
        self._bytes = sum(size for _, size in self._entries)
        return evicted


def _has_left(entry: Entry) -> bool:
    return entry.message is None or entry.row is not None
