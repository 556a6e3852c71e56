"""A broker made of a listening socket and a thread, for what a real one does rarely: refuse, hang, close, lie."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

ACCEPT = b"\x20\x03\x00\x00\x00"  # CONNACK of MQTT 5 without properties
CLOSE = -1


def connack(code: int = 0, properties: bytes = b"") -> bytes:
    """Return a CONNACK of MQTT 5 with encoded properties."""
    return bytes((0x20, 3 + len(properties), 0, code, len(properties))) + properties


class FakeBroker:
    """Answers CONNECT with `answer` (nothing if empty) and every PUBLISH with what `judge(body)` says.

    `judge` returns the reason code of the PUBACK, CLOSE to close the connection, or None to say nothing. The status
    topic is always acknowledged. `first` is sent as soon as somebody connects. `suback` is the reason code for every
    filter of a SUBSCRIBE, or one for each of them, or CLOSE. `reported` are the (topic, document) of the reported twins
    that came retained; they are no `bodies`, but are judged all the same.
    """

    def __init__(
        self,
        answer: bytes = ACCEPT,
        judge: Callable[[bytes], int | None] = lambda body: 0,
        *,
        first: bytes = b"",
        hangs_up: bool = False,
        answers_pings: bool = True,
        suback: int | tuple[int, ...] = 1,
    ) -> None:
        self.answer, self.judge, self.first, self.hangs_up = answer, judge, first, hangs_up
        self.answers_pings, self.suback = answers_pings, suback
        self.connects = self.pings = 0
        self.bodies: list[bytes] = []
        self.statuses: list[bytes] = []
        self.reported: list[tuple[str, bytes]] = []
        self.order: list[str] = []  # topics, in order
        self.filters: list[list[str]] = []  # of each SUBSCRIBE
        self.acknowledged: list[int] = []  # packet ids
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, name="fake-broker")]

    def __enter__(self) -> FakeBroker:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        for connection in (self._listener, *self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        for thread in self._threads:
            thread.join(5)

    def send_to_all(self, data: bytes) -> None:
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.sendall(data)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), name="fake-broker")
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError), connection, connection.makefile("rb") as stream:
            connection.sendall(self.first)
            if self.hangs_up:
                return
            while True:
                first, packet = _read_packet(stream)
                kind = first >> 4
                if kind == 1:
                    self.connects += 1
                    connection.sendall(self.answer)
                elif kind == 3:
                    self._published(connection, packet, is_retained=bool(first & 1))
                elif kind == 4:
                    self.acknowledged.append(int.from_bytes(packet[:2], "big"))
                elif kind == 8 and self.suback == CLOSE:
                    return
                elif kind == 8:
                    connection.sendall(self._suback(packet))
                elif kind == 12:
                    self.pings += 1
                    connection.sendall(b"\xd0\x00" if self.answers_pings else b"")
                elif kind == 14:
                    return

    def _suback(self, packet: bytes) -> bytes:
        filters, at = [], 3  # behind the packet id and properties, which are none
        while at < len(packet):
            end = at + 2 + int.from_bytes(packet[at : at + 2], "big")
            filters.append(packet[at + 2 : end].decode())
            at = end + 1
        self.filters.append(filters)
        codes = self.suback if isinstance(self.suback, tuple) else (self.suback,) * len(filters)
        return bytes((0x90, 3 + len(codes))) + packet[:2] + b"\x00" + bytes(codes)

    def _published(self, connection: socket.socket, packet: bytes, *, is_retained: bool) -> None:
        topic_end = 2 + int.from_bytes(packet[:2], "big")
        packet_id = packet[topic_end : topic_end + 2]
        topic = packet[2:topic_end].decode()
        self.order.append(topic)
        if topic.endswith("/status"):
            self.statuses.append(packet)
            connection.sendall(b"\x40\x02" + packet_id)
            return
        if topic.endswith("/twin/reported") and is_retained:
            self.reported.append((topic, packet[topic_end + 3 :]))  # behind properties, which are none
        else:
            self.bodies.append(packet[topic_end + 2 :])
        code = self.judge(packet)
        if code == CLOSE:
            raise EOFError
        if code is not None:
            connection.sendall(b"\x40\x03" + packet_id + bytes((code,)) if code else b"\x40\x02" + packet_id)


def _read_packet(stream) -> tuple[int, bytes]:  # type: ignore[no-untyped-def]
    first = stream.read(1)
    length = shift = 0
    while first:
        byte = stream.read(1)
        if not byte:
            break
        length |= (byte[0] & 127) << shift
        shift += 7
        if byte[0] < 128:
            return first[0], stream.read(length)
    raise EOFError
