"""The tables and settings of the database file.

Why these settings (each was measured for wear and crash safety on ext4): psow=0 with 4096-byte pages pads every
commit to a block border, so that a block that was synced is never written again and cannot be torn by a power cut;
synchronous=FULL because NORMAL loses up to half a minute of commits; an exclusive lock instead of shared memory; no
vacuum and no truncation, because overwriting allocated blocks costs a sixth of appending; secure_delete off, because
a drain would write zeros; checkpoints by hand, because SQLite swallows the errors of its own. No secondary index: it
triples what a commit writes, and the index of rows is in RAM.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator

from microedge.errors import QueueDamaged

PAGE_BYTES = 4096
APPLICATION_ID = 0x6D655131  # "meQ1"
USER_VERSION = 1

_LOCK = "PRAGMA locking_mode=EXCLUSIVE"  # before the first access, or SQLite makes a -shm file
_SETTINGS = (
    f"PRAGMA page_size={PAGE_BYTES}",
    "PRAGMA auto_vacuum=NONE",
    "PRAGMA secure_delete=OFF",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA wal_autocheckpoint=0",
    "PRAGMA journal_size_limit=-1",
    "PRAGMA cache_size=-512",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA mmap_size=0",  # an I/O error must be an error, not a SIGBUS
)
_TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID",
    "CREATE TABLE boots (number INTEGER PRIMARY KEY, boot_id TEXT NOT NULL, up_ms INTEGER NOT NULL,"
    " wall_offset_ms INTEGER)",
    "CREATE TABLE batch (id INTEGER PRIMARY KEY, endpoint TEXT NOT NULL, priority INTEGER NOT NULL,"
    " n INTEGER NOT NULL, expires_ms INTEGER NOT NULL, boot INTEGER NOT NULL, at_ms INTEGER NOT NULL,"
    " data BLOB NOT NULL)",
    "CREATE TABLE partial (id INTEGER PRIMARY KEY, done BLOB NOT NULL)",
    "CREATE TABLE dead (id INTEGER PRIMARY KEY, endpoint TEXT NOT NULL, reason TEXT NOT NULL, text TEXT NOT NULL,"
    " time_ms INTEGER NOT NULL, data BLOB NOT NULL)",
    f"PRAGMA application_id={APPLICATION_ID}",
    f"PRAGMA user_version={USER_VERSION}",
)


def connect(file: str, page_limit: int) -> sqlite3.Connection:
    """Open or create the database; `page_limit` caps the file in pages, 0 for no cap. Blocks.

    Raises:
        QueueDamaged: the file belongs to another program or a later version. It was not changed.
        sqlite3.Error: it cannot be opened, is in use, or the file system does not take a WAL.
    """
    escaped = file.replace("%", "%25").replace("?", "%3f").replace("#", "%23")  # all that a SQLite URI asks for
    uri = f"file:{escaped}?psow=0"
    db = sqlite3.connect(uri, uri=True, timeout=1.0, isolation_level=None, check_same_thread=False)
    try:
        db.execute(_LOCK)
        is_new = _is_new(db, file)
        for setting in _SETTINGS:
            db.execute(setting).fetchall()  # an I/O error comes only with the end of the answer
        _check_journal(db)
        if page_limit:
            db.execute(f"PRAGMA max_page_count={page_limit}")
        if is_new:
            _create(db)
    except BaseException:
        db.close()
        _remove_empty(file)
        raise
    return db


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Have all of it on disk afterwards, fsynced, or nothing.

    Raises:
        sqlite3.Error: nothing was written.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def roots() -> dict[str, int]:
    """Return the page where each table begins: the same in every database, because none was ever dropped."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        for statement in _TABLES:
            db.execute(statement)
        return dict(db.execute("SELECT name, rootpage FROM sqlite_master"))


def refuse_what_is_not_ours(file: str) -> None:
    """See that nothing stands at the database's place that is not ours to change. Before SQLite opens it.

    SQLite would copy the WAL of a foreign database into it. Blocks for a read.

    Raises:
        QueueDamaged: the file belongs to another program or a later version, is none, or may not be written.
        OSError: it cannot be read.
    """
    if not os.path.lexists(file):
        return
    if not os.path.isfile(file):
        found = "a directory" if os.path.isdir(file) else "something that is no file"
        raise QueueDamaged(file, f"found {found}: expected the queue's database, or nothing")
    if not os.access(file, os.R_OK | os.W_OK):
        raise QueueDamaged(file, f"uid {os.geteuid()} may not read and write it: expected its owner or the right mode")
    with open(file, "rb") as stream:
        head = stream.read(100)
    if head[:16] == b"SQLite format 3\0" and len(head) == 100:
        _check_owner(file, int.from_bytes(head[68:72], "big"), int.from_bytes(head[60:64], "big"))


def _check_owner(file: str, application_id: int, version: int) -> None:
    if application_id == APPLICATION_ID and version > USER_VERSION:
        raise QueueDamaged(file, f"a later version of microedge wrote it: format {version}, expected {USER_VERSION}")
    if application_id not in (0, APPLICATION_ID):  # 0: ours is in the WAL alone for a while
        found = f"application_id {application_id:#x}, version {version}"
        raise QueueDamaged(file, f"{found}: expected {APPLICATION_ID:#x}, version {USER_VERSION}")


def _remove_empty(file: str) -> None:
    """Leave no file behind that holds nothing: the next start would take it for a damaged database and set it aside."""
    with contextlib.suppress(OSError):
        if not os.path.getsize(file):
            os.unlink(file)


def _is_new(db: sqlite3.Connection, file: str) -> bool:
    application_id = db.execute("PRAGMA application_id").fetchone()[0]
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if not application_id and not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        return True
    if (application_id, version) != (APPLICATION_ID, USER_VERSION):
        found = f"application_id {application_id:#x}, version {version}"
        raise QueueDamaged(file, f"{found}: expected {APPLICATION_ID:#x}, version {USER_VERSION}")
    return False


def _check_journal(db: sqlite3.Connection) -> None:
    """Refuse to work without a WAL: SQLite keeps the mode it had where it cannot have one, and says so only here.

    A commit in that mode is durable only with the next fsync of the directory, which a power cut may precede.
    """
    mode = db.execute("PRAGMA journal_mode").fetchone()[0]
    if mode != "wal":
        raise sqlite3.OperationalError(f"journal_mode is {mode!r}: expected 'wal'; does the file system lock files?")


def _create(db: sqlite3.Connection) -> None:
    db.execute("BEGIN IMMEDIATE")
    for statement in _TABLES:
        db.execute(statement)
    db.execute("COMMIT")
