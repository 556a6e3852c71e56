"""Writes down what a program does to the files of one directory: SQLite's part through the VFS, Python's through `os`.

Between two calls that are seen, a Python file object may have written: what changed since is noted as one write just
before the next call, which is when it matters.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from powercut import vfs
from powercut.disk import Disk, Image, Op

Event = object
"""An `Op`, or whatever the owner of the recorder notes between two of them."""

_CODES = {
    "create": vfs.CANTOPEN,
    "write": vfs.IOERR_WRITE,
    "truncate": vfs.IOERR_TRUNCATE,
    "sync": vfs.IOERR_FSYNC,
    "unlink": vfs.IOERR_DELETE,
}


class Recorder:
    """Implements `vfs.Observer`. `events` is what happened since `begin`, in order; `disk` is what it led to.

    `fault` is asked before each operation and may answer with errno.EIO or errno.ENOSPC; the operation then fails and
    is not done. Operations are counted from 1 in `count`, also while nothing is recorded.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.disk = Disk({})
        self.count = 0
        self.fault: Callable[[Op], int] | None = None
        self._directory = ""

    def begin(self, directory: str, image: Image) -> None:
        """Start a new trace: `directory` holds the durable files of `image`."""
        self.events, self.disk, self._directory = [], Disk(image), os.path.abspath(directory) + os.sep

    def end(self) -> None:
        """Record nothing more."""
        self._directory = ""

    def note(self, event: Event) -> None:
        """Put a word of the owner's between the operations."""
        self.events.append(event)

    def opening(self, path: str, is_created: bool) -> int:
        return self._code(self._do("create", path)) if is_created and not os.path.exists(path) else vfs.OK

    def writing(self, path: str, offset: int, data: bytes) -> int:
        return self._code(self._do("write", path, offset=offset, data=data))

    def truncating(self, path: str, size: int) -> int:
        return self._code(self._do("truncate", path, offset=size))

    def syncing(self, path: str, syncs_directory: bool) -> int:
        return self._code(self._do("sync", path)) or self._sync_names(path, syncs_directory)

    def deleting(self, path: str, syncs_directory: bool) -> int:
        code = self._code(self._do("unlink", path)) if os.path.exists(path) else vfs.OK
        return code or self._sync_names(path, syncs_directory)

    @contextmanager
    def watching_python(self) -> Iterator[None]:
        """Record what Python's own code does through `os`, too."""
        calls = {"open": self._open, "fsync": self._fsync, "replace": self._replace, "link": self._link}
        calls |= {"rename": self._replace, "unlink": self._unlink, "fdatasync": self._fsync}
        with mock.patch.multiple(os, **{name: call(getattr(os, name)) for name, call in calls.items()}):
            yield

    def _do(self, kind: str, path: str, **details: Any) -> int:
        """Record one operation and return 0, or the error that it has to fail with."""
        if not f"{path}{os.sep}".startswith(self._directory or "\0"):
            return 0
        name = path[len(self._directory) :]
        self.count += 1
        op = Op(kind, name, **details)
        error = self.fault(op) if self.fault is not None else 0
        if error and kind == "sync":
            self._add(op._replace(kind="fail_sync"))
        elif not error:
            self._add(op)
        self._last = kind, error
        return error

    def _sync_names(self, path: str, is_asked: bool) -> int:
        if is_asked and path.startswith(self._directory or "\0"):  # SQLite ignores an error of this, so none is made
            self._add(Op("sync_names", ""))
        return vfs.OK

    def _add(self, op: Op) -> None:
        self.events.append(op)
        self.disk.apply(op)

    def _code(self, error: int) -> int:
        if not error:
            return vfs.OK
        return vfs.FULL if error == errno.ENOSPC else _CODES[self._last[0]]

    # --- Python's own calls: each returns a stand-in for the real one --------------------------------------------

    def _python(self, kind: str, path: Any, **details: Any) -> None:
        absolute = os.path.abspath(path)
        self._catch_up()
        error = self._do(kind, absolute, **details)
        if error:
            raise OSError(error, os.strerror(error), absolute)

    def _catch_up(self) -> None:
        """Note what file objects have written since the last look."""
        for name, seen in self.disk.seen().items() if self._directory else ():
            path = self._directory + name
            if not os.path.exists(path):
                continue
            with open(path, "rb") as file:
                found = file.read()
            if found != seen:
                self._do("write", path, data=found)

    def _open(self, real: Any) -> Any:
        def call(path: Any, flags: int, *rest: Any, **options: Any) -> int:
            if flags & os.O_CREAT and not os.path.exists(path):
                self._python("create", path)
            elif flags & os.O_TRUNC:
                self._python("truncate", path, offset=0)
            return int(real(path, flags, *rest, **options))

        return call

    def _fsync(self, real: Any) -> Any:
        def call(fd: int) -> None:
            path = os.readlink(f"/proc/self/fd/{fd}")
            self._python("sync_names" if os.path.isdir(path) else "sync", path)
            real(fd)

        return call

    def _replace(self, real: Any) -> Any:
        def call(source: Any, target: Any) -> None:
            self._python("rename", source, to=self._name(target))
            real(source, target)

        return call

    def _link(self, real: Any) -> Any:
        def call(source: Any, target: Any) -> None:
            self._python("link", source, to=self._name(target))
            real(source, target)

        return call

    def _unlink(self, real: Any) -> Any:
        def call(path: Any) -> None:
            if os.path.exists(path):
                self._python("unlink", path)
            real(path)

        return call

    def _name(self, path: Any) -> str:
        return str(os.path.abspath(path))[len(self._directory) :]
