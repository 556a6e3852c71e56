"""The database as the queue uses it: commits, loads and checkpoints over one connection; everything here blocks."""

from __future__ import annotations

import os
import sqlite3
from typing import NamedTuple

from microedge.errors import QueueError
from microedge.queue import disk
from microedge.queue.dead import DeadLetters
from microedge.queue.jobs import Commit, Loaded, NewRow, stored_expiry_ms
from microedge.queue.ledger import Ledger
from microedge.queue.letter import Letter, Selection
from microedge.queue.line import NEVER_MS, Row
from microedge.queue.lines import DROPPED, REPLAYED
from microedge.queue.policy import Usage
from microedge.queue.record import NEVER_MS as STORED_NEVER_MS
from microedge.queue.record import decode
from microedge.queue.schema import PAGE_BYTES, connect

LEDGER_MS = 600_000  # how often the uptime of this boot is noted by itself; rows say it more precisely
_CHECKED_AT_OPEN_BYTES = 32 * 1024 * 1024  # quick_check reads it all; beyond this a start would take too long on a card
_ID_GAP = 100_000  # row ids skipped after an unclean stop, so that a deleted row's id never names another one

_SELECT_INDEX = "SELECT id, endpoint, priority, n, expires_ms, boot, at_ms, length(data) FROM batch ORDER BY id"
# The cast: what damage has turned into a text that is no UTF-8 would raise here instead of failing its checksum.
_SELECT_ROW = "SELECT CAST(data AS BLOB) FROM batch WHERE id = ?"
_SELECT_BOOTS = "SELECT number, boot_id, up_ms FROM boots ORDER BY number"
_INSERT = "INSERT OR REPLACE INTO batch VALUES (?, ?, ?, ?, ?, ?, ?, ?)"

# SQLite's own words, because Python before 3.11 does not give the error's number.
_DAMAGE = ("malformed", "not a database", "no such table", "no such column", "Could not decode")


def is_damage(error: BaseException) -> bool:
    """True when the database itself is broken, not the disk, the space or the permissions."""
    return isinstance(error, sqlite3.DatabaseError) and any(words in str(error) for words in _DAMAGE)


def is_full(error: BaseException) -> bool:
    """True when there is no room: on the file system, or under the cap of pages."""
    return isinstance(error, sqlite3.OperationalError) and "is full" in str(error)


class Contents(NamedTuple):
    """What `Store.open` found: rows as (endpoint, priority, row) oldest first, and the counters of earlier runs."""

    rows: list[tuple[str, int, Row]]
    counters: dict[str, int]
    next_id: int
    moved_to: str  # where a damaged database was set aside; "" when nothing was wrong
    damage: str


