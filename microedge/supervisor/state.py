"""The state directory: created, locked, and laid out."""

from __future__ import annotations

import fcntl
import os

from microedge.errors import MicroedgeError


class StateDirectoryError(MicroedgeError):
    """The state directory cannot be used; the text says why and what to do."""


class StateDirectory:
    """Holds the lock while the supervisor lives: two on one queue would tear it apart."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.data = os.path.join(path, "data")
        self.queue = os.path.join(path, "queue.db")
        self._lock_fd = -1

    def open(self) -> None:
        """Create what is missing and take the lock.

        Raises:
            StateDirectoryError: it cannot be created or written, or another supervisor uses it.
        """
        try:
            os.makedirs(self.data, mode=0o700, exist_ok=True)
            self._lock_fd = os.open(os.path.join(self.path, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateDirectoryError(
                f"state directory {self.path}: {error.strerror}; make it writable for this user, or set [paths] state"
            ) from error
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._lock_fd, 20).decode("ascii", "replace").strip()
            raise StateDirectoryError(
                f"state directory {self.path} is in use by another microedge (pid {holder or 'unknown'}); "
                "stop that one, or give this one its own [paths] state"
            ) from error
        os.ftruncate(self._lock_fd, 0)
        os.write(self._lock_fd, f"{os.getpid()}\n".encode())

    def close(self) -> None:
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1
