"""The table of dead letters: messages that were set aside, kept for a person to look at, within a bound."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable

from microedge.queue.letter import DeadLetter, DeadUsage, Letter, Selection, read_letter

MAX_LETTERS = 10_000
MAX_BYTES = 32 * 1024 * 1024  # and a tenth of the queue's cap: they are all read at the start
_ROW_BYTES = 64  # what a letter takes beside its text and its message, about

_INSERT = "INSERT OR REPLACE INTO dead VALUES (?, ?, ?, ?, ?, ?)"
_SIZES = "SELECT id, length(data) + length(CAST(text AS BLOB)) FROM dead"
# The casts: what damage has turned into a text that is no UTF-8 would raise instead of being shown.
_COLUMNS = (
    "id, CAST(endpoint AS BLOB), CAST(reason AS BLOB), CAST(text AS BLOB), CAST(time_ms AS INTEGER), CAST(data AS BLOB)"
)
_NOTE = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
_NEXT, _REMOVED = "dead.next", "dead.removed"


class DeadLetters:
    """Used by the writer's thread alone. The oldest letters go when there are too many, or too many bytes."""

    def __init__(self, max_bytes: int, max_letters: int = MAX_LETTERS) -> None:
        self._max_bytes = max_bytes
        self._max_letters = max_letters
        self._is_known = False  # what follows agrees with the table
        self._letters = self._bytes = self._removed = 0
        self.next_number = 1  # no number names two letters, ever: a person may have noted it

    @property
    def usage(self) -> DeadUsage:
        return DeadUsage(self._letters, self._bytes, self._removed)

    def forget(self) -> None:
        """Learn anew what is in the table before the next change: the last one may not have happened."""
        self._is_known = False

    def read(self, db: sqlite3.Connection) -> None:
        """Learn what is in the table.

        Raises:
            sqlite3.Error: it cannot be read.
        """
        sizes = db.execute(_SIZES).fetchall()
        self._letters = len(sizes)
        self._bytes = sum(size + _ROW_BYTES for _, size in sizes)
        notes = dict(db.execute("SELECT key, value FROM meta WHERE key IN (?, ?)", (_NEXT, _REMOVED)))
        self._removed = notes.get(_REMOVED, 0)
        self.next_number = max(1 + max((number for number, _ in sizes), default=0), notes.get(_NEXT, 1))
        self._is_known = True

    def write(self, db: sqlite3.Connection, letters: list[DeadLetter], removed: list[int]) -> None:
        """Delete letters by number, insert others, and delete the oldest beyond the bounds, in one transaction.

        Raises:
            sqlite3.Error: the caller must roll back and call `forget`.
        """
        if not self._is_known:
            self.read(db)
        for number in removed:
            self._delete(db, db.execute(f"{_SIZES} WHERE id = ?", (number,)).fetchall())
        for letter in letters:
            self._delete(db, db.execute(f"{_SIZES} WHERE id = ?", (letter.number,)).fetchall())
            self._insert(db, letter)
        before = self._removed
        while self._letters and (self._bytes > self._max_bytes or self._letters > self._max_letters):
            self._removed += self._delete(db, db.execute(f"{_SIZES} ORDER BY id LIMIT 1").fetchall())
        if self._removed != before:
            db.execute(_NOTE, (_REMOVED, self._removed))
        if letters:
            self.next_number = max(self.next_number, letters[-1].number + 1)
            db.execute(_NOTE, (_NEXT, self.next_number))

    def select(self, db: sqlite3.Connection, selection: Selection) -> list[Letter]:
        """Return letters, the oldest first.

        Raises:
            sqlite3.Error: the table cannot be read.
        """
        found: list[Letter] = []
        room = selection.max_bytes
        for letter in self._candidates(db, selection):
            if not selection.takes(letter):
                continue
            room -= letter.size_bytes
            if len(found) >= selection.limit or (found and room < 0):
                break
            found.append(letter)
        return found[::-1] if selection.is_newest else found

    def _candidates(self, db: sqlite3.Connection, selection: Selection) -> Iterable[Letter]:
        order = "DESC" if selection.is_newest else "ASC"
        where, values = "id > ? AND id < ?", [selection.after, selection.before, *selection.numbers]
        if selection.numbers:
            where += f" AND id IN ({', '.join('?' * len(selection.numbers))})"
        if selection.endpoint:
            where += " AND endpoint = ?"
        rows = db.execute(
            f"SELECT {_COLUMNS} FROM dead WHERE {where} ORDER BY id {order}",
            (*values, selection.endpoint) if selection.endpoint else values,
        )
        return map(read_letter, rows)

    def _insert(self, db: sqlite3.Connection, letter: DeadLetter) -> None:
        data = letter.encode()
        now_ms = int(time.time() * 1000)  # for a person to read; nothing is decided by it
        db.execute(_INSERT, (letter.number, letter.endpoint, letter.reason, letter.text, now_ms, data))
        self._letters += 1
        self._bytes += len(data) + len(letter.text.encode("utf-8", "replace")) + _ROW_BYTES

    def _delete(self, db: sqlite3.Connection, sizes: list[tuple[int, int]]) -> int:
        for number, size in sizes:
            db.execute("DELETE FROM dead WHERE id = ?", (number,))
            self._letters -= 1
            self._bytes -= size + _ROW_BYTES
        return len(sizes)
