"""Notices changes below the modules directory: inotify(7) through ctypes, so that watching costs nothing while idle.

Reports that something changed, not what: the discovery looks for itself. Where inotify is not to be had (no watches
left, a network file system) it looks at the clock instead.
"""

from __future__ import annotations

import ctypes
import logging
import os
import struct
from collections.abc import Callable

from microedge.reactor import Reactor, Timer

log = logging.getLogger(__name__)

QUIET_S = 0.3  # a copy in progress makes events all the time; look when they have stopped
_POLL_S = 5.0
_MAX_DIRECTORIES = 512
_MAX_DEPTH = 4  # below the modules directory; a module's vendored lib/ is deeper and does not change by hand
_EVENT = struct.Struct("iIII")
_MODIFY, _CLOSE_WRITE, _MOVED, _CREATE, _DELETE, _DELETE_SELF = 0x2, 0x8, 0xC0, 0x100, 0x200, 0x400
_MASK = _MODIFY | _CLOSE_WRITE | _MOVED | _CREATE | _DELETE | _DELETE_SELF
_IN_NONBLOCK, _IN_CLOEXEC = 0o4000, 0o2000000


class DirectoryWatch:
    """Calls `changed()` once things below `directory` have been quiet for a moment after a change."""

    def __init__(
        self, directory: str, reactor: Reactor, changed: Callable[[], None], *, is_eager: bool = False
    ) -> None:
        """`is_eager` reports within `QUIET_S` of the first change, however many follow."""
        self._is_eager = is_eager
        self._directory = directory
        self._reactor = reactor
        self._changed = changed
        self._fd = -1
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._timer: Timer | None = None

    def open(self) -> None:
        fd = self._libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC)
        if fd < 0 or not self._watch_all(fd):
            log.warning("changes in %s are looked for every %.0f s: inotify is not available", self._directory, _POLL_S)
            self._close_fd(fd)
            self._timer = self._reactor.call_later(_POLL_S, self._poll)
            return
        self._fd = fd
        self._reactor.add_reader(fd, self._events)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._fd >= 0:
            self._reactor.remove_reader(self._fd)
        self._close_fd(self._fd)
        self._fd = -1

    def _watch_all(self, fd: int) -> bool:
        """Watch the directory and what is below it; False when that is not possible."""
        watched = self._add(fd, self._directory)
        count = 1
        for root, directories, _ in os.walk(self._directory):
            depth = root[len(self._directory) :].count(os.sep)
            directories[:] = [name for name in directories if not name.startswith((".", "__pycache__"))]
            if depth >= _MAX_DEPTH:
                directories.clear()
            for name in directories:
                count += 1
                watched = count <= _MAX_DIRECTORIES and self._add(fd, os.path.join(root, name)) and watched
        return watched

    def _add(self, fd: int, path: str) -> bool:
        """Adding a watch twice changes nothing, so that new directories need no book-keeping."""
        watch = self._libc.inotify_add_watch(fd, os.fsencode(path), _MASK)
        return int(watch) >= 0 or ctypes.get_errno() == 2  # ENOENT: it went away between listing and watching

    def _events(self) -> None:
        try:
            data = os.read(self._fd, 65_536)
        except BlockingIOError:
            return
        at, is_relevant = 0, False
        while at < len(data):
            _, _, _, length = _EVENT.unpack_from(data, at)
            name = data[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0")
            is_relevant |= not name.startswith((b".", b"__pycache__")) and not name.endswith((b".pyc", b"~"))
            at += _EVENT.size + length
        if is_relevant:
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            if self._is_eager:
                return
            self._timer.cancel()
        self._timer = self._reactor.call_later(QUIET_S, self._quiet)

    def _quiet(self) -> None:
        self._timer = None
        self._watch_all(self._fd)
        self._changed()
        if not os.path.isdir(self._directory):  # it takes its watch with it; a new one of its name has none
            self._timer = self._reactor.call_later(_POLL_S, self._quiet)

    def _poll(self) -> None:
        self._changed()
        self._timer = self._reactor.call_later(_POLL_S, self._poll)

    @staticmethod
    def _close_fd(fd: int) -> None:
        if fd >= 0:
            os.close(fd)
