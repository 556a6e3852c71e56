"""What tells whether the files of an image have changed, from their names, sizes and times alone.

Links are never followed; what Python and editors leave behind does not count. The sum is a CRC and no cryptographic
hash: it notices changes, it proves nothing, and hashlib would load OpenSSL (3 MiB resident) into the supervisor.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from microedge.errors import ModuleImageError

MAX_FILES = 5_000  # a vendored lib/ has some hundreds; beyond this somebody dropped a virtual environment
MAX_DEPTH = 12


@dataclass(frozen=True)
class Survey:
    """`newest_s` is the latest change of any file: wall-clock seconds since the epoch, 0 without files."""

    fingerprint: str
    newest_s: float


def fingerprint(directory: str) -> str:
    """Return a short text that changes when a file in `directory` does. Blocks for one stat per file.

    Raises:
        ModuleImageError: it holds more than `MAX_FILES` files or directories deeper than `MAX_DEPTH`.
        OSError: it cannot be read.
    """
    return survey(directory).fingerprint


def survey(directory: str) -> Survey:
    """Return the fingerprint of `directory` and the time of its latest change. Blocks for one stat per file.

    The time is the ctime: unlike the mtime, which `cp -p`, rsync and tar copy from the original, it always says when
    the file appeared here.

    Raises:
        ModuleImageError: it holds more than `MAX_FILES` files or directories deeper than `MAX_DEPTH`.
        OSError: it cannot be read.
    """
    lines, newest_s = [], 0.0
    for path, found in _files(directory):
        lines.append(f"{path}\0{found.st_size}\0{found.st_mtime_ns}\n")
        newest_s = max(newest_s, found.st_ctime)
        if len(lines) > MAX_FILES:
            reason = f"found more than {MAX_FILES} files: expected a module with at most a few hundred"
            raise ModuleImageError(directory, reason)
    content = "".join(sorted(lines)).encode("utf-8", "surrogateescape")
    return Survey(f"{len(lines)}-{zlib.crc32(content):08x}{zlib.adler32(content):08x}", newest_s)


def is_ignored(name: str) -> bool:
    """True for what editors, Python and version control leave beside the files that matter."""
    return name.startswith(".") or name.endswith(("~", ".pyc")) or name == "__pycache__"


def _files(directory: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield (relative path, stat) of every file and link below `directory`; other kinds of files are left out."""
    waiting = [("", 1)]
    while waiting:
        prefix, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise ModuleImageError(directory, f"found directories in {MAX_DEPTH} levels: expected fewer")
        with os.scandir(os.path.join(directory, prefix)) as entries:
            for entry in entries:
                path = f"{prefix}{entry.name}"
                if is_ignored(entry.name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((f"{path}/", depth + 1))
                elif entry.is_symlink() or entry.is_file(follow_symlinks=False):
                    yield path, entry.stat(follow_symlinks=False)
