"""The writer's side of a salvage: from the pages of the old database into the tables of the new one."""

from __future__ import annotations

import json
import os
import sqlite3
import time

from microedge.queue import disk
from microedge.queue.jobs import COUNTED, SALVAGE, Outcome, Rescue, Rescued
from microedge.queue.policy import TRANSACTION_BYTES, Newcomer
from microedge.queue.salvage import Heritage, Part, Salvage, expiry_ms, read_heritage
from microedge.queue.salvage_image import hides_commits
from microedge.queue.schema import roots, transaction

Moved = tuple[str, int, int, tuple[int, ...]]
"""Endpoint, priority, bit set of delivered messages, and the columns of the index of one row."""


class Rescuer:
    """The salvages that are under way, by directory."""

    def __init__(self, file: str, max_aside_bytes: int) -> None:
        """What was salvaged is kept for a person to look at, as long as it takes at most `max_aside_bytes`."""
        self._file = file
        self._max_aside_bytes = max_aside_bytes
        self._salvages: dict[str, Salvage] = {}

    def is_wal_damaged(self) -> bool:
        """True when SQLite would silently lose commits that are in the WAL. Only before the database is opened.

        Raises:
            OSError: a file cannot be opened.
        """
        return hides_commits(self._file)

    def heritage(self, directory: str, boot_id: str, up_ms: int) -> Heritage:
        """Return what the next database takes over from the one in `directory`.

        Raises:
            OSError: a file there cannot be opened.
        """
        return read_heritage(self._file_in(directory), roots(), boot_id, up_ms)

    def to_inherit(
        self, boots: dict[int, tuple[str, int]], offsets_ms: dict[int, int], next_id: int, next_letter: int
    ) -> Heritage:
        """Return what the next database takes over where that is known; the counters follow with a commit."""
        return Heritage(boots, offsets_ms, {}, next_id, next_letter)

    def inherit(self, db: sqlite3.Connection, heritage: Heritage) -> None:
        """Write what a new database takes over from the one before.

        Raises:
            sqlite3.Error: nothing was written.
        """
        notes = {**heritage.counters, "next_id": heritage.next_id, "dead.next": heritage.next_letter, "clean": 0}
        boots = [(number, *boot, heritage.offsets_ms.get(number)) for number, boot in heritage.boots.items()]
        with transaction(db):
            db.executemany("INSERT OR REPLACE INTO boots VALUES (?, ?, ?, ?)", boots)
            db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", notes.items())

    def unfinished(self, db: sqlite3.Connection) -> list[str]:
        """Return the directories that wait to be salvaged.

        Raises:
            sqlite3.Error, OSError: the disk does not answer.
        """
        waiting = disk.pending(self._file)
        for directory in [one for one in waiting if _progress(db, one) == COUNTED]:
            _close_books(db, directory, {"salvaged": True})
            waiting.remove(directory)
        return waiting

    def step(self, db: sqlite3.Connection, job: Rescue) -> tuple[Rescued, list[Moved]]:
        """Get on for a moment.

        Raises:
            sqlite3.Error, OSError: nothing was moved.
        """
        rescued, moved = Rescued(), []
        salvage = self._salvages.get(job.directory)
        if salvage is None:
            salvage = Salvage(self._file_in(job.directory), roots(), job.known, _progress(db, job.directory))
            self._salvages[job.directory] = salvage
        if job.is_over:
            _close_books(db, job.directory, _described(salvage.close()))
            del self._salvages[job.directory]
            disk.forget_old(self._file)
            disk.shrink(self._file, self._max_aside_bytes)
        elif salvage.look():
            part = salvage.part(min(TRANSACTION_BYTES, job.room_bytes))
            size = sum(len(stored.data) for _, stored, _ in part)
            if part and size > job.room_bytes and job.is_without_room:
                rescued.discarded = sum(found.left for found, _, _ in part)
                salvage.moved(part)
            elif part and size > job.room_bytes:
                rescued.needed = Newcomer(part[0][1].head.priority, size)
            elif part:
                moved = _move(db, _key(job.directory), part)
                salvage.moved(part)
            else:
                _move_letters(db, salvage)
                rescued.outcome = salvage.outcome
        return rescued, moved

    def close(self) -> None:
        """Close all files; harmless in the middle of a salvage."""
        for salvage in self._salvages.values():
            salvage.close()

    def _file_in(self, directory: str) -> str:
        return os.path.join(directory, os.path.basename(self._file))


def _key(directory: str) -> str:
    return SALVAGE + os.path.basename(directory)


def _progress(db: sqlite3.Connection, directory: str) -> int:
    found = db.execute("SELECT value FROM meta WHERE key = ?", (_key(directory),)).fetchone()
    return int(found[0]) if found is not None else 0


def _move(db: sqlite3.Connection, key: str, part: Part) -> list[Moved]:
    moved: list[Moved] = []
    with transaction(db):
        for _, stored, done in part:
            head, data = stored.head, stored.data
            times = (expiry_ms(stored), head.boot, head.at_ms)
            row = (head.row_id, head.endpoint, head.priority, head.messages, *times, data)
            if not db.execute("INSERT OR IGNORE INTO batch VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row).rowcount:
                continue  # a commit that failed and yet reached the disk: it was made again, here
            if done:
                bits = (done & ((1 << head.messages) - 1)).to_bytes((head.messages + 7) // 8, "little")
                db.execute("INSERT OR REPLACE INTO partial VALUES (?, ?)", (head.row_id, bits))
            moved.append((head.endpoint, head.priority, done, (head.row_id, head.messages, *times, len(data))))
        db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, part[-1][0].row_id))
    return moved


def _move_letters(db: sqlite3.Connection, salvage: Salvage) -> None:
    with transaction(db):
        db.executemany("INSERT OR IGNORE INTO dead VALUES (?, ?, ?, ?, ?, ?)", salvage.letters())


def _described(outcome: Outcome) -> dict[str, object]:
    return {**outcome._asdict(), "time": int(time.time())}


def _close_books(db: sqlite3.Connection, directory: str, outcome: dict[str, object]) -> None:
    disk.salvaged(directory, json.dumps(outcome).encode() + b"\n")
    with transaction(db):
        db.execute("DELETE FROM meta WHERE key = ?", (_key(directory),))
        db.execute("DELETE FROM partial WHERE id NOT IN (SELECT id FROM batch)")
