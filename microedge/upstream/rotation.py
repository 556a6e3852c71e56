"""An append-only file that is cut into `keep` files by size. Blocks; used on the file connector's thread only.

`path` is the current file, `path.1` the one before, up to `path.<keep - 1>`. A crash or a power cut may leave half a
line at the end; it gets its line break when the file is opened, so that the next line is whole.
"""

from __future__ import annotations

import contextlib
import errno
import os

from microedge.atomic import sync_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_MIN_FREE_BYTES = 1024 * 1024  # a full disk is not tried again before there is room for several batches
_MODE = 0o640


class RotatingFile:
    """Every method raises OSError as the system gives it."""

    def __init__(self, path: str, max_bytes: int, keep: int) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._fd = -1
        self._size = 0
        self.write: Callable[[int, bytes], int] = os.write  # a test puts a disk that fails in their place
        self.sync: Callable[[int], None] = os.fdatasync

    def open(self) -> None:
        """Open the current file for appending, with its directory; completes a line that a crash cut off.

        Raises:
            OSError: ENOSPC where less than a mebibyte is free; else what the system says.
        """
        directory = os.path.dirname(self.path) or "."
        os.makedirs(directory, exist_ok=True)
        free = os.statvfs(directory)
        if free.f_bavail * free.f_frsize < _MIN_FREE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)
        self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
        self._size = os.fstat(self._fd).st_size
        if self._size and os.pread(self._fd, 1, self._size - 1) != b"\n":
            self._write(b"\n")
        sync_directory(directory)

    def append(self, lines: Iterable[bytes]) -> None:
        """Write all lines and return when they are durable. After an error none of them counts."""
        chunk: list[bytes] = []
        chunk_bytes = 0
        for line in lines:
            if self._size + chunk_bytes and self._size + chunk_bytes + len(line) > self._max_bytes:
                self._append_whole(b"".join(chunk))
                self._rotate()
                chunk, chunk_bytes = [], 0
            chunk.append(line)
            chunk_bytes += len(line)
        self._append_whole(b"".join(chunk))

    def close(self) -> None:
        """Close the file; harmless when it is not open."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _append_whole(self, data: bytes) -> None:
        if not data:
            return
        size = self._size
        try:
            self._write(data)
            self.sync(self._fd)
        except OSError:
            # The messages come again, so what did get through is taken back where the disk still allows that.
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, size)
            raise

    def _write(self, data: bytes) -> None:
        rest = data
        while rest:
            written = self.write(self._fd, rest)
            self._size += written
            rest = rest[written:]

    def _rotate(self) -> None:
        self.close()
        for number in range(self._keep - 1, 0, -1):
            newer = f"{self.path}.{number - 1}" if number > 1 else self.path
            with contextlib.suppress(FileNotFoundError):
                os.replace(newer, f"{self.path}.{number}")
        if self._keep <= 1:
            os.unlink(self.path)
        self.open()
