"""Notices that a serial port appears or goes, from the kernel's and udev's own announcements."""

from __future__ import annotations

import socket

_NETLINK_KOBJECT_UEVENT = 15
_KERNEL, _UDEV = 1, 2  # groups: the kernel at once, udev again when links and permissions are in place
_MAX_BYTES = 8_192
_MARK = b"SUBSYSTEM=tty\0"


class PortEvents:
    """A descriptor that becomes readable when some serial port comes or goes.

    Not available everywhere: an own network namespace or a seccomp filter takes it away, and pseudo terminals are not
    announced. So it only shortens the wait of a caller who looks by himself now and then.
    """

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    def open(self) -> bool:
        """Start listening; return False where the system does not let us."""
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_KOBJECT_UEVENT)
            self._socket.setblocking(False)
            self._socket.bind((0, _KERNEL | _UDEV))
        except (OSError, AttributeError):
            self.close()
            return False
        return True

    def fileno(self) -> int:
        """The descriptor to wait for.

        Raises:
            ValueError: not open.
        """
        if self._socket is None:
            raise ValueError("PortEvents is not open")
        return self._socket.fileno()

    def take(self) -> bool:
        """Take all announcements that are waiting; return True if one was about a serial port. Never blocks."""
        is_serial = False
        while self._socket is not None:
            try:
                is_serial = _MARK in self._socket.recv(_MAX_BYTES) or is_serial
            except BlockingIOError:
                break
            except OSError:  # ENOBUFS: so many that some were lost; one of them may have been ours
                return True
        return is_serial

    def close(self) -> None:
        """Stop listening; harmless when not open."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
