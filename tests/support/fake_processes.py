"""A launcher and a reaper without processes: the test decides when a process is there, what it does, how it ends."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from microedge import wire
from microedge.config.model import Image, Limits, Permissions, Supervision
from microedge.config.plan import InstancePlan
from microedge.supervisor.instance import Services
from support.descriptor_reactor import DescriptorReactor


class FakeProcess:
    """One spawn request. `appear` makes the process, `end` ends it."""

    def __init__(
        self, world: World, launch: str, descriptors: Sequence[int], spawned: Callable[[int, str], None]
    ) -> None:
        hub_fd, log_fd = (os.dup(fd) for fd in descriptors)
        self.socket = socket.socket(fileno=hub_fd)
        self.log_fd = log_fd
        self.launch = launch
        self.world = world
        self.signals: list[int] = []
        self.pid = 0
        self.spawned = spawned
        self._decoder = wire.Decoder(wire.FROM_HUB)

    def appear(self) -> FakeProcess:
        self.world.last_pid += 1
        self.pid = self.world.last_pid
        self.spawned(self.pid, "")
        return self

    def fail(self, error: str) -> None:
        self.close()
        self.spawned(0, error)
        self.world.reactor.settle()

    def ready(self) -> FakeProcess:
        return self.send(wire.encode(wire.READY))

    def send(self, data: bytes) -> FakeProcess:
        self.socket.sendall(data)
        self.world.reactor.settle()
        return self

    def frames(self) -> list[int]:
        """Return the types of the frames that the supervisor has sent."""
        self.socket.setblocking(False)
        try:
            return [frame[0] for frame in self._decoder.feed(self.socket.recv(1 << 20))]
        except BlockingIOError:
            return []

    def end(self, *, code: int = 0, signum: int = 0) -> None:
        self.close()
        self.world.ended.pop(self.pid)(signum or code << 8)
        self.world.reactor.settle()

    def close(self) -> None:
        if self.log_fd >= 0:
            self.socket.close()
            os.close(self.log_fd)
            self.log_fd = -1


class World:
    """Stands for launcher, reaper and exchange, and records what they were asked for."""

    def __init__(self, data_dir: Path) -> None:
        self.reactor = DescriptorReactor()
        self.processes: list[FakeProcess] = []
        self.ended: dict[int, Callable[[int], None]] = {}
        self.last_pid = 1 << 24  # beyond the kernel's pids: a signal that goes astray reaches nobody
        self.sweeps = 0
        self.sessions: list[str] = []
        self.preloaded: list[str] = []
        own: Any = self
        self.services = Services(self.reactor, own, own, own, "bench", str(data_dir))

    # Launcher
    def spawn(self, launch: str, descriptors: Sequence[int], spawned: Callable[[int, str], None]) -> None:
        self.processes.append(FakeProcess(self, launch, descriptors, spawned))

    def preload(self, names: Sequence[str]) -> None:
        self.preloaded += names

    # Reaper
    def expect(self, pid: int, ended: Callable[[int], None]) -> None:
        self.ended[pid] = ended

    def sweep(self) -> None:
        self.sweeps += 1

    # Exchange
    def session_opened(self, instance: Any) -> None:
        self.sessions.append(f"opened {instance.name}")

    def session_received(self, instance: Any, received: Any) -> None:
        self.sessions += [f"message {message.sequence} of {instance.name}" for message in received.messages]

    def session_closed(self, instance: Any) -> None:
        self.sessions.append(f"closed {instance.name}")

    def close(self) -> None:
        for process in self.processes:
            process.close()
            owner = process.spawned.__self__  # type: ignore[attr-defined]
            if owner.process is not None:
                owner.process.close()


def plan(name: str = "probe", *, autostart: bool = True, fingerprint: str = "1", **supervision: Any) -> InstancePlan:
    """Return the plan of an instance whose image has the same name."""
    image = Image(name, "1.0.0", name, "main", "/nowhere", outputs=("readings",), fingerprint=fingerprint)
    rules = Supervision(**supervision)
    return InstancePlan(name, image, None, Limits(), rules, Permissions(), (), autostart, {})
