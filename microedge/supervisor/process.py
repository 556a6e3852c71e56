"""One process of a module instance: its socket, its log pipe, and the frames that wait to be written."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable

from microedge.reactor import Reactor
from microedge.supervisor import processes
from microedge.supervisor.launcher import Launcher
from microedge.supervisor.logs import LogPipe, LogRing

log = logging.getLogger(__name__)

_SOCKET_BYTES = 65_536  # per direction: twenty modules must not hold 8 MiB of kernel memory
_READ_BYTES = 131_072


class Process:
    """Exists from the spawn request to the exit. All callbacks come on the loop's thread."""

    def __init__(self, reactor: Reactor, ring: LogRing) -> None:
        self._reactor = reactor
        self._hub_end, self._module_end = socket.socketpair()
        log_read, self._log_write = os.pipe()
        self._log_pipe = LogPipe(log_read, ring, reactor)
        self._out: list[bytes] = []
        self.unsent_bytes = 0  # of those: they wait because the module does not read
        self._read: Callable[[], None] | None = None  # what takes what it sends
        self.is_open = True  # until we hang up
        self.is_paused = False  # not read: it sends faster than anybody could follow
        self.pid = 0

    @property
    def is_throttled(self) -> bool:
        """True while its output waits for its budget: it may stand still through no fault of its own."""
        return self._log_pipe.is_throttled

    def spawn(self, launcher: Launcher, launch: str, start_frame: bytes, spawned: Callable[[int, str], None]) -> None:
        """Ask for the process; `spawned(pid, error)` is called later. START waits in the socket for it."""
        for end in (self._hub_end, self._module_end):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
        self._hub_end.setblocking(False)
        self.write(start_frame)
        self._log_pipe.open()
        launcher.spawn(launch, (self._module_end.fileno(), self._log_write), spawned)
        self._module_end.close()
        os.close(self._log_write)

    def listen(self, received: Callable[[bytes], None], ended: Callable[[], None]) -> None:
        """Call `received(data)` for what the module sends, `ended()` once when it closes its end."""

        def read() -> None:
            data = self._read_once()
            if data:
                received(data)
            elif data is not None:
                self._reactor.remove_reader(self._hub_end.fileno())
                ended()

        self._read = read
        self._reactor.add_reader(self._hub_end.fileno(), read)

    def pause(self) -> None:
        """Read nothing more until `resume`; what it sends fills the socket, and then it waits."""
        if self.is_open and self._read is not None and not self.is_paused:
            self.is_paused = True
            self._reactor.remove_reader(self._hub_end.fileno())

    def resume(self) -> None:
        """Read on."""
        if self.is_open and self._read is not None and self.is_paused:
            self.is_paused = False
            self._reactor.add_reader(self._hub_end.fileno(), self._read)

    def write(self, frame: bytes) -> None:
        """Send a frame as soon as the module takes it. What a dead module does not take is dropped."""
        if not self.is_open:
            return
        self._out.append(frame)
        self.unsent_bytes += len(frame)
        if len(self._out) == 1:
            self._flush()

    def signal(self, signum: int) -> None:
        if self.pid:
            processes.kill(self.pid, signum)

    def kill(self) -> None:
        """Kill the process and everything below it."""
        if self.pid:
            processes.kill_tree(self.pid)

    def hang_up(self) -> None:
        """Close the socket: the module broke the protocol, or is gone."""
        if self.is_open:
            self.is_open = False
            self._out.clear()
            self.unsent_bytes = 0
            self._reactor.remove_reader(self._hub_end.fileno())
            self._reactor.remove_writer(self._hub_end.fileno())
            self._hub_end.close()

    def rest(self) -> list[bytes]:
        """Return what the module sent before it ended and nobody has read yet."""
        found = []
        while self.is_open:
            data = self._read_once()
            if not data:
                break
            found.append(data)
        return found

    def close(self) -> None:
        """The process has ended: read its last words and close everything."""
        self.hang_up()
        self._log_pipe.close()

    def _read_once(self) -> bytes | None:
        """Return data, b"" at the end, None when there is nothing now."""
        try:
            return self._hub_end.recv(_READ_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def _flush(self) -> None:
        data = b"".join(self._out)
        try:
            sent = self._hub_end.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = len(data)  # it closed its end; `ended` says so
        self.unsent_bytes = len(data) - sent
        if sent < len(data):
            self._out = [data[sent:]]
            self._reactor.add_writer(self._hub_end.fileno(), self._flush)
        else:
            self._out.clear()
            self._reactor.remove_writer(self._hub_end.fileno())


def exit_of(status: int) -> tuple[int | None, int]:
    """Return (exit code, 0) or (None, signal number) of a wait status."""
    if os.WIFSIGNALED(status):
        return None, os.WTERMSIG(status)
    return os.WEXITSTATUS(status), 0
