"""The files of identities on disk: read by nobody else, replaced as a whole, set aside when they are damaged.

Each identity is in two files, `<name>.json` and `<name>.json.copy`. The copy is written first, then the file itself:
at every moment at least one of them is whole, and the older of the two is never older than one change.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Sequence

from microedge.atomic import replace_file, sync_directory
from microedge.identity.record import MAX_FILE_BYTES

COPY = ".copy"
_NEW = ".new"
_KEPT_ASIDE = 4  # of one identity, file and copy of two damages: the second must not push out the first unseen
_OTHERS = 0o077


def private_directory(path: str) -> str:
    """Create a directory for its owner alone, or make it one; return "" or what had to be corrected.

    Raises:
        OSError: it cannot be created or looked at.
    """
    os.makedirs(path, mode=0o700, exist_ok=True)
    mode = os.stat(path).st_mode & 0o777
    return _correct(path, mode, 0o700) if mode & _OTHERS else ""


def read(path: str) -> tuple[bytes, str]:
    """Return a file's bytes, at most one more than a file may have, and "" or what was wrong with its permissions.

    Permissions that let others read it, or not even its owner, are corrected.

    Raises:
        FileNotFoundError: it is not there.
        PermissionError: it belongs to another user.
        OSError: it cannot be read, or is no regular file.
    """
    try:
        fd = _open(path)
        corrected = ""
    except PermissionError:
        os.chmod(path, 0o600)
        fd = _open(path)
        corrected = "could not be read by its owner: now it can"
    try:
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(errno.EINVAL, "found no regular file", path)
        mode = facts.st_mode & 0o777
        if mode & _OTHERS:
            corrected = _correct(path, mode, 0o600)
        return os.read(fd, MAX_FILE_BYTES + 1), corrected
    finally:
        os.close(fd)


def write_pairs(pairs: Sequence[tuple[str, bytes]]) -> list[str]:
    """Write each (path, content) and its copy; return for each "" or why it could not be written.

    What is reported as written is durable. Of what is not, the previous file is untouched. Blocks for two fsyncs for
    each pair and one for each directory.
    """
    results = [_write_pair(path, data) for path, data in pairs]
    failed = {directory: _sync(directory) for directory in {os.path.dirname(path) for path, _ in pairs}}
    return [why or failed[os.path.dirname(path)] for why, (path, _) in zip(results, pairs)]


def set_aside(path: str, quarantine: str, label: str) -> str:
    """Move a file into `quarantine` as `<label>-<n>.json` and return its new path. The newest four are kept.

    Raises:
        OSError: it could not be moved; it is where it was.
    """
    os.makedirs(quarantine, mode=0o700, exist_ok=True)
    numbers = _numbers(os.listdir(quarantine), label)
    target = os.path.join(quarantine, f"{label}-{numbers[-1] + 1 if numbers else 1}.json")
    os.rename(path, target)
    for directory in (quarantine, os.path.dirname(path)):
        _sync(directory)
    for number in numbers[: max(0, len(numbers) + 1 - _KEPT_ASIDE)]:
        os.unlink(os.path.join(quarantine, f"{label}-{number}.json"))
    return target


def remove_leftovers(directory: str) -> None:
    """Delete files that a crash left half-written.

    Raises:
        OSError: the directory cannot be read or written.
    """
    for name in os.listdir(directory):
        if name.endswith((f".json{_NEW}", f".json{COPY}{_NEW}")):
            os.unlink(os.path.join(directory, name))


def why(error: OSError) -> str:
    """Return the reason of an error of the operating system, without the path."""
    return error.strerror or str(error)


def _open(path: str) -> int:
    # O_NONBLOCK: a pipe in its place must not hang the start; O_NOFOLLOW: a link is not what we wrote.
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)


def _correct(path: str, mode: int, wanted: int) -> str:
    found = f"was open to other users (mode {mode:04o})"
    try:
        os.chmod(path, wanted)
    except OSError as error:
        return f"{found} and stays so: {why(error)}"
    if os.stat(path).st_mode & _OTHERS:
        return f"{found} and stays so: this file system keeps no permissions"
    return f"{found}: now {wanted:04o}"


def _write_pair(path: str, data: bytes) -> str:
    try:
        for target in (path + COPY, path):
            replace_file(target, data, target + _NEW)
    except OSError as error:
        return why(error)
    return ""


def _sync(directory: str) -> str:
    try:
        sync_directory(directory)
    except OSError as error:
        return why(error)
    return ""


def _numbers(names: Iterable[str], label: str) -> list[int]:
    prefix, suffix = f"{label}-", ".json"
    inner = [name[len(prefix) : -len(suffix)] for name in names if name.startswith(prefix) and name.endswith(suffix)]
    return sorted(int(number) for number in inner if number.isdecimal())
