"""The supervisor's side of the fork server: ask for a module's process, get its pid."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Callable, Sequence

from microedge.reactor import Reactor
from microedge.supervisor import forkserver
from microedge.supervisor.processes import Reaper

log = logging.getLogger(__name__)

_RETRY_S = 1.0  # between fork servers: one that cannot even start must not keep a core busy

Spawned = Callable[[int, str], None]
"""Called with (pid, "") or (0, why not)."""


class Launcher:
    """Owns the fork server; starts another one when it dies."""

    def __init__(self, server: tuple[int, socket.socket], reactor: Reactor) -> None:
        """`server` is what `forkserver.fork()` returned before the supervisor loaded anything."""
        self._pid, self._control = server
        self._reactor = reactor
        self._reaper: Reaper | None = None
        self._waiting: dict[int, Spawned] = {}
        self._next_request = 1
        self._preload: list[str] = []
        self._started_s = 0.0
        self._is_closed = False

    @property
    def is_spawning(self) -> bool:
        return bool(self._waiting)

    def open(self, reaper: Reaper) -> None:
        self._reaper = reaper
        self._watch()

    def close(self) -> None:
        """Let the fork server go: it ends when its socket does."""
        self._is_closed = True
        self._reactor.remove_reader(self._control.fileno())
        self._control.close()

    def preload(self, names: Sequence[str]) -> None:
        """Have standard-library modules loaded before the next fork, so that modules share them."""
        new = sorted(set(names) - set(self._preload))
        if new:
            self._preload += new
            self._send({"preload": new}, ())

    def spawn(self, launch: str, descriptors: Sequence[int], spawned: Spawned) -> None:
        """Start a process with these descriptors (hub, log); `spawned` is called later. The caller keeps its copies."""
        request = self._next_request
        self._next_request += 1
        self._waiting[request] = spawned
        self._send({"spawn": request, "launch": launch}, descriptors)

    def _watch(self) -> None:
        assert self._reaper is not None
        self._started_s = time.monotonic()
        self._reaper.expect(self._pid, self._died)
        self._reactor.add_reader(self._control.fileno(), self._answered)

    def _send(self, request: dict[str, object], descriptors: Sequence[int]) -> None:
        try:
            socket.send_fds(self._control, [json.dumps(request).encode()], list(descriptors))
        except OSError as error:
            log.warning("fork server does not listen: %s; waiting for its successor", error.strerror)

    def _answered(self) -> None:
        try:
            packet = self._control.recv(forkserver.PACKET_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet:
            self._reactor.remove_reader(self._control.fileno())
            return
        answer = json.loads(packet)
        spawned = self._waiting.pop(answer["spawn"], None)
        if spawned is not None:
            spawned(answer.get("pid", 0), answer.get("error", ""))

    def _died(self, status: int) -> None:
        if self._is_closed:
            return
        self._reactor.remove_reader(self._control.fileno())
        self._control.close()
        is_early = time.monotonic() - self._started_s < _RETRY_S
        log.warning("fork server died: status=%d; starting another one", status)
        self._refuse_waiting()
        self._reactor.call_later(_RETRY_S if is_early else 0.0, self._start_another)

    def _start_another(self) -> None:
        if self._is_closed:
            return
        self._pid, self._control = forkserver.spawn_fresh()
        self._watch()
        names, self._preload = self._preload, []
        self.preload(names)
        self._refuse_waiting()  # asked for while there was none

    def _refuse_waiting(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for spawned in waiting.values():
            spawned(0, "the fork server died")
