"""A database that was set aside, as the pages that can still be read: those of the file, and newer ones in its WAL."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from microedge.queue.salvage_pages import (
    FRAME_HEAD_BYTES,
    PAGE_BYTES,
    Cell,
    Frame,
    frames,
)

Place = tuple[bool, int]
"""Where a page is: whether in the WAL, and at which byte."""


class Image:
    """The pages of a database and its WAL, read with plain reads; a page under a bad sector is one that is missing."""

    def __init__(self, file: str) -> None:
        """Open nothing; `file` may be missing, and so may its WAL."""
        self._file = file
        self._fds: dict[bool, int] = {}
        self._sizes = {False: 0, True: 0}
        self._newest: dict[int, int] = {}  # page -> byte of its newest frame in the WAL
        self.older: list[Place] = []  # frames that hold an earlier state of their page, or nobody knows what
        self._used = bytearray()  # a bit per page
        self.bad_frames = 0  # followed by good ones: what they changed is lost

    def open(self) -> None:
        """Open the files; harmless when they are open.

        Raises:
            OSError: one is there and cannot be opened.
        """
        for is_wal, file in ((False, self._file), (True, self._file + "-wal")):
            if is_wal in self._fds:
                continue
            with contextlib.suppress(FileNotFoundError):
                self._fds[is_wal] = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
                self._sizes[is_wal] = os.fstat(self._fds[is_wal]).st_size

    def close(self) -> None:
        """Close the files; harmless when they are closed."""
        while self._fds:
            os.close(self._fds.popitem()[1])

    @property
    def pages(self) -> int:
        """The number of pages, as far as files and WAL know of them."""
        return max([self._sizes[False] // PAGE_BYTES, *self._newest])

    def read_wal(self) -> Iterator[None]:
        """Learn which pages are newer in the WAL; yields from time to time."""
        pending: list[Frame] = []
        bad = 0
        for frame in frames(lambda at, n: self._read(True, at, n), self._sizes[True]):
            if frame.is_current and frame.is_sound:
                self.bad_frames, bad = self.bad_frames + bad, 0
                pending.append(frame)
            else:
                self.older.append((True, frame.at + FRAME_HEAD_BYTES))
                bad += not frame.is_sound
            if pending and pending[-1].is_last:  # what has no end was never acknowledged
                self._apply(pending)
                pending = []
            yield

    def current(self, page: int) -> Place:
        """Return where the newest state of a page is, whether or not it can be read."""
        at = self._newest.get(page)
        return (False, (page - 1) * PAGE_BYTES) if at is None else (True, at)

    def read(self, place: Place) -> bytes | None:
        """Return the page at a place; None when it cannot be read."""
        data = self._read(*place, PAGE_BYTES)
        return data if len(data) == PAGE_BYTES else None

    def page(self, number: int) -> bytes | None:
        """Return the newest state of a page; None when it cannot be read."""
        return self.read(self.current(number)) if number > 0 else None

    def payload(self, cell: Cell) -> bytes | None:
        """Return all bytes of a row, those on overflow pages too; None when one of these cannot be read."""
        parts, missing, number = [cell.local], cell.size - len(cell.local), cell.overflow
        while missing > 0:
            page = self.page(number)
            if page is None:
                return None
            self.uses(number)
            parts.append(page[4 : 4 + missing])
            missing -= PAGE_BYTES - 4
            number = int.from_bytes(page[:4], "big")
        return b"".join(parts)

    def uses(self, number: int) -> None:
        """Note that a page is known to be part of something; so are those that `payload` reads."""
        byte = number >> 3
        if byte >= len(self._used):
            self._used.extend(bytes(byte + 1 - len(self._used)))
        self._used[byte] |= 1 << (number & 7)

    def unused(self) -> Iterator[Place]:
        """Yield where all other pages are, and earlier states of any page, the newest first."""
        yield from reversed(self.older)
        for number in range(1, self.pages + 1):
            byte = number >> 3
            if byte >= len(self._used) or not self._used[byte] >> (number & 7) & 1:
                yield self.current(number)
            if number in self._newest:
                yield False, (number - 1) * PAGE_BYTES

    def _apply(self, transaction: list[Frame]) -> None:
        for frame in transaction:
            before = self._newest.get(frame.page)
            if before is not None:
                self.older.append((True, before))
            self._newest[frame.page] = frame.at + FRAME_HEAD_BYTES

    def _read(self, is_wal: bool, at: int, count: int) -> bytes:
        try:
            return os.pread(self._fds[is_wal], count, at)
        except (KeyError, OSError):  # no such file, or a bad sector
            return b""
