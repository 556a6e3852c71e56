"""The cloud: a Mosquitto that belongs to nobody's account, and a subscriber that counts what reaches it.

The subscriber speaks just enough MQTT 3.1.1 to receive. It does so cheaply, because everything it burns is taken from
contestants that share two cores with it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import struct
import subprocess
import threading
import time

from processes import wait_for

WINDOW = 100  # unacknowledged QoS 1 messages per connection, for everybody
_TOPIC = b"+/+/+/readings"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def mosquitto_program() -> str:
    """Return the path of the broker.

    Raises:
        FileNotFoundError: it is not installed.
    """
    found = shutil.which("mosquitto", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin")
    if found is None:
        raise FileNotFoundError("mosquitto is not installed; run: make deps-system")
    return found


def common_lines(port: int) -> list[str]:
    """What every Mosquitto here is told: a window of 100, and never to drop (its defaults lose silently)."""
    user = pwd.getpwuid(os.getuid()).pw_name
    return [
        f"listener {port} 127.0.0.1",
        "allow_anonymous true",
        f"user {user}",
        f"max_inflight_messages {WINDOW}",
        "max_queued_messages 0",
        "log_dest none",
    ]


class Broker:
    """The cloud's broker, as a context manager."""

    def __init__(self, directory: str, *, lines: tuple[str, ...] = ()) -> None:
        """`lines` are added to its configuration."""
        self._file = os.path.join(directory, "cloud.conf")
        self._lines = lines
        self.port = free_port()

    def __enter__(self) -> Broker:
        with open(self._file, "w") as stream:
            stream.write("\n".join([*common_lines(self.port), "persistence false", *self._lines, ""]))
        self._process = subprocess.Popen([mosquitto_program(), "-c", self._file], stderr=subprocess.DEVNULL)
        wait_for(self._listens, 5, "the cloud broker")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Subscriber(threading.Thread):
    """Counts the distinct messages that reach the broker, by the number at the beginning of each body."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._rest = b""
        self.bodies: dict[bytes, float] = {}  # the first word of a body -> when it arrived first
        self.latencies_s: list[float] = []
        self.copies = 0

    def __enter__(self) -> Subscriber:
        self._socket.sendall(_packet(0x10, b"\0\4MQTT\4\2\0\0" + _text(b"bench-subscriber-%d" % time.monotonic_ns())))
        self._socket.recv(4)
        self._socket.sendall(_packet(0x82, b"\0\1" + _text(_TOPIC) + b"\0"))
        self._socket.recv(5)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self.join()
        self._socket.close()

    def wait_for(self, count: int, timeout_s: float) -> None:
        """Return when `count` distinct messages have arrived, or none any more for `timeout_s`."""
        seen, since_s = -1, time.monotonic()
        while len(self.bodies) < count and time.monotonic() - since_s < timeout_s:
            if len(self.bodies) != seen:
                seen, since_s = len(self.bodies), time.monotonic()
            time.sleep(0.002)

    def run(self) -> None:
        while True:
            try:
                data = self._socket.recv(262_144)
            except OSError:
                return
            if not data:
                return
            self._take(self._rest + data, time.monotonic())

    def _take(self, data: bytes, now_s: float) -> None:
        at = 0
        while True:
            length, start = _length(data, at)
            if start == 0 or start + length > len(data):
                break
            if data[at] & 0xF0 == 0x30:
                body_at = start + 2 + struct.unpack_from(">H", data, start)[0]
                self._count(data[body_at : body_at + 40], now_s)
            at = start + length
        self._rest = data[at:]

    def _count(self, head: bytes, now_s: float) -> None:
        words = head.split(b" ", 2)
        if words[0] in self.bodies:
            self.copies += 1
            return
        self.bodies[words[0]] = now_s
        if len(words) > 1 and words[1].isdigit():
            self.latencies_s.append(now_s - int(words[1]) / 1e9)


def _text(text: bytes) -> bytes:
    return struct.pack(">H", len(text)) + text


def _packet(first: int, rest: bytes) -> bytes:
    return bytes([first, len(rest)]) + rest


def _length(data: bytes, at: int) -> tuple[int, int]:
    """Return (remaining length, where it starts), or (0, 0) when the header is not complete."""
    length, shift = 0, 0
    for index in range(at + 1, min(at + 5, len(data))):
        length |= (data[index] & 127) << shift
        if data[index] < 128:
            return length, index + 1
        shift += 7
    return 0, 0
