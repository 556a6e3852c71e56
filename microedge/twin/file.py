"""The file of one twin: written so that a power cut at any moment leaves it or its previous copy whole.

    <instance>.json             the twin; a person may edit tags and desired properties
    <instance>.json.previous    what it was before the last write
    <instance>.json.damaged-N   what could not be read, newest two kept
    <instance>.json.refused     the last edit that was refused, so that nobody's work is lost

A write goes to a temporary file in the same directory, is fsynced and then renamed; the file that it replaces stays as
the previous copy by a hard link, so at no moment is there no current file. The directory is fsynced last.
"""

from __future__ import annotations

import contextlib
import os
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from microedge.atomic import replace_file, sync_directory
from microedge.errors import TwinError, printable
from microedge.twin.stored import MAX_BYTES

KEPT_DAMAGED = 2
_MODE = 0o600  # desired properties may hold a password

T = TypeVar("T")

_Signature = tuple[int, int, int]  # inode, time of change in ns, size


@dataclass(frozen=True)
class Loaded(Generic[T]):
    """What was found. `notes` says in words what was wrong, one sentence each; empty when nothing was."""

    value: T | None
    notes: tuple[str, ...] = ()
    is_current: bool = True  # False: the file itself does not hold `value`, so it needs to be written


class TwinFile:
    """Everything here blocks: `load` for reads, `write` for two fsyncs. Use it from one thread at a time."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.previous = f"{path}.previous"
        self.refused = f"{path}.refused"
        self._directory, self._name = os.path.split(os.path.abspath(path))
        self._temporary = os.path.join(self._directory, f".{self._name}.tmp")
        self._known: _Signature | None = None  # of the file as we last wrote or read it
        self._crc = 0
        self._is_sound = False  # what is in the file can be loaded, so it is fit to be the previous copy

    def load(self, parse: Callable[[bytes], T]) -> Loaded[T]:
        """Return what the file holds, or else its previous copy. `parse` raises TwinError for what it cannot use.

        What cannot be used is set aside, never deleted unseen and never overwritten.

        Raises:
            OSError: a file cannot be read or renamed; nothing was changed after that.
        """
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._temporary)  # of a write that a crash cut short
        value, damage = self._read(self.path, parse)
        if value is not None:
            return Loaded(value)
        spare, spare_damage = self._read(self.previous, parse)
        notes = [note for note in (damage, spare_damage) if note]
        if not damage and spare is not None:
            notes.append(f"{self.path} was missing")
        if spare is not None:
            notes.append("the previous copy is used: the last change of the twin may be missing")
        elif notes:
            notes.append("there is no usable copy: the twin starts anew from the image and the configuration")
        return Loaded(spare, tuple(notes), is_current=False)

    def write(self, data: bytes) -> bool:
        """Make `data` the content. True: it is durable. False: a person has edited the file; nothing was written.

        After False take the edit first (`read_edit`), then write again. Blocks for the fsyncs.

        Raises:
            OSError: the disk is full, read-only or broken. The file holds what it held before, or `data`.
        """
        os.makedirs(self._directory, mode=0o700, exist_ok=True)  # somebody may have cleared everything away
        found = _signature(self.path)
        if found is not None and found != self._known and not self._is_untouched(found):
            return False
        keep_previous = self._keep_previous if found is not None and self._is_sound else None
        facts = replace_file(self.path, data, self._temporary, before_rename=keep_previous)
        self._known, self._crc, self._is_sound = _signature_of(facts), zlib.crc32(data), True
        sync_directory(self._directory)
        return True

    def read_edit(self) -> bytes | None:
        """Return the content if somebody else has written it since the last load, write or edit read; else None.

        Costs one stat when nothing happened. A file that was deleted is no edit; the next write makes it again.

        Raises:
            OSError: it cannot be read.
        """
        found = _signature(self.path)
        if found is None or found == self._known:
            return None
        data = _content(self.path)
        self._known = found
        if zlib.crc32(data) == self._crc:
            return None
        self._crc = zlib.crc32(data)
        return data

    @property
    def is_touched(self) -> bool:
        """True when somebody else may have written the file. Costs one stat."""
        found = _signature(self.path)
        return found is not None and found != self._known

    def is_unsettled(self, quiet_s: float) -> bool:
        """True while somebody else is writing the file: it is not ours, and changed within the last `quiet_s`.

        Costs one stat.
        """
        found = _signature(self.path)
        if found is None or found == self._known:
            return False
        return 0 <= time.time_ns() - found[1] < quiet_s * 1e9  # one from the future is no sign of life

    def keep_refused(self, data: bytes) -> None:
        """Keep an edit that was refused beside the file, so that the next write may put that back. Not fsynced.

        It must be called before that write, or what was refused would become the previous copy.

        Raises:
            OSError: it cannot be written.
        """
        self._is_sound = False
        with open(self.refused, "wb", opener=_opener) as file:
            file.write(data)

    def _is_untouched(self, found: _Signature) -> bool:
        """True for a file that was only touched, or saved by an editor without a change."""
        if self._known is None or zlib.crc32(_content(self.path)) != self._crc:
            return False
        self._known = found
        return True

    def _read(self, path: str, parse: Callable[[bytes], T]) -> tuple[T | None, str]:
        """Return what `path` holds and "", or None and what is wrong with it, "" when there is no such file."""
        signature = _signature(path)
        if signature is None:
            return None, ""
        data = _content(path)
        try:
            value = parse(data)
        except TwinError as error:
            return None, f"{path} cannot be used: {printable(error)}; it was set aside as {self._set_aside(path)}"
        if path == self.path:
            self._known, self._crc, self._is_sound = signature, zlib.crc32(data), True
        return value, ""

    def _set_aside(self, path: str) -> str:
        """Rename `path` to the next damaged-N, delete the oldest beyond `KEPT_DAMAGED`, and return the new path."""
        prefix = f"{self._name}.damaged-"
        taken = [name[len(prefix) :] for name in os.listdir(self._directory) if name.startswith(prefix)]
        numbers = sorted(int(text) for text in taken if text.isdecimal())
        aside = f"{os.path.join(self._directory, prefix)}{numbers[-1] + 1 if numbers else 1}"
        os.replace(path, aside)
        for number in numbers[: len(numbers) + 1 - KEPT_DAMAGED]:
            with contextlib.suppress(OSError):
                os.unlink(f"{os.path.join(self._directory, prefix)}{number}")
        sync_directory(self._directory)
        return aside

    def _keep_previous(self) -> None:
        link = f"{self._temporary}.link"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(link)
        try:
            os.link(self.path, link)
        except OSError:  # FAT has no hard links: for a moment only the previous copy is there, which `load` then uses
            os.replace(self.path, self.previous)
            return
        os.replace(link, self.previous)


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, _MODE)


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(MAX_BYTES + 1)  # one more, so that the parser sees that it is too much


def _signature(path: str) -> _Signature | None:
    try:
        return _signature_of(os.stat(path))
    except FileNotFoundError:
        return None


def _signature_of(found: os.stat_result) -> _Signature:
    return found.st_ino, found.st_mtime_ns, found.st_size