class Store:
    """See the top of this file. `open` and everything after it block; use one thread at a time."""

    def __init__(self, file: str, boot_id: str, *, page_limit: int = 0, max_dead_bytes: int = 1 << 20) -> None:
        """`page_limit` caps the database file in pages of 4096 bytes, 0 for no cap."""
        self.file = os.path.abspath(file)
        self.base_ms = 0  # where this boot begins on the ledger's clock
        self.dead = DeadLetters(max_dead_bytes)
        self._boot_id = boot_id
        self._boot = 1
        self._db: sqlite3.Connection | None = None
        self._ledger = Ledger({})
        self._noted_up_ms = 0  # what the database says about this boot; 0: nothing
        self._is_marked = False  # the database says that it is in use, so that a crash will be recognised
        self._page_limit = page_limit
        self._has_old_wal = False  # an earlier connection has left one, and nothing was written since

    def open(self) -> Contents:
        """Open or create the database and read the index of its rows, not the rows. A damaged one is set aside.

        Raises:
            QueueDamaged: the file belongs to another program or a later version; it was left alone.
            QueueError: it is in use, or cannot be opened or created; the text says why.
        """
        moved_to = damage = ""
        try:
            if os.path.exists(self.file) and not os.path.getsize(self.file):
                damage, moved_to = "the file is empty", disk.set_aside(self.file)
            try:
                contents = self._read()
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                damage, moved_to = str(error), self.replace()
                contents = self._read()
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise QueueError(f"{self.file}: cannot be opened: {error}") from error
        return contents._replace(moved_to=moved_to, damage=damage)

    def replace(self) -> str:
        """Set the database aside, start an empty one and return where the old one is now.

        Raises:
            sqlite3.Error, OSError: nothing can be created there.
        """
        self.close()
        moved_to = disk.set_aside(self.file) if os.path.exists(self.file) else ""
        self.dead.read(self._connection())
        self._noted_up_ms, self._is_marked = 0, False
        return moved_to

    def reconnect(self) -> None:
        """Close and open again after an I/O error, which may have left the connection unusable.

        Raises:
            sqlite3.Error, OSError: it still does not work.
        """
        self.close()
        self._connection()

    def commit(self, job: Commit) -> None:
        """Write all of `job` in one transaction; fsynced when it returns.

        Raises:
            sqlite3.Error: nothing was written. Doing it again does no harm.
        """
        db = self._connection()
        self._settle_old_wal()
        has_uptime = not self._noted_up_ms or job.up_ms >= self._noted_up_ms + LEDGER_MS
        db.execute("BEGIN IMMEDIATE")
        try:
            self._write(db, job)
            if has_uptime:
                self._write_uptime(db, job.up_ms)
            db.execute("COMMIT")
        except sqlite3.Error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            self.dead.forget()
            raise
        self._is_marked = True
        self._noted_up_ms = job.up_ms if has_uptime else self._noted_up_ms

    def load(self, rows: list[Row]) -> list[Loaded]:
        """Read rows back; nothing changes.

        Raises:
            sqlite3.Error: the database cannot be read.
        """
        return [self._load(row) for row in rows]

    def letters(self, selection: Selection) -> list[Letter]:
        """Return dead letters, the oldest first.

        Raises:
            sqlite3.Error: the database cannot be read.
        """
        return self.dead.select(self._connection(), selection)

    def checkpoint(self) -> int:
        """Copy the WAL into the database file, so that it is overwritten from its beginning; return the frames left.

        Raises:
            sqlite3.Error: some pages could not be copied; the WAL still has them.
        """
        _, frames, copied = self._connection().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return max(0, int(frames) - int(copied))

    def usage(self) -> Usage:
        """Return the bytes on disk.

        Raises:
            sqlite3.Error, OSError: the disk does not answer.
        """
        db = self._connection()
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        unused = db.execute("PRAGMA freelist_count").fetchone()[0]
        wal = os.stat(self.file + "-wal").st_size if os.path.exists(self.file + "-wal") else 0
        free = disk.free_bytes(os.path.dirname(self.file))
        return Usage((pages - unused) * PAGE_BYTES, pages * PAGE_BYTES, wal, disk.aside_bytes(self.file), free)

    def mark_clean(self, next_id: int, up_ms: int, has_rows: bool) -> None:
        """Note that nothing is under way, so that the next start checks no file, and how long this boot was up.

        Raises:
            sqlite3.Error: the note could not be written.
        """
        if self._is_marked or has_rows:
            values = (("clean", 1), ("next_id", next_id))
            db = self._connection()
            self._settle_old_wal()
            db.execute("BEGIN IMMEDIATE")
            db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values)
            self._write_uptime(db, up_ms)
            db.execute("COMMIT")
            self._is_marked = False

    def close(self) -> None:
        """Close the connection; harmless when there is none, or when the disk is gone."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            self._has_old_wal = os.path.exists(self.file + "-wal")
            self._db = connect(self.file, self._page_limit)
        return self._db

    def _settle_old_wal(self) -> None:
        """Empty a WAL that a crash has left before anything is written to it.

        The padding of the last commit is not fsynced. After a power cut SQLite takes a torn one for free space, and
        would go on in the block where that commit ends: a second cut could destroy the block, and with it the commit.
        """
        if self._has_old_wal:
            self.checkpoint()
            self._has_old_wal = False

    def _read(self) -> Contents:
        try:
            return self._read_contents()
        except (TypeError, ValueError, AttributeError) as error:  # a number, a text or a NULL where we never put one
            raise sqlite3.DatabaseError(f"database disk image is malformed: {error}") from error

    def _read_contents(self) -> Contents:
        db = self._connection()
        meta = dict(db.execute("SELECT key, value FROM meta"))
        is_clean = bool(meta.get("clean", 1))
        if not is_clean and os.path.getsize(self.file) <= _CHECKED_AT_OPEN_BYTES:
            verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                raise sqlite3.DatabaseError(f"database disk image is malformed: {verdict}")
        self._is_marked = not is_clean
        rows = self._read_rows(db)
        self.dead.read(db)
        counters = {key: value for key, value in meta.items() if key == REPLAYED or key.startswith(DROPPED)}
        next_id = max(rows[-1][2].id + 1 if rows else 1, meta.get("next_id", 1)) + (0 if is_clean else _ID_GAP)
        return Contents(rows, counters, next_id, "", "")

    def _read_rows(self, db: sqlite3.Connection) -> list[tuple[str, int, Row]]:
        boots = {number: (boot_id, up_ms) for number, boot_id, up_ms in db.execute(_SELECT_BOOTS)}
        ledger = self._ledger = Ledger(boots)
        rows: list[tuple[str, int, Row]] = []
        names: dict[str, str] = {}  # one string per endpoint, not per row
        for row_id, endpoint, priority, n, expires_ms, boot, at_ms, size in db.execute(_SELECT_INDEX):
            at = ledger.saw(boot, at_ms)
            expires = NEVER_MS if expires_ms == STORED_NEVER_MS else ledger.base_ms(boot) + expires_ms
            rows.append((names.setdefault(endpoint, endpoint), priority, Row(row_id, n, size, at, expires)))
        by_id = {row.id: row for _, _, row in rows} if rows else {}
        for row_id, done in db.execute("SELECT id, done FROM partial"):
            row = by_id.get(row_id)
            if row is not None:
                row.done = int.from_bytes(done, "little")
                row.left = row.n - bin(row.done).count("1")
        self._boot = ledger.number_of(self._boot_id)
        self.base_ms = ledger.base_ms(self._boot)
        self._noted_up_ms = boots[self._boot][1] if self._boot in boots else 0
        return rows

    def _load(self, row: Row) -> Loaded:
        found = self._connection().execute(_SELECT_ROW, (row.id,)).fetchone()
        if found is None:
            return Loaded(row, [], "the row is gone")
        try:
            head, messages = decode(found[0])
        except ValueError as error:
            return Loaded(row, [], str(error), found[0])
        if head.row_id != row.id or head.messages != row.n:
            found_text = f"row {row.id} of {row.n} messages says it is row {head.row_id} of {head.messages}"
            return Loaded(row, [], found_text, found[0])
        base_ms = self._ledger.base_ms(head.boot)
        return Loaded(row, [(NEVER_MS if at == STORED_NEVER_MS else base_ms + at, message) for at, message in messages])

    def _write(self, db: sqlite3.Connection, job: Commit) -> None:
        if job.deletes:
            ids = [(row_id,) for row_id in job.deletes]
            db.executemany("DELETE FROM batch WHERE id = ?", ids)
            db.executemany("DELETE FROM partial WHERE id = ?", ids)
        if job.partials:
            db.executemany("INSERT OR REPLACE INTO partial VALUES (?, ?)", job.partials.items())
        db.executemany(_INSERT, (self._columns(new) for new in job.rows))
        if not self._is_marked:
            db.execute("INSERT OR REPLACE INTO meta VALUES ('clean', 0)")
        if job.counters:
            db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", job.counters.items())
        if job.dead or job.undead:
            self.dead.write(db, job.dead, job.undead)

    def _write_uptime(self, db: sqlite3.Connection, up_ms: int) -> None:
        db.execute("INSERT OR REPLACE INTO boots VALUES (?, ?, ?, NULL)", (self._boot, self._boot_id, up_ms))

    def _columns(self, new: NewRow) -> tuple[object, ...]:
        data = new.encode(self._boot, self.base_ms)
        row, line = new.row, new.line
        expires_ms = stored_expiry_ms(row.expires_ms, self.base_ms)
        at_ms = max(0, row.at_ms - self.base_ms)
        return row.id, line.endpoint.name, line.priority, row.n, expires_ms, self._boot, at_ms, data
