"""Files beside the database: the ballast, what was set aside, and how much the card has taken."""

from __future__ import annotations

import os

from microedge.atomic import replace_file, sync_directory

BALLAST_BYTES = 2 * 1024 * 1024  # enough for a checkpoint and the deletions of a drain on a full disk
BALLAST_SHARE = 16  # of a small cap, the ballast takes one part in this many: it counts against it
_KEPT_ASIDE = 2  # a second damage must not push out the first before somebody has looked
_PREFIX = "queue-"
_OUTCOME = "salvage.json"
_PENDING = "pending"  # a file beside a database that waits to be salvaged


class Ballast:
    """A file that only takes up room: given back on a full disk, so that acknowledgements can still be written.

    Without it a full disk is a trap: SQLite needs space to delete.
    """

    def __init__(self, file: str, size_bytes: int = BALLAST_BYTES) -> None:
        self._file = file
        self._size_bytes = size_bytes

    def make(self, keep_free_bytes: int) -> None:
        """Allocate the file unless it is there, or would eat into the space that must stay free."""
        if _allocated_bytes(self._file) >= self._size_bytes:
            return
        if free_bytes(os.path.dirname(self._file)) < keep_free_bytes + 2 * self._size_bytes:
            return
        fd = os.open(self._file, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, self._size_bytes)
        finally:
            os.close(fd)

    def release(self) -> bool:
        """Give the space back; True if there was any."""
        if not _allocated_bytes(self._file):
            return False
        os.unlink(self._file)
        return True


def visible_damage(file: str) -> str:
    """Return what is missing of a database, "" for nothing. SQLite would delete the WAL of an empty file."""
    if os.path.exists(file):
        return "" if os.path.getsize(file) else "the file is empty"
    has_wal = os.path.exists(file + "-wal") and os.path.getsize(file + "-wal") > 0
    return "the file is gone and has left its WAL behind" if has_wal else ""


def set_aside(file: str) -> str:
    """Move a database and its WAL into `quarantine/queue-<n>/` beside it and return that directory.

    The newest two are kept, and those that wait to be salvaged: `pending`. Durable when it returns.

    Raises:
        OSError: the move failed; the files are where they were or already in the new directory.
    """
    quarantine = os.path.join(os.path.dirname(file), "quarantine")
    os.makedirs(quarantine, mode=0o700, exist_ok=True)
    numbers = _aside_numbers(quarantine)
    number = numbers[-1] + 1 if numbers else 1
    target = os.path.join(quarantine, f"{_PREFIX}{number}")
    os.mkdir(target, 0o700)
    os.close(os.open(os.path.join(target, _PENDING), os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    for directory in (target, quarantine):  # first: a move that a power cut interrupts is finished by the next start
        sync_directory(directory)
    _move(file, target)
    forget_old(file)
    return target


def finish_moves(file: str) -> None:
    """Move what a power cut in the middle of `set_aside` has left behind.

    Raises:
        OSError: the move failed.
    """
    for target in pending(file):
        if not os.path.exists(os.path.join(target, os.path.basename(file))):
            _move(file, target)


def pending(file: str) -> list[str]:
    """Return the directories of databases that wait to be salvaged, the oldest first."""
    return [path for path in _aside(file) if os.path.exists(os.path.join(path, _PENDING))]


def salvaged(directory: str, outcome: bytes) -> None:
    """Note in a directory what came of its salvage: it is kept for a person to look at. Durable when it returns.

    Raises:
        OSError: it could not be written; it is still `pending`.
    """
    path = os.path.join(directory, _OUTCOME)
    replace_file(path, outcome, path + ".new")
    os.unlink(os.path.join(directory, _PENDING))
    sync_directory(directory)


def forget_old(file: str) -> None:
    """Delete what was set aside but for the newest two; what waits to be salvaged stays."""
    waiting = pending(file)
    for path in _aside(file)[:-_KEPT_ASIDE]:
        if path not in waiting:
            from shutil import rmtree  # brings bz2 and lzma, for a moment that hardly any device sees

            rmtree(path)


def shrink(file: str, max_bytes: int) -> None:
    """Delete salvaged databases, the oldest first, until they take no more than `max_bytes`; `salvage.json` stays."""
    waiting = pending(file)
    room = max_bytes
    for path in reversed(_aside(file)):
        if path in waiting:
            continue
        room -= _bytes_in(path)
        for name in os.listdir(path) if room < 0 else ():
            if name != _OUTCOME:
                os.unlink(os.path.join(path, name))


def _move(file: str, target: str) -> None:
    for suffix in ("-wal", "-shm", ""):  # the database last: without its WAL it must not look complete
        if os.path.exists(file + suffix):
            os.rename(file + suffix, os.path.join(target, os.path.basename(file) + suffix))
    for directory in (target, os.path.dirname(file)):
        sync_directory(directory)


def _aside(file: str) -> list[str]:
    quarantine = os.path.join(os.path.dirname(file), "quarantine")
    numbers = _aside_numbers(quarantine) if os.path.isdir(quarantine) else []
    return [os.path.join(quarantine, f"{_PREFIX}{number}") for number in numbers]


def ballast_file(file: str) -> str:
    """Return the path of the ballast of a database."""
    return file + "-ballast"


def aside_bytes(file: str) -> int:
    """Return the bytes on disk that are the queue's but not the database's: what was set aside, and the ballast.

    Without what waits to be salvaged: it is about to move into the database, and must not push that out of it.
    """
    waiting = pending(file)
    return _allocated_bytes(ballast_file(file)) + sum(_bytes_in(path) for path in _aside(file) if path not in waiting)


def free_bytes(directory: str) -> int:
    """Return the bytes that an ordinary user may still write on this file system.

    Raises:
        OSError: the file system does not answer.
    """
    facts = os.statvfs(directory or ".")
    return facts.f_bavail * facts.f_frsize


def thread_written_bytes() -> int:
    """Return the bytes that the calling thread has ever written, 0 where the kernel does not count them."""
    try:
        fd = os.open("/proc/thread-self/io", os.O_RDONLY | os.O_CLOEXEC)  # twice per commit: a file object costs more
    except OSError:  # a kernel without task accounting: the caller estimates
        return 0
    try:
        _, found, rest = os.read(fd, 1024).partition(b"wchar:")
    except OSError:
        return 0
    finally:
        os.close(fd)
    return int(rest.split(maxsplit=1)[0]) if found else 0


def _bytes_in(directory: str) -> int:
    return sum(_allocated_bytes(os.path.join(directory, name)) for name in os.listdir(directory))


def _allocated_bytes(file: str) -> int:
    try:
        return os.stat(file).st_blocks * 512
    except FileNotFoundError:
        return 0


def _aside_numbers(quarantine: str) -> list[int]:
    names = (name[len(_PREFIX) :] for name in os.listdir(quarantine) if name.startswith(_PREFIX))
    return sorted(int(name) for name in names if name.isdigit())
