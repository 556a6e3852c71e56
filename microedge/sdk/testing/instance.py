"""One module's process, played by a strand: what the exchange and `Module` see of it."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from microedge import wire
from microedge.config.plan import InstancePlan
from microedge.errors import TwinError
from microedge.hub.session import WINDOW, WINDOW_BYTES, Received, Session
from microedge.hub.twin_frames import desired_frame, report_refused_frame, reported_frame
from microedge.sdk.client import ModuleClient
from microedge.sdk.link import Link
from microedge.sdk.runner import EXIT_CONFIG, enter, load_entry
from microedge.sdk.testing.clock import VirtualClock
from microedge.sdk.testing.plans import Main
from microedge.sdk.testing.scene import Scene
from microedge.sdk.testing.strand import KilledError, Strand
from microedge.supervisor.exchange import Exchange
from microedge.supervisor.instance import Instance
from microedge.twin.twin import Twin

_READ_BYTES = 1 << 20
_PROGRESS_S = 3_600.0  # who hangs is seen by the strand's patience


class PlayedInstance:
    """Runs from `start` until `main` returns; after that it can be started again: twin and data stay."""

    def __init__(self, plan: InstancePlan, main: Main | None, twin: Twin, scene: Scene) -> None:
        """`main` is None where the image has its own."""
        self.plan, self.twin, self.scene = plan, twin, scene
        self.name = plan.name
        self.sent = self.delivered = 0  # counted by the exchange
        self.session: Session | None = None
        self.process: PlayedInstance | None = None  # itself, while there is one
        self.strand: Strand | None = None
        self.is_leaving = self.is_ready = False
        self.has_reported: Callable[[dict[str, Any]], None] = lambda patch: None  # told of what changed something
        self.unsent_bytes = 0
        self._main = main
        self._unsent: list[bytes] = []
        self._socket: socket.socket
        self._runs = 0
        self._is_loaded = False
        self._errors: list[BaseException] = []  # what has ended it and no test has seen

    @property
    def is_running(self) -> bool:
        """True until `main` has returned and everything that it sent has been taken."""
        return self.process is not None

    @property
    def exit_code(self) -> int | None:
        """What the process would have ended with; None while it runs."""
        if self.strand is None or not self.strand.is_over:
            return None
        error = self.strand.error
        if not isinstance(error, SystemExit):
            is_unloadable = isinstance(error, (ImportError, SyntaxError)) and not self._is_loaded
            return EXIT_CONFIG if is_unloadable else int(error is not None)
        code = error.code if error.code is not None else 0
        return code & 0xFF if isinstance(code, int) else 1

    def take_errors(self) -> list[BaseException]:
        """Return what code of the module has raised since the last time."""
        errors, self._errors = self._errors, []
        if self.strand is not None:
            errors, self.strand.failures = [*self.strand.failures, *errors], []
        return errors

    def start(self, clock: VirtualClock, data_dir: str, patience_s: float) -> None:
        """Make everything that its first turn needs."""
        self._runs += 1
        self._socket, module_end = socket.socketpair()
        self._socket.setblocking(False)
        self.session, self.process = Session(self.name, f"{self.name}-{self._runs}"), self
        self.is_leaving = self.is_ready = False
        start = self._start_document(clock, data_dir)
        self.strand = Strand(self.name, lambda: self._live(module_end, start, clock), patience_s)

    def can_run(self, now_s: float) -> bool:
        """True when there is something for it to do."""
        strand = self.strand
        return strand is not None and not strand.is_over and (strand.wake_s <= now_s or strand.is_ready(0))

    def run(self) -> None:
        """Give it one turn.

        Raises:
            AssertionError: it hangs.
        """
        assert self.strand is not None
        with self.scene.set_up():
            self.strand.run()

    def carry(self, exchange: Exchange, clock: VirtualClock) -> bool:
        """Bring what it wrote to the exchange, and what the exchange wrote to it; True if there was anything.

        Raises:
            RemoteProtocolError: it broke the protocol.
        """
        if self.session is None:
            return False
        data = self._read()
        if data:
            self._take(self.session.receive(data, clock.offset_ms), exchange, clock)
        elif self.strand is not None and self.strand.is_over:
            self._end(exchange)
            return True
        return self.flush() or bool(data)

    def write(self, frame: bytes) -> None:
        """Send a frame to the module; dropped when there is none."""
        if self.process is not None:
            self._unsent.append(frame)
            self.unsent_bytes += len(frame)

    def flush(self) -> bool:
        """Write as much of what waits for the module as its socket takes; True if it took any."""
        if not self._unsent:
            return False
        data = b"".join(self._unsent)
        sent = 0
        with suppress(BlockingIOError, BrokenPipeError):
            sent = self._socket.send(data)
        self._unsent, self.unsent_bytes = [data[sent:]] if sent < len(data) else [], len(data) - sent
        return sent > 0

    def ask_to_stop(self) -> None:
        """Have it return from `main`."""
        self.is_leaving = True
        self.write(wire.encode(wire.STOP))

    def kill(self, exchange: Exchange) -> None:
        """End it at its wait, whatever it waits for."""
        if self.strand is not None and not self.strand.is_over:
            with self.scene.set_up():
                self.strand.kill()
        if self.is_running:
            self._end(exchange)

    # --- The strand's side ---

    def _live(self, sock: socket.socket, start: dict[str, Any], clock: VirtualClock) -> None:
        """What a process does: `run_module` without what belongs to a process alone."""
        assert self.strand is not None
        clock.enrol(self.strand)
        with sock:
            link = Link(sock)
            link.open()
            try:
                client = ModuleClient(link, start)
                main = self._main or load_entry(start)
                self._is_loaded = True
                enter(main, client)
            finally:
                _drain(link)

    # --- The hub's side ---

    def _take(self, received: Received, exchange: Exchange, clock: VirtualClock) -> None:
        if received.is_ready and not self.is_ready:
            self.is_ready = True
            self.twin.set_connected(True, clock.wall_ms)
            exchange.session_opened(self._as_instance)
        exchange.session_received(self._as_instance, received)
        for request, patch in received.reports:
            try:
                effect = self.twin.patch_reported(patch, clock.wall_ms)
            except TwinError as error:
                self.write(report_refused_frame(request, error))
                continue
            self.write(reported_frame(request, effect.version))
            if effect.changed and isinstance(patch, dict):
                self.has_reported(patch)

    def tell_desired(self, patch: dict[str, Any], version: int) -> None:
        """Tell the module a change of its desired properties."""
        self.write(desired_frame(version, patch, False))

    def _end(self, exchange: Exchange) -> None:
        exchange.session_closed(self._as_instance)
        self.session = self.process = None
        self._socket.close()
        self._unsent, self.unsent_bytes = [], 0
        error = self.strand.error if self.strand is not None else None
        if error is not None and self.exit_code and not isinstance(error, KilledError):
            self._errors.append(error)

    def _read(self) -> bytes:
        parts = []
        with suppress(BlockingIOError, ConnectionResetError):
            while True:
                part = self._socket.recv(_READ_BYTES)
                if not part:
                    break
                parts.append(part)
        return b"".join(parts)

    @property
    def _as_instance(self) -> Instance:
        return cast("Instance", self)  # as much of one as the exchange looks at

    def _start_document(self, clock: VirtualClock, data_dir: str) -> dict[str, Any]:
        image, state = self.plan.image, self.twin.state
        return {
            "device": self.twin.device,
            "module": self.name,
            "generation": "",
            "image": image.name,
            "image_dir": image.directory,
            "entry_module": image.entry_module,
            "entry_function": image.entry_function,
            "inputs": image.inputs,
            "outputs": image.outputs,
            "desired": dict(state.desired.properties),
            "desired_version": state.desired.version,
            "reported": dict(state.reported.properties),
            "reported_version": state.reported.version,
            "env": dict(self.plan.env),
            "data_dir": data_dir,
            "window": WINDOW,
            "window_bytes": WINDOW_BYTES,
            "progress_s": _PROGRESS_S,
        }


def _drain(link: Link) -> None:
    """What was sent before `main` ended still goes out."""
    link.write()
    poll = select.poll()
    poll.register(link.fileno(), select.POLLOUT)
    while link.wants_to_write:
        poll.poll()
        link.write()
