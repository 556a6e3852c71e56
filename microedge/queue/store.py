"""The database as the queue uses it: commits, loads and checkpoints over one connection; everything here blocks."""

from __future__ import annotations

import os
import sqlite3
from typing import NamedTuple

from microedge.errors import QueueError
from microedge.queue import disk
from microedge.queue.dead import DeadLetters
from microedge.queue.jobs import WAITING, WAITING_NEXT, Commit, Loaded, NewRow, Rescue, Rescued, stored_expiry_ms
from microedge.queue.ledger import Ledger, carry_over
from microedge.queue.letter import Letter, Selection
from microedge.queue.line import NEVER_MS, Row
from microedge.queue.lines import REPLAYED
from microedge.queue.losses import DROPPED, GAP, Counters, with_losses
from microedge.queue.policy import Usage
from microedge.queue.record import NEVER_MS as STORED_NEVER_MS
from microedge.queue.record import decode
from microedge.queue.schema import PAGE_BYTES, connect, refuse_what_is_not_ours, transaction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from microedge.queue.salvage import Heritage
    from microedge.queue.salvage_store import Rescuer

LEDGER_MS = 600_000  # how often the uptime of this boot is noted by itself; rows say it more precisely
_CHECKED_AT_OPEN_BYTES = 8 * 1024 * 1024  # quick_check reads it all: a third of a second on a card
_ID_GAP = 100_000  # row ids skipped after an unclean stop, so that a deleted row's id never names another one

_SELECT_INDEX = "SELECT id, endpoint, priority, n, expires_ms, boot, at_ms, length(data) FROM batch ORDER BY id"
# The cast: what damage has turned into a text that is no UTF-8 would raise here instead of failing its checksum.
_SELECT_ROW = "SELECT CAST(data AS BLOB) FROM batch WHERE id = ?"
_SELECT_BOOTS = "SELECT number, boot_id, up_ms, wall_offset_ms FROM boots ORDER BY number"
_INSERT = "INSERT OR REPLACE INTO batch VALUES (?, ?, ?, ?, ?, ?, ?, ?)"

# SQLite's own words, because Python before 3.11 does not give the error's number.
_DAMAGE = ("malformed", "not a database", "no such table", "no such column", "Could not decode")


def is_damage(error: BaseException) -> bool:
    """True when the database itself is broken, not the disk, the space or the permissions."""
    return isinstance(error, sqlite3.DatabaseError) and any(words in str(error) for words in _DAMAGE)


def is_full(error: BaseException) -> bool:
    """True when there is no room: on the file system, or under the cap of pages."""
    return isinstance(error, sqlite3.OperationalError) and "is full" in str(error)


def is_io_error(error: BaseException) -> bool:
    """True when the disk failed to read or to write, whatever the reason."""
    return isinstance(error, sqlite3.OperationalError) and "disk I/O error" in str(error)


class Contents(NamedTuple):
    """What `Store.open` found: rows as (endpoint, priority, row) oldest first, and the counters of earlier runs."""

    rows: list[tuple[str, int, Row]]
    counters: Counters
    next_id: int
    moved_to: str  # where a damaged database was set aside; "" when nothing was wrong
    damage: str
    pending: list[str]  # directories that wait to be salvaged, the oldest first


