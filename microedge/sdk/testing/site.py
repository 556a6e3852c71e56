"""Everything under one roof and on one thread: modules take turns, the exchange has its own between them."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from types import TracebackType
from typing import cast

from microedge.hub.table import RouteTable
from microedge.queue.queue import MessageQueue
from microedge.sdk.testing.clock import VirtualClock
from microedge.sdk.testing.failures import Failures
from microedge.sdk.testing.instance import PlayedInstance
from microedge.sdk.testing.plans import Layout
from microedge.sdk.testing.reactor import START_S, VirtualReactor
from microedge.sdk.testing.store import MemoryQueue, MemoryUpstream
from microedge.supervisor.exchange import Exchange
from microedge.supervisor.held_twin import HeldTwin
from microedge.supervisor.twin_changes import TwinChanges
from microedge.twin.saving import SaveTimer

_SDK = os.path.dirname(os.path.dirname(__file__))
_SAME_MOMENT_S = 1e-6  # what sums of seconds may be apart by rounding
_MAX_TURNS = 10_000  # of one module while no time passes: more is a loop that waits for nothing
_LOOK_S = 0.02  # in real time, at descriptors of several modules by turns


class Site:
    """One device in memory. `settle` and `let_pass` are all that makes anything happen."""

    def __init__(self, layout: Layout) -> None:
        """Build everything; nothing happens yet, and no instance is there."""
        self.device = layout.device
        self.reactor = VirtualReactor()
        self.clock = VirtualClock(self.reactor)
        self.exchange = Exchange(self.reactor, RouteTable(layout.routes, ttl_s=layout.ttl_s, device=layout.device))
        self.queue = MemoryQueue(self.reactor, self.exchange)
        self.upstream = MemoryUpstream(self.reactor)
        self._failures = Failures(self.clock.strand_here)
        self.instances: list[PlayedInstance] = []
        self._changes = TwinChanges(self.exchange)

    @property
    def elapsed_s(self) -> float:
        """Virtual seconds since the beginning."""
        return self.reactor.now_s - START_S

    def open(self) -> None:
        """Begin; nothing runs yet."""
        self.clock.open()
        self._failures.open()
        self.exchange.open(cast("MessageQueue", self.queue), self.upstream)  # as much of one as the exchange uses

    def close(self) -> None:
        """End every module at its wait, and put back what was replaced."""
        try:
            for instance in self.instances:
                instance.kill(self.exchange)
                instance.scene.strike()
        finally:
            self._failures.close()
            self.clock.close()

    def add(self, instance: PlayedInstance) -> None:
        """Give a module its turns, once it is started; what it reports takes the routes of twin changes."""
        held = HeldTwin(instance.twin, None, SaveTimer())
        instance.has_reported = lambda patch: self._changes.route(held, patch)
        self.instances.append(instance)

    def work(self, step: Callable[[], None] | None = None) -> None:
        """Do `step`, let everybody do what there is to do then, and raise what code of modules has raised meanwhile."""
        __tracebackhide__ = True
        if step is not None:
            step()
        self.settle()
        errors = [error for instance in self.instances for error in instance.take_errors()]
        if errors:
            raise errors[0].with_traceback(_trace_of_theirs(errors[0]))

    def set_online(self, is_online: bool) -> None:
        """Take the upstream away, or bring it back."""
        self.upstream.set_online(is_online)

    def stop(self) -> None:
        """Ask every module to stop, and let the time pass that it takes.

        Raises:
            AssertionError: one does not return from `main` within its `stop_timeout_s`; says where it is.
        """
        running = [each for each in self.instances if each.is_running]
        for instance in running:
            instance.ask_to_stop()
            timeout_s = instance.plan.supervision.stop_timeout_s
            self.let_pass(timeout_s, until=lambda each=instance: not each.is_running)  # type: ignore[misc]
            if instance.is_running and instance.strand is not None:
                raise AssertionError(
                    f"module {instance.name} did not return from main within stop_timeout_s={timeout_s:g} after it was "
                    f"asked to; it is at\n{instance.strand.stack()}"
                )

    def dropped(self) -> dict[str, int]:
        """Return how many messages left without delivery, by reason."""
        self.queue.lines.unsaved(round(self.reactor.now_s * 1000))  # what has expired goes now
        return self.queue.dropped

    def settle(self) -> None:
        """Let everybody do what there is to do now.

        Raises:
            AssertionError: a module hangs, or goes on for ever without any time passing.
            RemoteProtocolError: a module broke the protocol.
        """
        turns = dict.fromkeys((instance.name for instance in self.instances), 0)
        with self.clock.virtual():
            while True:
                is_moving = self._exchange_all()
                ready = next((each for each in self.instances if each.can_run(self.reactor.now_s)), None)
                if ready is not None:
                    turns[ready.name] += 1
                    _check_turns(ready, turns[ready.name])
                    ready.run()
                elif not is_moving:
                    return

    def let_pass(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Let virtual time pass, from one event to the next, for `seconds` or `until` something is so.

        Raises:
            AssertionError: as of `settle`.
            RemoteProtocolError: as of `settle`.
        """
        end_s = self.reactor.now_s + seconds
        self.settle()
        while not until():
            next_s = min([self.reactor.next_s, *(each.strand.wake_s for each in self.instances if each.strand)])
            if next_s > end_s + _SAME_MOMENT_S:
                self.reactor.now_s = max(self.reactor.now_s, end_s)
                return
            self.reactor.now_s = max(self.reactor.now_s, next_s)
            self.settle()

    def look_outside(self, seconds: float, until: Callable[[], bool]) -> None:
        """Give descriptors that modules watch, a serial line's, up to `seconds` of real time `until` something is so.

        Raises:
            AssertionError: as of `settle`.
            RemoteProtocolError: as of `settle`.
        """
        end_s = time.monotonic() + seconds
        while not until() and time.monotonic() < end_s:
            strands = [each.strand for each in self.instances if each.strand is not None]
            outside = [strand for strand in strands if strand.has_outside and not strand.is_over]
            if not outside:
                return
            for strand in outside:
                if strand.is_ready(_LOOK_S):
                    self.settle()

    def _exchange_all(self) -> bool:
        """Bring everything to where it goes; True if there was anything."""
        is_moving = [instance.carry(self.exchange, self.clock) for instance in self.instances]
        self.reactor.turn()
        return any([*is_moving, *(instance.flush() for instance in self.instances)])


def _trace_of_theirs(error: BaseException) -> TracebackType | None:
    """Return the traceback from the module's own frames on: ours say nothing to its author."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next and trace.tb_frame.f_code.co_filename.startswith(_SDK):
        trace = trace.tb_next
    return trace


def _check_turns(instance: PlayedInstance, turns: int) -> None:
    if turns > _MAX_TURNS:
        wake_s = instance.strand.wake_s if instance.strand is not None else math.inf
        what = "waits for 0 s again and again" if wake_s < math.inf else "is woken again and again"
        stack = instance.strand.stack() if instance.strand is not None else ""
        raise AssertionError(f"module {instance.name} {what}, and no time passes; it is at\n{stack}")
