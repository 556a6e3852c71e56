"""Modules without processes: the real client at one end of a socketpair, the real session and exchange at the other."""

from __future__ import annotations

import itertools
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

from microedge.config.model import INPUT_WINDOW
from microedge.hub.parser import parse
from microedge.hub.session import Session
from microedge.hub.table import RouteTable
from microedge.supervisor.exchange import Exchange
from support.module_hub import ModuleHub
from support.ram_queue import RamQueue
from support.virtual_reactor import VirtualReactor


class Site:
    """An exchange with a queue in RAM, in virtual time."""

    def __init__(self, *routes: str) -> None:
        self.reactor = VirtualReactor()
        parsed = [parse(f"r{number}", text) for number, text in enumerate(routes)]
        self.exchange = Exchange(self.reactor, RouteTable(parsed, ttl_s=7_200))
        self.queue = RamQueue(self.exchange)
        self.exchange.open(self.queue, None)  # type: ignore[arg-type]
        self.session_ids = map(str, itertools.count(1))


class InProcessModule:
    """Looks to the exchange like an instance. `restart` gives it another process, asked for or not."""

    def __init__(self, site: Site, name: str, *, inputs: tuple[str, ...] = (), window: int = INPUT_WINDOW) -> None:
        self.name = name
        self.site = site
        self.plan = SimpleNamespace(image=SimpleNamespace(inputs=inputs), input_window=window)
        self.sent = self.delivered = 0
        self.is_leaving = False
        self.process = SimpleNamespace(unsent_bytes=0)
        self._begin()

    def write(self, frame: bytes) -> None:
        self.hub.socket.sendall(frame)

    def hub_reads(self) -> None:
        """Let the hub read what the module has written, and answer."""
        with suppress(BlockingIOError):
            while True:
                self._take(self.hub.socket.recv(1 << 20))
        self.site.reactor.turn()

    def module_runs(self) -> None:
        """Let the module handle what has arrived."""
        self.client.wait(0)
        self.client.wait(0)

    def restart(self, *, is_asked: bool = False) -> None:
        """End the process, with whatever is under way, and start another one."""
        self.is_leaving = is_asked
        self.site.exchange.session_closed(self)  # type: ignore[arg-type]
        self.is_leaving = False
        self.hub.__exit__()
        self._begin()

    def close(self) -> None:
        self.hub.__exit__()

    def _begin(self) -> None:
        self.hub = ModuleHub(inputs=list(self.plan.image.inputs))
        self.client = self.hub.client
        self.session = Session(self.name, f"{self.name}-{next(self.site.session_ids)}")
        self.site.exchange.session_opened(self)  # type: ignore[arg-type]

    def _take(self, data: bytes) -> None:
        received: Any = self.session.receive(data, 0)
        self.site.exchange.session_received(self, received)  # type: ignore[arg-type]
