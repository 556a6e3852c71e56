"""What a state machine over twins plays: the broker and the line to it, processes of modules, and what must hold."""

from __future__ import annotations

import json
from collections import deque
from types import SimpleNamespace
from typing import Any

from microedge.patch import same
from microedge.sdk.twin import TwinPort
from microedge.supervisor.twins import Twins
from microedge.twin.layers import NAMES, Layers

MODULES = ("north", "south")

Json = dict[str, Any]


class Line:
    """The broker and the way to it. In one topic nothing overtakes; between topics everything may."""

    def __init__(self) -> None:
        self.desired: dict[str, bytes] = {}  # retained
        self.reported: dict[str, Json] = {}  # retained
        self.is_up = False
        self.down: dict[str, deque[bytes]] = {}
        self.delivered: dict[str, list[bytes]] = {}  # over this connection
        self.up: deque[tuple[int, str, bytes]] = deque()
        self.acks: deque[int] = deque()
        self._packet_id = 0

    def publish_retained(self, topic: str, document: bytes) -> int:
        """As a session does it."""
        self._packet_id += 1
        self.up.append((self._packet_id, topic.split("/")[2], document))
        return self._packet_id

    def connect(self) -> None:
        self.is_up = True
        self.down = {name: deque([self.desired[name]] if name in self.desired else []) for name in MODULES}
        self.delivered = {name: [] for name in MODULES}

    def publish(self, name: str, document: bytes) -> None:
        self.desired[name] = document
        if self.is_up:
            self.down[name].append(document)

    def arrive(self) -> None:
        packet_id, name, document = self.up.popleft()
        self.acks.append(packet_id)
        old, new = self.reported.get(name), json.loads(document)
        if old is not None:
            assert new["$version"] >= old["$version"], f"{name}: reported went from {old} back to {new}"
        self.reported[name] = new

    def break_(self, arriving: int) -> None:
        """Lose what is on its way, but for what still arrives; no acknowledgement does."""
        for _ in range(min(arriving, len(self.up))):
            self.arrive()
        self.is_up = False
        self.up.clear()
        self.acks.clear()
        self.down = {name: deque() for name in MODULES}


class Process:
    """One process of a module: what it was sent and has not read yet, and the SDK's view of its twin."""

    def __init__(self, name: str, twins: Twins) -> None:
        self.name = name
        self.is_leaving = False
        self.session = object()
        self.process = SimpleNamespace(unsent_bytes=0, pause=lambda: None, resume=lambda: None)
        self.sent: list[bytes] = []
        started = twins.start(self)  # type: ignore[arg-type]
        self.port = TwinPort(json.loads(json.dumps(started)))
        self.reported_version: int = started["reported_version"]
        self.told: int = started["desired_version"]
        self.believes: Json = self.port.desired
        twins.opened(self)  # type: ignore[arg-type]

    def write(self, frame: bytes) -> None:
        self.sent.append(frame)


class Model:
    """What the layers must say, and how much of it no crash may undo."""

    def __init__(self) -> None:
        empty: Json = {}
        self.past = [Layers(dict.fromkeys(NAMES, empty))]  # the last is what holds
        self.safe = 0  # index of what somebody was told, or what stood on the card

    @property
    def layers(self) -> Layers:
        return self.past[-1]

    def take(self, layers: Layers) -> int:
        self.past.append(layers)
        return len(self.past) - 1

    def is_safe(self, index: int) -> None:
        self.safe = max(self.safe, index)


def same_layers(one: Layers, other: Layers) -> bool:
    return all(same(dict(one[name]), dict(other[name])) for name in NAMES)


def legal(document: bytes) -> Json | None:
    """Return what the upstream wants, None for what no twin takes; of the documents that are published here."""
    try:
        found = json.loads(document)
    except ValueError:
        return None
    if not isinstance(found, dict) or "a.b" in found or found.get("a") == [None] or "xxx" in str(found.get("a")):
        return None
    return without_ours(found)


def without_ours(document: Json) -> Json:
    return {key: value for key, value in document.items() if key[0] != "$"}
