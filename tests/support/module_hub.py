"""The hub's end of one module's socketpair, played by a test: what the module sent, and frames for it."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from typing import Any

from microedge import wire
from microedge.message import Envelope, Message, pack
from microedge.sdk.client import ModuleClient
from microedge.sdk.link import Link


def start_document(**changes: Any) -> dict[str, Any]:
    """Return what a START frame says, with changes."""
    return {
        "device": "greenhouse-7",
        "module": "north",
        "image": "probe",
        "outputs": ["readings", "alarms"],
        "inputs": ["commands", "queries"],
        "desired": {"interval_s": 5, "unit": "C"},
        "env": {},
        "data_dir": "/nowhere",
        "window": 256,
        "window_bytes": 1_048_576,
        "progress_s": 3_600.0,
        **changes,
    }


class ModuleHub:
    """Holds both ends; `client` is the module's. Reads only what has arrived, so nothing here blocks."""

    def __init__(self, **start: Any) -> None:
        self.socket, self.module_end = socket.socketpair()
        self.socket.setblocking(False)
        self.link = Link(self.module_end)
        self.link.open()
        self.client = ModuleClient(self.link, start_document(**start))
        self._decoder = wire.Decoder(wire.FROM_MODULE)

    def __enter__(self) -> ModuleHub:
        return self

    def __exit__(self, *_error: object) -> None:
        self.socket.close()
        self.module_end.close()

    def put(self, kind: int, number: int = 0, *, time_ms: int = 0, head: bytes = b"", body: bytes = b"") -> None:
        """Send one frame to the module."""
        self.socket.sendall(wire.encode(kind, number, time_ms=time_ms, head=head, body=body))

    def deliver(
        self, delivery: int, body: object, *, to: str = "commands", epoch: int = 0, is_suspect: bool = False
    ) -> None:
        """Send a message to one of the module's inputs."""
        message = Message(Envelope("orders"), json.dumps(body).encode(), "desk", "s9", delivery, 1, 2)
        kind = wire.SUSPECT if is_suspect else wire.DELIVER
        self.put(kind, delivery, time_ms=epoch, head=to.encode(), body=pack(message))

    def desire(self, version: int, document: object, *, is_whole: bool = False) -> None:
        """Send a change of the desired properties, or all of them."""
        self.put(wire.DESIRED, version, head=b"whole" if is_whole else b"patch", body=json.dumps(document).encode())

    def take_report(self, request: int, version: int) -> None:
        """Answer a report: it is taken."""
        self.put(wire.REPORTED, request, head=b"200", body=json.dumps({"version": version}).encode())

    def frames(self) -> list[wire.Frame]:
        """Return the frames that have arrived since the last call, progress left out."""
        data = b""
        with suppress(BlockingIOError):
            while True:
                received = self.socket.recv(1 << 20)
                if not received:
                    break
                data += received
        return [frame for frame in self._decoder.feed(data) if frame[0] != wire.PROGRESS]

    def answers(self) -> list[tuple[int, str]]:
        """Return (delivery, error) of every DONE that has arrived."""
        return [(frame[1], frame[3].decode()) for frame in self.frames() if frame[0] == wire.DONE]
