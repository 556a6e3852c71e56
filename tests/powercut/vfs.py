"""What SQLite does to its files, seen and spoilt from the inside: a VFS that wraps the one SQLite comes with.

The product opens its database as ever: the wrapper registers itself as the default VFS of the very library that the
standard library's `sqlite3` is linked with, through ctypes. It takes over the five calls that change something and
leaves the others to SQLite's own code, so locks, reads and `psow` work as on a device. Needs no compiler, no root and
no further package; only a `_sqlite3` that shows the symbols of its SQLite, which Debian's and pyenv's do.
"""

from __future__ import annotations

import ctypes
import random
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, Structure, byref, c_char_p, c_int, c_int64, c_void_p, cast
from typing import Any, Protocol

OK, FULL, IOERR = 0, 13, 10
IOERR_WRITE, IOERR_FSYNC, IOERR_TRUNCATE, IOERR_DELETE = IOERR | 3 << 8, IOERR | 4 << 8, IOERR | 6 << 8, IOERR | 10 << 8
CANTOPEN = 14
_OPEN_CREATE, _OPEN_MAIN_JOURNAL, _OPEN_SUPER_JOURNAL, _OPEN_WAL = 0x4, 0x800, 0x4000, 0x80000
_JOURNALS = _OPEN_MAIN_JOURNAL | _OPEN_SUPER_JOURNAL | _OPEN_WAL


class Observer(Protocol):
    """Is told of every change before SQLite's own code makes it, and may have it fail by returning an error code.

    `path` is absolute. `syncs_directory`: the names in the directory of the file become durable together with it.
    """

    def opening(self, path: str, is_created: bool) -> int: ...
    def writing(self, path: str, offset: int, data: bytes) -> int: ...
    def truncating(self, path: str, size: int) -> int: ...
    def syncing(self, path: str, syncs_directory: bool) -> int: ...
    def deleting(self, path: str, syncs_directory: bool) -> int: ...


class _File(Structure):
    _fields_ = [("methods", c_void_p)]


_CLOSE = CFUNCTYPE(c_int, POINTER(_File))
_WRITE = CFUNCTYPE(c_int, POINTER(_File), c_void_p, c_int, c_int64)
_TRUNCATE = CFUNCTYPE(c_int, POINTER(_File), c_int64)
_SYNC = CFUNCTYPE(c_int, POINTER(_File), c_int)
_KEPT_METHODS_1 = ("size", "lock", "unlock", "check_lock", "control", "sector_bytes", "characteristics")
_KEPT_METHODS_2 = ("shm_map", "shm_lock", "shm_barrier", "shm_unmap")


class _Methods(Structure):
    """sqlite3_io_methods up to version 2: version 3 is memory mapping, by which a write could pass unseen."""

    _fields_ = [
        ("version", c_int),
        ("close", _CLOSE),
        ("read", c_void_p),
        ("write", _WRITE),
        ("truncate", _TRUNCATE),
        ("sync", _SYNC),
        *((name, c_void_p) for name in _KEPT_METHODS_1 + _KEPT_METHODS_2),
    ]


# Names are passed as bare pointers: SQLite hides the parameters of a URI, such as psow, behind a name's final zero.
_OPEN = CFUNCTYPE(c_int, c_void_p, c_void_p, POINTER(_File), c_int, POINTER(c_int))
_DELETE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int)
_RANDOM = CFUNCTYPE(c_int, c_void_p, c_int, c_void_p)


