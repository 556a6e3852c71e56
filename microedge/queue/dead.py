"""Dead letters: messages that were set aside, kept for a person to look at, within a bound."""

from __future__ import annotations

import sqlite3
import time
from collections import deque

from microedge.message import pack
from microedge.queue.lines import DeadLetter

_INSERT = "INSERT OR REPLACE INTO dead VALUES (?, ?, ?, ?, ?, ?)"
_ROW_BYTES = 64  # what a letter takes beside its text and its message, about


class DeadLetters:
    """The table of dead letters: the oldest go when all together exceed `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: deque[tuple[int, int]] = deque()  # (id, bytes), oldest first
        self._bytes = 0
        self.removed = 0  # for want of room, since the start

    def __len__(self) -> int:
        return len(self._kept)

    def read(self, db: sqlite3.Connection) -> None:
        """Learn what is in the table.

        Raises:
            sqlite3.Error: it cannot be read.
        """
        self._kept = deque(db.execute("SELECT id, length(data) + length(text) FROM dead ORDER BY id"))
        self._bytes = sum(size + _ROW_BYTES for _, size in self._kept)

    def write(self, db: sqlite3.Connection, letters: list[DeadLetter]) -> None:
        """Insert letters and delete the oldest beyond the bound, in the caller's transaction.

        Raises:
            sqlite3.Error: the caller must roll back and call `read`.
        """
        for letter in letters:
            data = letter.message if isinstance(letter.message, bytes) else pack(letter.message)
            number = self._kept[-1][0] + 1 if self._kept else 1
            now_ms = int(time.time() * 1000)  # for a person to read; nothing is decided by it
            db.execute(_INSERT, (number, letter.endpoint, letter.reason, letter.text, now_ms, data))
            self._kept.append((number, len(data) + len(letter.text)))
            self._bytes += self._kept[-1][1] + _ROW_BYTES
        while self._bytes > self._max_bytes and self._kept:
            number, size = self._kept.popleft()
            db.execute("DELETE FROM dead WHERE id = ?", (number,))
            self._bytes -= size + _ROW_BYTES
            self.removed += 1
