"""A database that was set aside, as the pages that can still be read: those of the file, and newer ones in its WAL."""

from __future__ import annotations

import contextlib
import os
import struct
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
        for frame in self._frames():
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

    def commits_behind_damage(self) -> set[int]:
        """Return the last frames of commits that come after a bad frame and are not in the database, by their bytes."""
        newest: dict[int, tuple[int, int]] = {}  # page -> its frame, the last frame of that commit
        transaction: list[int] = []
        is_behind, before = False, b""
        for frame in self._frames():
            if not (frame.is_sound and frame.is_current):
                is_behind = True
                continue
            transaction += [frame.page, frame.at] if is_behind else []
            if frame.is_last:
                data = self._read(True, frame.at + FRAME_HEAD_BYTES, PAGE_BYTES)
                if data != before:  # SQLite repeats the last frame of a commit to fill up a block
                    pairs = zip(transaction[::2], transaction[1::2])
                    newest.update({page: (at, frame.at) for page, at in pairs})
                transaction, before = [], data
        return {last for page, (at, last) in newest.items() if self._is_news(page, at)}

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

    def use_free_pages(self) -> None:
        """Note the pages that the database keeps for later: what stands there was deleted."""
        head = self.page(1) or b""
        number, left = int.from_bytes(head[32:36], "big"), int.from_bytes(head[36:40], "big")
        while 0 < left <= self.pages and 0 < number <= self.pages:
            page = self.page(number) or b""
            count = min(int.from_bytes(page[4:8], "big"), PAGE_BYTES // 4 - 2)
            for each in (number, *(number for (number,) in struct.iter_unpack(">I", page[8 : 8 + 4 * count]))):
                if each <= self.pages:
                    self.uses(each)
            number, left = int.from_bytes(page[:4], "big"), left - 1 - count

    def unused(self) -> Iterator[Place]:
        """Yield where all other pages are, and earlier states of any page, the newest first."""
        yield from reversed(self.older)
        for number in range(1, self.pages + 1):
            byte = number >> 3
            if byte >= len(self._used) or not self._used[byte] >> (number & 7) & 1:
                yield self.current(number)
            if number in self._newest:
                yield False, (number - 1) * PAGE_BYTES

    def _frames(self) -> Iterator[Frame]:
        return frames(lambda at, n: self._read(True, at, n), self._sizes[True])

    def _is_news(self, page: int, at: int) -> bool:
        frame = self._read(True, at + FRAME_HEAD_BYTES, PAGE_BYTES)
        return frame != self._read(False, (page - 1) * PAGE_BYTES, PAGE_BYTES)

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


def hides_commits(file: str) -> bool:
    """True when SQLite would silently ignore commits at the end of a WAL, because of damage before them. Blocks.

    It stops at the first bad frame. The last commit may be in ruins after a power cut: it was never acknowledged. Where
    two or more come after the bad frame, the first of them was. What is in the database already does not count: a power
    cut may spoil the header of a WAL that is begun anew.

    Raises:
        OSError: a file cannot be opened.
    """
    image = Image(file)
    image.open()
    try:
        return len(image.commits_behind_damage()) > 1
    finally:
        image.close()
