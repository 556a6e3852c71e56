"""What stands between paho and the socket: many packets per system call, and no packet of the hot path through paho.

Sends are gathered and leave together in `flush`; what arrives is read in large pieces, cut into packets, and only
those that are not acknowledgements of ours are handed to paho. Nothing here blocks. `Link` has the five methods that
paho calls on a socket.
"""

from __future__ import annotations

import contextlib

from microedge.upstream.packets import PacketSplitter, SkippedPublish

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

_CHUNK_BYTES = 16_384  # four thousand PUBACKs; also what a TLS record holds at most
_MAX_CHUNKS = 1_024  # per turn of the loop, however fast the other side sends,
_TURN_BYTES = 1_048_576  # or however much it has to say
_SEND_BYTES = 262_144  # what one send is offered; the kernel takes what fits


class Link:
    def __init__(self, connection: socket.socket) -> None:
        """Takes over `connection`, which is connected and does not block."""
        self._socket = connection
        self._is_tls = hasattr(connection, "pending")  # only an SSLSocket has it; without TLS ssl is not loaded
        self._later: tuple[type[OSError], ...] = _later_errors(self._is_tls)
        self._splitter = PacketSplitter()
        self._inbox = bytearray()
        self._outbox = bytearray()
        self.first_bytes = b""  # of what the other side said; tells a web server from a broker

    # What paho calls.

    def recv(self, buffer_size: int) -> bytes:
        """Hand paho bytes that `read` has put aside for it.

        Raises:
            BlockingIOError: there are none, which paho takes as "later".
        """
        if not self._inbox:
            raise BlockingIOError
        data = bytes(self._inbox[:buffer_size])
        del self._inbox[:buffer_size]
        return data

    def send(self, buffer: bytes | bytearray) -> int:
        """Put bytes at the end of what the next `flush` sends."""
        self._outbox += buffer
        return len(buffer)

    def close(self) -> None:
        """Send what goes at once and close: paho closes right behind the DISCONNECT that it has just sent here."""
        with contextlib.suppress(OSError):
            self.flush()
        self._outbox.clear()
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def setblocking(self, flag: bool) -> None:
        """Ignore it: the socket never blocks."""

    # What the session calls.

    @property
    def has_packets(self) -> bool:
        """True while there is something for paho to read."""
        return bool(self._inbox)

    def read(self) -> list[tuple[int, int]] | None:
        """Read what has arrived; return our acknowledgements in it, or None at the end of the stream.

        Raises:
            OSError: the connection is broken.
            ValueError: the other side does not speak MQTT.
        """
        chunks: list[bytes] = []
        is_open, room_bytes = True, _TURN_BYTES
        while is_open and room_bytes > 0 and len(chunks) < _MAX_CHUNKS:
            try:
                chunk = self._socket.recv(_CHUNK_BYTES)
            except self._later:
                break
            is_open = bool(chunk)
            chunks.append(chunk)
            room_bytes -= len(chunk)
            if len(chunk) < _CHUNK_BYTES and not self._is_tls:
                break  # all there was; TLS gives one record at a time, often one PUBACK, and hides what it holds
        if not is_open and len(chunks) == 1:
            return None
        data = b"".join(chunks)
        if len(self.first_bytes) < 4:
            self.first_bytes += data[:4]
        acks, others = self._splitter.feed(data)
        self._inbox += others
        return acks

    def take_skipped(self) -> list[SkippedPublish]:
        """Return what has arrived since the last call and was too long to keep."""
        skipped, self._splitter.skipped = self._splitter.skipped, []
        return skipped

    def flush(self) -> bool:
        """Send as much as the socket takes; return True when nothing is left.

        Raises:
            OSError: the connection is broken.
        """
        while self._outbox:
            try:
                # After a "later" OpenSSL wants to see the same bytes again, at least as many: the outbox only grows.
                sent = self._socket.send(memoryview(self._outbox)[:_SEND_BYTES].tobytes())
            except self._later:
                return False
            del self._outbox[:sent]
        return True


def _later_errors(is_tls: bool) -> tuple[type[OSError], ...]:
    """Return what a socket raises for "not now"."""
    if not is_tls:
        return (BlockingIOError,)
    import ssl

    return BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError
