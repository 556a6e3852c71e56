"""A TCP relay with little bandwidth towards the server, which can be cut and opened."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

_CHUNK_BYTES = 512
_BUFFER_BYTES = 4096  # a modem's; loopback sockets would hold megabytes


class SlowLink:
    """Carries `bytes_per_s` to `target_port`, and everything back at once. While it is not open, nobody gets in."""

    def __init__(self, target_port: int, bytes_per_s: float) -> None:
        self.is_open = False
        self._target_port = target_port
        self._bytes_per_s = bytes_per_s
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> SlowLink:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()
        for one in (self._listener, *self._sockets):
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                device, _ = self._listener.accept()
            except OSError:
                return
            if not self.is_open:
                device.close()
                continue
            broker = socket.create_connection(("127.0.0.1", self._target_port))
            self._sockets += (device, broker)
            for source, sink, rate in ((device, broker, self._bytes_per_s), (broker, device, 0.0)):
                self._threads.append(threading.Thread(target=_carry, args=(source, sink, rate)))
                self._threads[-1].start()


def _carry(source: socket.socket, sink: socket.socket, bytes_per_s: float) -> None:
    free_s = time.monotonic()
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK_BYTES if bytes_per_s else 65_536):
            if bytes_per_s:
                free_s = max(free_s, time.monotonic() - 0.05) + len(data) / bytes_per_s
                time.sleep(max(0.0, free_s - time.monotonic()))
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
