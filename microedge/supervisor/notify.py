"""sd_notify(3) without libsystemd: one datagram to the service manager, nothing when there is none."""

from __future__ import annotations

import contextlib
import os
import socket


class Notifier:
    """Tells systemd about readiness, status and being alive. Every call is harmless outside a service."""

    def __init__(self, address: str, watchdog_us: str = "", watchdog_pid: str = "") -> None:
        """The values of NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID; "" where there is none."""
        self._address = "\0" + address[1:] if address.startswith("@") else address
        is_ours = watchdog_pid in ("", str(os.getpid()))
        self.watchdog_s = int(watchdog_us) / 1e6 if watchdog_us.isdigit() and is_ours else 0.0

    def send(self, *lines: str) -> None:
        """Send assignments such as READY=1 or STATUS=...; a manager that does not listen is ignored."""
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.setblocking(False)
            with contextlib.suppress(OSError):
                sock.sendto("\n".join(lines).encode(), self._address)