class Store:
    """See the top of this file. `open` and everything after it block; use one thread at a time."""

    def __init__(
        self,
        file: str,
        boot_id: str,
        *,
        page_limit: int = 0,
        max_dead_bytes: int = 1 << 20,
        max_aside_bytes: int = 1 << 26,
    ) -> None:
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
        self._offsets_ms: dict[int, int] = {}  # of the wall clocks of boots, where they were known
        self._page_limit = page_limit
        self._boots: dict[int, tuple[str, int]] = {}
        self._next_id = 0  # above all row ids that this run has read or written
        self._is_known = False  # what the database said about boots and ids
        self._heritage: Heritage | None = None  # for the next database, which is not there yet
        self._rescuer: Rescuer | None = None
        self._max_aside_bytes = max_aside_bytes
        self._waiting = 0  # messages on disk after the last commit
        self._has_old_wal = False  # an earlier connection has left one, and nothing was written since

    def open(self, up_ms: int = 0) -> Contents:
        """Open or create the database and read the index of its rows, not the rows. A damaged one is set aside.

        This boot has been up for `up_ms`.

        Raises:
            QueueDamaged: the file belongs to another program or a later version; it was left alone.
            QueueError: it is in use, or cannot be opened or created; the text says why.
        """
        moved_to = ""
        try:
            refuse_what_is_not_ours(self.file)
            disk.finish_moves(self.file)
            damage = disk.visible_damage(self.file)
            if not damage and os.path.exists(self.file + "-wal") and self._salvager().is_wal_damaged():
                damage = "its WAL is damaged before its end"
            if damage:
                moved_to = self.replace(up_ms)
            try:
                contents = self._read()
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                damage, moved_to = str(error), self.replace(up_ms)
                contents = self._read()
            pending = disk.pending(self.file) and self._salvager().unfinished(self._connection())
            if pending and not moved_to and contents.next_id <= 1 + _ID_GAP:  # a power cut came before the new one
                self._heritage = self._salvager().heritage(pending[-1], self._boot_id, up_ms)
                self.close()
                contents = self._read()
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise QueueError(f"{self.file}: cannot be opened: {error}") from error
        self._is_known = True
        return contents._replace(moved_to=moved_to, damage=damage, pending=pending)

    def replace(self, up_ms: int = 0) -> str:
        """Set the database aside and return where it is now; the next use begins an empty one.

        Raises:
            OSError: it cannot be moved.
        """
        self.close()
        moved_to = disk.set_aside(self.file)
        if self._is_known:
            numbers = self._next_id, self.dead.next_number
            self._heritage = self._salvager().to_inherit(self._boots, self._offsets_ms, *numbers)
        else:
            self._heritage = self._salvager().heritage(moved_to, self._boot_id, up_ms)
        self._is_marked = False
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
        is_clock_news = job.wall_offset_ms not in (None, self._offsets_ms.get(self._boot))
        has_uptime = not self._noted_up_ms or job.up_ms >= self._noted_up_ms + LEDGER_MS or is_clock_news
        try:
            with transaction(db):
                self._write(db, job)
                if has_uptime:
                    self._write_uptime(db, job.up_ms, job.wall_offset_ms)
        except sqlite3.Error:
            self.dead.forget()
            raise
        self._is_marked = True
        self._waiting = job.waiting
        self._next_id = max([self._next_id, *(new.row.id + 1 for new in job.rows)])
        self._noted_up_ms = job.up_ms if has_uptime else self._noted_up_ms
        if job.wall_offset_ms is not None:
            self._offsets_ms[self._boot] = job.wall_offset_ms

    def raw(self, row_id: int) -> bytes:
        """Return the bytes of a row, b"" when it is gone. Raises sqlite3.Error when the database cannot be read."""
        return next((bytes(data or b"") for (data,) in self._connection().execute(_SELECT_ROW, (row_id,))), b"")

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

    def rescue(self, job: Rescue) -> Rescued:
        """Get on with a salvage for a moment: search, or move what fits into one transaction.

        Raises:
            sqlite3.Error, OSError: nothing was moved. Doing it again does no harm.
        """
        db = self._connection()
        self._settle_old_wal()
        rescued, stored = self._salvager().step(db, job)
        for endpoint, priority, done, columns in stored:
            rescued.rows.append((endpoint, priority, self._row(columns, done)))
        if job.is_over:
            self.dead.read(db)
        return rescued

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

    def mark_clean(self, next_id: int, up_ms: int, wall_offset_ms: int | None, has_rows: bool) -> None:
        """Note that nothing is under way, so that the next start checks no file, and how long this boot was up.

        Raises:
            sqlite3.Error: the note could not be written.
        """
        if self._is_marked or has_rows:
            values = (("clean", 1), ("next_id", next_id), (WAITING, self._waiting), (WAITING_NEXT, next_id))
            db = self._connection()
            self._settle_old_wal()
            with transaction(db):
                db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values)
                self._write_uptime(db, up_ms, wall_offset_ms)
            self._is_marked = False

    def close(self) -> None:
        """Close the connection; harmless when there is none, or when the disk is gone."""
        if self._db is not None:
            self._db.close()
            self._db = None
        if self._rescuer is not None:
            self._rescuer.close()

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            self._has_old_wal = os.path.exists(self.file + "-wal")
            self._db = connect(self.file, self._page_limit)
        if self._heritage is not None:
            self._salvager().inherit(self._db, self._heritage)
            self.dead.read(self._db)
            self._heritage, self._is_marked, self._noted_up_ms = None, True, 0
        return self._db

    def _settle_old_wal(self) -> None:
        """Empty a WAL that a crash has left before anything is written to it.

        The padding of the last commit is not fsynced. After a power cut SQLite takes a torn one for free space, and
        would go on in the block where that commit ends: a second cut could destroy the block, and with it the commit.
        """
        if self._has_old_wal:
            self.checkpoint()
            self._has_old_wal = False

    def _salvager(self) -> Rescuer:
        if self._rescuer is None:
            from microedge.queue.salvage_store import Rescuer  # hardly any device needs it, and RAM is short

            self._rescuer = Rescuer(self.file, self._max_aside_bytes)
        return self._rescuer

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
        counters = {key: value for key, value in meta.items() if key == REPLAYED or key.startswith((DROPPED, GAP))}
        next_id = max(rows[-1][2].id + 1 if rows else 1, meta.get("next_id", 1)) + (0 if is_clean else _ID_GAP)
        self._next_id, self._waiting = next_id, sum(row.left for _, _, row in rows)
        return Contents(rows, counters, next_id, "", "", [])

    def _read_rows(self, db: sqlite3.Connection) -> list[tuple[str, int, Row]]:
        noted = db.execute(_SELECT_BOOTS).fetchall()
        boots = {number: (boot_id, up_ms) for number, boot_id, up_ms, _ in noted}
        self._offsets_ms = {number: int(offset_ms) for number, _, _, offset_ms in noted if offset_ms is not None}
        ledger = self._ledger = Ledger(boots)
        self._boots = boots
        rows: list[tuple[str, int, Row]] = []
        names: dict[str, str] = {}  # one string per endpoint, not per row
        partial = dict(db.execute("SELECT id, done FROM partial"))
        for row_id, endpoint, priority, *columns in db.execute(_SELECT_INDEX):
            done = int.from_bytes(partial.get(row_id, b""), "little")
            row = self._row((row_id, *columns), done)
            rows.append((names.setdefault(endpoint, endpoint), priority, row))
        self._boot = ledger.number_of(self._boot_id)
        self.base_ms = ledger.base_ms(self._boot)
        self._noted_up_ms = boots[self._boot][1] if self._boot in boots else 0
        return rows

    def _row(self, columns: tuple[int, ...], done: int) -> Row:
        row_id, n, expires_ms, boot, at_ms, size = columns
        at = self._ledger.saw(boot, at_ms)
        expires = NEVER_MS if expires_ms == STORED_NEVER_MS else self._ledger.base_ms(boot) + expires_ms
        row = Row(row_id, n, size, at, expires)
        if done:
            row.done = done & ((1 << n) - 1)
            row.left = n - bin(row.done).count("1")
        return row

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
        if head.boot != self._boot:
            for _, message in messages:
                carry_over(message, base_ms - self.base_ms, self._offsets_ms.get(head.boot))
        return Loaded(row, [(NEVER_MS if at == STORED_NEVER_MS else base_ms + at, message) for at, message in messages])

    def _write(self, db: sqlite3.Connection, job: Commit) -> None:
        if job.deletes:
            ids = [(row_id,) for row_id in job.deletes]
            db.executemany("DELETE FROM batch WHERE id = ?", ids)
            db.executemany("DELETE FROM partial WHERE id = ?", ids)
        if job.partials:
            db.executemany("INSERT OR REPLACE INTO partial VALUES (?, ?)", job.partials.items())
        db.executemany(_INSERT, (self._columns(new, job.waiting) for new in job.rows))
        if not self._is_marked:
            db.execute("INSERT OR REPLACE INTO meta VALUES ('clean', 0)")
        notes: Counters = dict(with_losses(job.counters, job.losses)) if job.counters else {}
        if not job.rows:  # a row says it itself
            notes.update({WAITING: job.waiting, WAITING_NEXT: self._next_id})
        db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", notes.items())
        if job.dead or job.undead:
            self.dead.write(db, job.dead, job.undead)

    def _write_uptime(self, db: sqlite3.Connection, up_ms: int, wall_offset_ms: int | None) -> None:
        offset_ms = self._offsets_ms.get(self._boot) if wall_offset_ms is None else wall_offset_ms
        values = self._boot, self._boot_id, up_ms, offset_ms
        db.execute("INSERT OR REPLACE INTO boots VALUES (?, ?, ?, ?)", values)
        self._boots[self._boot] = (self._boot_id, up_ms)

    def _columns(self, new: NewRow, waiting: int) -> tuple[object, ...]:
        data = new.encode(self._boot, self.base_ms, waiting)
        row, line, at_ms = new.row, new.line, max(0, new.row.at_ms - self.base_ms)
        expires_ms = stored_expiry_ms(row.expires_ms, self.base_ms)
        return row.id, line.endpoint.name, line.priority, row.n, expires_ms, self._boot, at_ms, data