class _Vfs(Structure):
    """sqlite3_vfs, version 3."""

    _fields_ = [
        ("version", c_int),
        ("file_bytes", c_int),
        ("max_path", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("data", c_void_p),
        ("open", _OPEN),
        ("delete", _DELETE),
        *((name, c_void_p) for name in ("access", "full_path", "dl_open", "dl_error", "dl_sym", "dl_close")),
        ("random", _RANDOM),
        *((name, c_void_p) for name in ("sleep", "time", "last_error", "time_ms", "set_call", "get_call", "next_call")),
    ]


_SHIMS: list[_Shim] = []  # never freed: a database that a failed test has left open goes on calling them


class UnsupportedError(Exception):
    """This Python hides the symbols of its SQLite."""


def _library() -> Any:
    """Return the library that the standard library's `sqlite3` uses.

    Raises:
        UnsupportedError: it cannot be reached.
    """
    import _sqlite3

    library = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
    try:
        library.sqlite3_vfs_find.restype = POINTER(_Vfs)
        library.sqlite3_libversion.restype = c_char_p
        found = library.sqlite3_libversion().decode()
    except AttributeError as error:
        raise UnsupportedError(f"the SQLite of this Python cannot be wrapped: {error}") from error
    if found != sqlite3.sqlite_version:
        raise UnsupportedError(f"found SQLite {found}: expected {sqlite3.sqlite_version}")
    return library


class _Shim:
    """One wrapper with everything that SQLite holds pointers to."""

    def __init__(self, library: Any, observer: Observer, seed: int) -> None:
        self._real = library.sqlite3_vfs_find(None)
        self._observer = observer
        self._dice = random.Random(seed)
        self._methods: dict[int, tuple[_Methods, _Methods]] = {}  # by the address of SQLite's own: (own, ours)
        self._files: dict[int, tuple[_Methods, str, list[bool]]] = {}  # by the address of the open file
        self._calls = (_CLOSE(self._close), _WRITE(self._write), _TRUNCATE(self._truncate), _SYNC(self._sync))
        self.vfs = _Vfs.from_buffer_copy(self._real.contents)
        self.vfs.name = b"powercut"
        self.vfs.open, self.vfs.delete, self.vfs.random = (
            _OPEN(self._open),
            _DELETE(self._delete),
            _RANDOM(self._random),
        )

    def _open(self, _: int, name: int | None, file: Any, flags: int, out_flags: Any) -> int:
        path = ctypes.string_at(name).decode() if name else ""  # a temporary file has no name
        is_created = bool(flags & _OPEN_CREATE)
        code = self._observer.opening(path, is_created) if path else OK
        if code != OK:
            file.contents.methods = None
            return code
        code = int(self._real.contents.open(self._real, name, file, flags, out_flags))
        if code == OK and path:
            self._wrap(file, path, is_new_journal=is_created and bool(flags & _JOURNALS))
        return code

    def _wrap(self, file: Any, path: str, *, is_new_journal: bool) -> None:
        address = file.contents.methods
        if address not in self._methods:
            own = cast(address, POINTER(_Methods)).contents
            ours = _Methods.from_buffer_copy(own)
            ours.version = min(2, own.version)
            ours.close, ours.write, ours.truncate, ours.sync = self._calls
            self._methods[address] = own, ours
        own, ours = self._methods[address]
        file.contents.methods = ctypes.addressof(ours)
        self._files[ctypes.addressof(file.contents)] = own, path, [is_new_journal]

    def _close(self, file: Any) -> int:
        own, _, _ = self._files.pop(ctypes.addressof(file.contents))
        file.contents.methods = ctypes.addressof(own)
        return int(own.close(file))

    def _write(self, file: Any, data: int, size: int, offset: int) -> int:
        own, path, _ = self._files[ctypes.addressof(file.contents)]
        return self._observer.writing(path, offset, ctypes.string_at(data, size)) or int(
            own.write(file, data, size, offset)
        )

    def _truncate(self, file: Any, size: int) -> int:
        own, path, _ = self._files[ctypes.addressof(file.contents)]
        return self._observer.truncating(path, size) or int(own.truncate(file, size))

    def _sync(self, file: Any, flags: int) -> int:
        own, path, is_unnamed = self._files[ctypes.addressof(file.contents)]
        # os_unix.c: the first sync of a journal that was opened for creation syncs its directory too.
        code = self._observer.syncing(path, is_unnamed[0]) or int(own.sync(file, flags))
        is_unnamed[0] = is_unnamed[0] and code != OK
        return code

    def _delete(self, _: int, name: int, syncs_directory: int) -> int:
        path = ctypes.string_at(name).decode()
        code = self._observer.deleting(path, bool(syncs_directory))
        return code or int(self._real.contents.delete(self._real, name, syncs_directory))

    def _random(self, _: int, size: int, target: int) -> int:
        """Salts of the WAL from a seed, so that the same workload writes the same bytes."""
        ctypes.memmove(target, bytes(self._dice.getrandbits(8) for _ in range(size)), size)
        return size


@contextmanager
def observed(observer: Observer, *, seed: int = 0) -> Iterator[None]:
    """Have every database that is opened inside report to `observer`; close them all before the end.

    Raises:
        UnsupportedError: this Python hides the symbols of its SQLite.
    """
    library = _library()
    shim = _Shim(library, observer, seed)
    _SHIMS.append(shim)
    real = library.sqlite3_vfs_find(None)
    if library.sqlite3_vfs_register(byref(shim.vfs), 1) != OK:
        raise UnsupportedError("SQLite refuses another VFS")
    try:
        library.sqlite3_randomness(0, None)  # forget the seed of before
        yield
    finally:
        library.sqlite3_vfs_unregister(byref(shim.vfs))
        library.sqlite3_vfs_register(real, 1)
        library.sqlite3_randomness(0, None)
