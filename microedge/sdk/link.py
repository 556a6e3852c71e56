"""The module's end of the socketpair: frames out and in, coalesced, with the hub's credit.

Writing at once costs a system call and wakes the supervisor; on a Pi the wake-ups cost, not the bytes. So the first
frames of a burst go out at once (a module that sends a reading and then sleeps in its own code must not keep it),
and what follows within the same few milliseconds is gathered until it is worth a call, or until the module waits.
"""

from __future__ import annotations

import select
import time

from microedge import wire
from microedge.errors import MicroedgeError

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is, without loading typing (0.6 MiB resident)
if TYPE_CHECKING:
    import socket

_BURST_FRAMES = 8  # written at once; the next ones within _BURST_S are gathered
_BURST_S = 0.02
_GATHER_BYTES = 16_384  # one write takes this in one call of a 64 KiB socket buffer
_READ_BYTES = 65_536


class HubGoneError(MicroedgeError):
    """The hub closed the connection: the supervisor died or gave this module up. The module has to end."""


class Link:
    """Frames over a stream socket; never blocks except in `drain`."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._decoder = wire.Decoder(wire.FROM_HUB)
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._burst_end_s = 0.0
        self._burst_frames = 0

    def open(self) -> None:
        self._sock.setblocking(False)

    def fileno(self) -> int:
        return self._sock.fileno()

    @property
    def wants_to_write(self) -> bool:
        return bool(self._out)

    def put(self, frame: bytes) -> None:
        """Send `frame` soon: at once at the beginning of a burst, gathered with others within one.

        Raises:
            HubGoneError: the hub closed the connection.
        """
        self._out.append(frame)
        self._out_bytes += len(frame)
        if self._burst_frames < _BURST_FRAMES:
            self._burst_frames += 1
            self.write()
        elif self._out_bytes >= _GATHER_BYTES or time.monotonic() >= self._burst_end_s:
            self.write()

    def write(self) -> None:
        """Write what the socket takes without blocking; the rest stays.

        Raises:
            HubGoneError: the hub closed the connection.
        """
        now_s = time.monotonic()
        if now_s >= self._burst_end_s:
            self._burst_end_s, self._burst_frames = now_s + _BURST_S, 0
        if not self._out:
            return
        data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise HubGoneError(f"the hub closed the connection: {error.strerror}") from error
        self._out = [data[sent:]] if sent < len(data) else []
        self._out_bytes = len(data) - sent

    def read(self) -> list[wire.Frame]:
        """Return the frames that have arrived, perhaps none.

        Raises:
            HubGoneError: the hub closed the connection.
            RemoteProtocolError: what arrived is not the hub's protocol.
        """
        try:
            data = self._sock.recv(_READ_BYTES)
        except BlockingIOError:
            return []
        except OSError as error:
            raise HubGoneError(f"the hub closed the connection: {error.strerror}") from error
        if not data:
            raise HubGoneError("the hub closed the connection")
        return self._decoder.feed(data)

    def drain(self, timeout_s: float) -> bool:
        """Block until everything put so far is in the socket, at most `timeout_s`; return False when time is up.

        Raises:
            HubGoneError: the hub closed the connection.
        """
        deadline_s = time.monotonic() + timeout_s
        poll = select.poll()
        poll.register(self._sock.fileno(), select.POLLOUT)
        self.write()
        while self._out:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return False
            poll.poll(left_s * 1000)
            self.write()
        return True
