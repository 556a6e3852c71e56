"""A TCP relay that keeps back what the server answers, as a long way to the broker does."""

from __future__ import annotations

import contextlib
import heapq
import random
import selectors
import socket
import threading
import time


class DelayProxy:
    """Forwards to `target_port` at once, and back after `delay_s` (shortest, longest), in order. One thread."""

    def __init__(self, target_port: int, delay_s: tuple[float, float], *, seed: int = 1) -> None:
        self._target_port = target_port
        self._delay_s = delay_s
        self._random = random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._peers: dict[socket.socket, tuple[socket.socket, bool]] = {}  # (the other side, is it the device's)
        self._late: list[tuple[float, int, socket.socket, bytes]] = []
        self._last_due_s = 0.0
        self._count = 0
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="delay-proxy")

    def __enter__(self) -> DelayProxy:
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_stopping = True
        self._thread.join()
        for sock in (self._listener, *self._peers):
            sock.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._is_stopping:
            for key, _ in self._selector.select(self._pause_s()):
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._forward(key.fileobj)  # type: ignore[arg-type]
            self._deliver()

    def _pause_s(self) -> float:
        return min(0.05, max(0.0, self._late[0][0] - time.monotonic())) if self._late else 0.05

    def _accept(self) -> None:
        device, _ = self._listener.accept()
        try:
            broker = socket.create_connection(("127.0.0.1", self._target_port))
        except OSError:  # the broker is away; the device sees its connection closed
            device.close()
            return
        for sock, other, is_to_device in ((device, broker, False), (broker, device, True)):
            self._peers[sock] = (other, is_to_device)
            self._selector.register(sock, selectors.EVENT_READ)

    def _forward(self, sock: socket.socket) -> None:
        other, is_to_device = self._peers[sock]
        try:
            data = sock.recv(65_536)
            if data and not is_to_device:
                other.sendall(data)
        except OSError:
            data = b""
        if not data:
            self._drop(sock, other)
        elif is_to_device:
            due_s = max(self._last_due_s, time.monotonic() + self._random.uniform(*self._delay_s))
            self._last_due_s, self._count = due_s, self._count + 1
            heapq.heappush(self._late, (due_s, self._count, other, data))

    def _deliver(self) -> None:
        while self._late and self._late[0][0] <= time.monotonic():
            _, _, device, data = heapq.heappop(self._late)
            if device in self._peers:
                with contextlib.suppress(OSError):  # it is gone: the selector says so next
                    device.sendall(data)

    def _drop(self, *pair: socket.socket) -> None:
        for sock in pair:
            if self._peers.pop(sock, None):
                self._selector.unregister(sock)
                sock.close()
