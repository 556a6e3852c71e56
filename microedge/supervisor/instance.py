"""One module instance: carries out what the life-cycle table decides, and knows why it is in its state.

The table (`lifecycle.py`) says what to do; this class does it: processes, timers, signals. What travels over the
socket goes to the exchange.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from microedge import wire
from microedge.config.plan import InstancePlan
from microedge.errors import LocalProtocolError, RemoteProtocolError
from microedge.hub.session import WINDOW, WINDOW_BYTES, Received, Session
from microedge.reactor import Reactor, Timer
from microedge.supervisor import lifecycle
from microedge.supervisor.launcher import Launcher
from microedge.supervisor.lifecycle import EXIT_CONFIG, Action, Event, Exit, State
from microedge.supervisor.logs import LogRing
from microedge.supervisor.process import Process, exit_of
from microedge.supervisor.processes import Reaper
from microedge.supervisor.wall_clock import WallClock, boot_ms

log = logging.getLogger(__name__)

_DUMP_S = 2.0  # for the stacks of all threads to reach the log, before SIGKILL
_UNLIMITED_S = 3_600.0  # progress interval of a module that may block for as long as it likes
_DOWN = (State.STOPPED, State.BACKOFF, State.FAILED)


class SessionEvents(Protocol):
    """What an instance tells the exchange."""

    def session_opened(self, instance: Instance) -> None: ...
    def session_received(self, instance: Instance, received: Received) -> None: ...
    def session_closed(self, instance: Instance) -> None: ...


@dataclass(frozen=True)
class Services:
    """What all instances share."""

    reactor: Reactor
    launcher: Launcher
    reaper: Reaper
    exchange: SessionEvents
    device: str
    data_dir: str  # holds one directory per instance
    generation_of: Callable[[str], str] = lambda module: ""  # the generation id of an instance's identity
    start_twin: Callable[[Instance], dict[str, Any]] = lambda instance: {"desired": {}}  # what START says of its twin
    clock: WallClock = field(default_factory=WallClock)


class Instance:
    """Built without I/O; `start` begins its life."""

    def __init__(self, plan: InstancePlan, services: Services) -> None:
        self.plan = plan
        self.ring = LogRing()
        self.state = State.STOPPED
        self.reason = ""
        self.restarts = 0
        self.sent = 0  # messages that arrived from it, over all its processes
        self.delivered = 0  # messages that it was given on its inputs
        self.session: Session | None = None
        self.process: Process | None = None
        self.started_s = 0.0
        self.last_exit: Exit | None = None
        self.began_ms = self.ended_ms = self.restarted_ms = 0  # of its processes, CLOCK_BOOTTIME; 0: there was none
        self.next_start_s = 0.0
        self.is_stopped_by_hand = False
        self.changed: Callable[[Instance], None] = lambda instance: None  # called after every change of state
        self._services = services
        self._failures = lifecycle.Failures()
        self._heard_s = 0.0
        self._timer: Timer | None = None  # there is one deadline in each state
        self._blame = ""  # why we are killing it, if we are

    @property
    def name(self) -> str:
        return self.plan.name

    @property
    def is_down(self) -> bool:
        """True when no process of it exists."""
        return self.state in _DOWN

    @property
    def is_leaving(self) -> bool:
        """True when its process was asked to end: whatever it does about that is no failure."""
        return self.state in (State.STOPPING, State.RESTARTING)

    def start(self) -> None:
        self._handle(Event.START)

    def stop(self) -> None:
        self._handle(Event.STOP)

    def restart(self) -> None:
        self._handle(Event.RESTART)

    def retry(self) -> None:
        """Start it now if it waits in back-off, or has failed because of its settings: they are others now."""
        is_unset = self.state is State.FAILED and self.last_exit is not None and self.last_exit.code == EXIT_CONFIG
        if (self.state is State.BACKOFF or is_unset) and not self.is_stopped_by_hand:
            self.start()

    def replace(self, plan: InstancePlan) -> None:
        """Use another plan from the next start on."""
        self.plan = plan

    def write(self, frame: bytes) -> None:
        """Send a frame to the module; dropped when there is none."""
        if self.process is not None:
            self.process.write(frame)

    def kill(self) -> None:
        """Kill it at once, whatever its state."""
        if self.process is not None:
            self.process.kill()

    # --- The table and its actions ---

    def _handle(self, event: Event) -> None:
        before = self.state
        self.state, actions = lifecycle.step(before, event)
        for action in actions:
            _ACTIONS[action](self)
        if self.state is not before:
            self._state_changed(before)

    def _state_changed(self, before: State) -> None:
        if self.state is State.RUNNING:
            self.reason = ""
            self._disarm()
            if self._hang_timeout_s:
                self._arm(self._hang_timeout_s, self._check_progress)
        elif self.state in (State.STOPPED, State.FAILED):
            self._disarm()
        log.debug("module %s: %s -> %s", self.name, before.value, self.state.value)
        self.changed(self)

    def _spawn(self) -> None:
        self.next_start_s = 0.0
        self._blame = ""
        self.ring.begin_run()
        services = self._services
        try:
            data_dir = os.path.join(services.data_dir, self.name)
            os.makedirs(data_dir, mode=0o700, exist_ok=True)
            document = json.dumps(self._start_document(data_dir), separators=(",", ":"), ensure_ascii=False)
            frame = wire.encode(wire.START, body=document.encode("utf-8", "surrogatepass"))  # a path may be no UTF-8
            self.process = Process(services.reactor, self.ring)
        except OSError as error:  # no descriptors left, or a disk that is full or read-only
            self._spawned(0, f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror))
            return
        except LocalProtocolError as error:  # a twin can hardly be that large, env can
            self._spawned(0, str(error))
            return
        self.session = Session(self.name, os.urandom(6).hex())
        self._heard_s = self.started_s = time.monotonic()
        self.began_ms = boot_ms()
        self.process.spawn(services.launcher, self.plan.image.launch, frame, self._spawned)
        self._arm(self.plan.supervision.ready_timeout_s, self._ready_late)

    def _spawned(self, pid: int, error: str) -> None:
        if error:
            self.reason = f"cannot be started: {error}"
            log.error("module %s cannot be started: %s", self.name, error)
            self._end_process()
            self._count_failure()
            self._handle(Event.SPAWN_FAILED)
            return
        assert self.process is not None
        assert self.session is not None
        self.process.pid = pid
        self._services.reaper.expect(pid, self._exited)
        self.process.listen(self._received, self._hung_up)
        if self.is_leaving:
            self._ask_to_stop()
        elif self.state is State.UNHEALTHY:  # given up while it was being made: there are no stacks to dump yet
            self.process.kill()

    def _ask_to_stop(self) -> None:
        self.reason = "stopping"
        self.write(wire.encode(wire.STOP))
        if self.process is not None:
            self.process.signal(signal.SIGTERM)
        self._arm(self.plan.supervision.stop_timeout_s, self._stop_late)

    def _ready_late(self) -> None:
        self._blame = f"not ready within ready_timeout_s={self.plan.supervision.ready_timeout_s:g}"
        self._handle(Event.READY_LATE)

    def _stop_late(self) -> None:
        timeout_s = self.plan.supervision.stop_timeout_s
        self._blame = f"killed, because it did not stop within stop_timeout_s={timeout_s:g}"
        log.warning("module %s did not stop within stop_timeout_s=%g: killed", self.name, timeout_s)
        self._handle(Event.STOP_LATE)

    def _dump_stacks(self) -> None:
        self.reason = self._blame
        log.error("module %s %s: its stacks go to its log, then it is killed", self.name, self._blame)
        if self.process is not None:
            self.process.signal(signal.SIGCONT)
            self.process.signal(signal.SIGABRT)  # faulthandler writes the stacks of all threads
        self._arm(_DUMP_S, lambda: self._handle(Event.DUMP_LATE))

    def _kill(self) -> None:
        if self.process is not None:
            self.process.kill()

    def _wait_backoff(self) -> None:
        delay_s = self._failures.delay_s
        self.next_start_s = time.monotonic() + delay_s
        self._arm(delay_s, self._start_again)

    def _start_again(self) -> None:
        self.restarts += 1
        self.restarted_ms = boot_ms()
        self._handle(Event.BACKOFF_OVER)

    def _forget_failures(self) -> None:
        self._failures = lifecycle.Failures()
        self.reason = ""

    # --- What the process does ---

    def _received(self, data: bytes) -> None:
        assert self.session is not None
        self._heard_s = time.monotonic()
        try:
            received = self.session.receive(data, *self._services.clock.look())
        except RemoteProtocolError as error:
            self._break_off(f"broke the protocol: {error}")
            return
        if received.is_ready and self.state is State.STARTING:
            self._services.exchange.session_opened(self)
            self._handle(Event.READY)
        self._services.exchange.session_received(self, received)

    def _hung_up(self) -> None:
        """It closed descriptor 3: without it it is no module. Its exit usually follows at once."""
        if self.process is None:
            return
        self._services.reactor.call_later(1.0, self._check_gone(self.process))

    def _check_gone(self, process: Process) -> Callable[[], None]:
        def check() -> None:
            if self.process is process:
                self._break_off("closed its connection to the hub")

        return check

    def _break_off(self, why: str) -> None:
        self._blame = why
        log.error("module %s %s: killed", self.name, why)
        if self.process is not None:
            self.process.hang_up()
            self.process.kill()

    def _exited(self, status: int) -> None:
        code, signum = exit_of(status)
        process, session = self.process, self.session
        if process is not None and session is not None:
            process.pid = 0  # reaped: the number may belong to somebody else now
            for data in process.rest():
                if process.is_open:  # until it breaks the protocol
                    self._received(data)
        uptime_s = time.monotonic() - self.started_s
        was_unhealthy = self.state is State.UNHEALTHY
        self._end_process()
        self._count_failure(uptime_s)
        self.last_exit, self.ended_ms = Exit(code, signum, was_unhealthy), boot_ms()
        event = lifecycle.classify(self.plan.supervision.restart, self.last_exit)
        self._explain(self.last_exit, event, uptime_s)
        self._handle(event)
        self._services.reaper.sweep()

    def _explain(self, exit_: Exit, event: Event, uptime_s: float) -> None:
        how = exit_.text()
        if self.is_leaving:
            by_hand = "stopped by hand" if self.is_stopped_by_hand else ""
            self.reason = "; ".join(part for part in (by_hand, self._blame) if part)
            log.info("module %s stopped: %s", self.name, how)
            return
        last_words = self.ring.last_error() if exit_.code else ""
        facts = [self._blame or how]
        if last_words and not self._blame:
            facts.append(last_words)
        delay_s = self._failures.delay_s
        if event is Event.EXIT_AGAIN:
            plan = f"restart in {delay_s:.0f} s" if delay_s else "restarted at once"
        elif exit_.code == EXIT_CONFIG:
            plan = "not restarted until its files or its settings change, or: microedge restart " + self.name
        else:
            plan = f"not restarted: its policy is {self.plan.supervision.restart}"
        self.reason = "; ".join([*facts, plan])
        level = logging.INFO if event is Event.EXIT_DONE else logging.WARNING
        log.log(
            level, "module %s %s; %s: uptime_s=%.1f restarts=%d", self.name, facts[0], plan, uptime_s, self.restarts
        )

    def _end_process(self) -> None:
        if self.process is not None:
            self.process.close()
        if self.session is not None:
            self._services.exchange.session_closed(self)
        self.process = self.session = None

    def _count_failure(self, uptime_s: float = 0.0) -> None:
        if not self.is_leaving:
            self._failures = self._failures.after_run(uptime_s)

    # --- Progress and timers ---

    def _check_progress(self) -> None:
        silent_s = time.monotonic() - self._heard_s
        limit_s = self._hang_timeout_s
        is_excused = self.process is not None and (self.process.is_throttled or self.process.is_paused)
        if silent_s >= limit_s and not is_excused:
            self._blame = f"hung: no progress for hang_timeout_s={limit_s:g}"
            self._handle(Event.SILENT)
        else:
            self._arm(max(0.1, limit_s - silent_s) if not is_excused else limit_s, self._check_progress)

    @property
    def _hang_timeout_s(self) -> float:
        return self.plan.supervision.hang_timeout_s

    def _arm(self, delay_s: float, callback: Callable[[], None]) -> None:
        self._disarm()
        self._timer = self._services.reactor.call_later(delay_s, callback)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start_document(self, data_dir: str) -> dict[str, Any]:
        image, plan = self.plan.image, self.plan
        hang_s = plan.supervision.hang_timeout_s
        return {
            "device": self._services.device,
            "module": self.name,
            "generation": self._services.generation_of(self.name),
            "image": image.name,
            "image_dir": image.directory,
            "entry_module": image.entry_module,
            "entry_function": image.entry_function,
            "inputs": image.inputs,
            "outputs": image.outputs,
            **self._services.start_twin(self),
            "env": dict(plan.env),
            "limits": {"memory_mib": plan.limits.memory_mib, "open_files": plan.limits.open_files},
            "data_dir": data_dir,
            "window": WINDOW,
            "window_bytes": WINDOW_BYTES,
            "durability": self.plan.durability,
            "progress_s": hang_s / 3 if hang_s else _UNLIMITED_S,
        }


_ACTIONS: dict[Action, Callable[[Instance], None]] = {
    Action.SPAWN: Instance._spawn,
    Action.ASK_TO_STOP: Instance._ask_to_stop,
    Action.DUMP_STACKS: Instance._dump_stacks,
    Action.KILL: Instance._kill,
    Action.WAIT_BACKOFF: Instance._wait_backoff,
    Action.FORGET_FAILURES: Instance._forget_failures,
}
