"""The files of a recording, oldest first, as blocks of lines."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from typing import IO

from microedge.cli.failure import USAGE, CommandError
from microedge.cli.terminal import clean

MAX_LINE_BYTES = 4 * 1024 * 1024  # a body of 256 KiB, all of it control characters, is six times as long in JSON
_BLOCK_BYTES = 256 * 1024
_KEPT_BYTES = 64  # of a line that is too long: enough to be no JSON
_ROTATED = re.compile(r"(?P<base>.+)\.(?P<number>[1-9][0-9]{0,8})")


@dataclass(frozen=True)
class Recording:
    """An open file and what to call it."""

    name: str
    file: IO[bytes]
    size_bytes: int  # 0 if nobody knows


def open_all(paths: Sequence[str], stack: ExitStack) -> list[Recording]:
    """Open files, directories and `-`; each file with those that it was rotated into, and each file once.

    Raises:
        CommandError: one cannot be read, or a directory holds no file.
    """
    found: list[Recording] = []
    seen: set[tuple[int, int]] = set()
    for path in paths:
        if path == "-":
            found.append(Recording("-", sys.stdin.buffer, 0))
            continue
        for base in _bases(path):
            found += reversed(list(_open_rotated(base, seen, stack)))
    return found


def blocks_of(recording: Recording) -> Iterator[tuple[list[bytes], bool]]:
    """Yield the lines without their line breaks, many at a time; True with the last one, if it has no line break.

    Of a line above MAX_LINE_BYTES only the beginning is kept. Blocks while a pipe has nothing.
    """
    rest, is_skipping = b"", False
    while True:
        block = os.read(recording.file.fileno(), _BLOCK_BYTES)
        if not block:
            break
        if is_skipping:
            _, line_break, block = block.partition(b"\n")
            if not line_break:
                continue
            block, is_skipping = line_break + block, False
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        if len(rest) > MAX_LINE_BYTES:
            rest, is_skipping = rest[:_KEPT_BYTES], True
        yield lines, False
    if rest:
        yield [rest], True


def _bases(path: str) -> list[str]:
    """Return the path, or the files of a directory less those that others were rotated into."""
    if not os.path.isdir(path):
        return [path]
    try:
        with os.scandir(path) as entries:
            names = sorted(entry.name for entry in entries if entry.is_file() and not entry.name.startswith("."))
    except OSError as error:
        raise _unreadable(path, error) from error
    if not names:
        raise CommandError(f"{clean(path)} holds no file", "name the file or the directory of the recording", USAGE)
    known = set(names)
    return [os.path.join(path, name) for name in names if _base_of(name) not in known]


def _base_of(name: str) -> str:
    found = _ROTATED.fullmatch(name)
    return found["base"] if found else ""


def _open_rotated(base: str, seen: set[tuple[int, int]], stack: ExitStack) -> Iterable[Recording]:
    """Yield the newest first: a file that is rotated meanwhile is then found again, known by its inode, not missed."""
    last = max(_numbers(base), default=0)
    for number in count():
        path = f"{base}.{number}" if number else base
        try:
            file = stack.enter_context(open(path, "rb", buffering=0))  # noqa: SIM115 (the stack is the context)
            status = os.fstat(file.fileno())
        except FileNotFoundError as error:
            if not number:
                raise _unreadable(path, error) from error
            if number > last:
                return
            continue
        except OSError as error:
            raise _unreadable(path, error) from error
        if (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            yield Recording(path, file, status.st_size)


def _numbers(base: str) -> list[int]:
    directory, name = os.path.split(base)
    try:
        names = os.listdir(directory or ".")
    except OSError:
        return []
    found = [match for match in map(_ROTATED.fullmatch, names) if match and match["base"] == name]
    return [int(match["number"]) for match in found]


def _unreadable(path: str, error: OSError) -> CommandError:
    return CommandError(f"{clean(path)}: {error.strerror}", "name the file or the directory of the recording", USAGE)
