"""The life of a module instance as a table: (state, event) -> (next state, what to do). Pure.

A reader sees every case here, and a test walks every cell. Whatever is not in the table changes nothing: a timer that
fires late, a second "ready", an order that is already carried out.

Restarts follow Azure IoT Edge: wait 10 s x 2^n up to 300 s, n back to 0 after ten good minutes; but the first retry
comes at once, because most crashes are single ones. Starting again is pointless when the code cannot even be loaded
(exit code 78): that waits for a person, or for the module's files to change.
"""

from __future__ import annotations

import enum
import signal
from dataclasses import dataclass

BACKOFF_UNIT_S = 10.0
BACKOFF_MAX_S = 300.0
GOOD_RUN_S = 600.0
EXIT_CONFIG = 78


class State(enum.Enum):
    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    UNHEALTHY = "unhealthy"  # hangs; its stacks are being dumped before it is killed
    BACKOFF = "backoff"
    STOPPING = "stopping"
    RESTARTING = "restarting"  # stopping, to start again at once: a person asked, or the files changed
    FAILED = "failed"


class Event(enum.Enum):
    START = "start"  # a person, the plan or a changed file wants it to run
    STOP = "stop"
    RESTART = "restart"
    READY = "ready"
    EXIT_AGAIN = "exit, policy says again"
    EXIT_DONE = "exit, policy says no more"
    EXIT_PERMANENT = "exit, and starting again cannot help"
    SILENT = "no progress within hang_timeout_s"
    READY_LATE = "not ready within ready_timeout_s"
    STOP_LATE = "still there after stop_timeout_s"
    DUMP_LATE = "still there after its stacks were dumped"
    BACKOFF_OVER = "backoff over"
    SPAWN_FAILED = "the process could not be made"


class Action(enum.Enum):
    SPAWN = "spawn"
    ASK_TO_STOP = "ask to stop"
    DUMP_STACKS = "dump stacks"
    KILL = "kill"
    WAIT_BACKOFF = "wait for the backoff"
    FORGET_FAILURES = "forget failures"


_S, _E, _A = State, Event, Action
Cell = tuple[State, tuple[Action, ...]]

_EXITS_TO_REST: dict[Event, Cell] = {
    _E.EXIT_AGAIN: (_S.STOPPED, ()),
    _E.EXIT_DONE: (_S.STOPPED, ()),
    _E.EXIT_PERMANENT: (_S.STOPPED, ()),
    _E.SPAWN_FAILED: (_S.STOPPED, ()),
}
_EXITS_TO_SPAWN: dict[Event, Cell] = dict.fromkeys(_EXITS_TO_REST, (_S.STARTING, (_A.SPAWN,)))
_EXITS_BY_POLICY: dict[Event, Cell] = {
    _E.EXIT_AGAIN: (_S.BACKOFF, (_A.WAIT_BACKOFF,)),
    _E.EXIT_DONE: (_S.STOPPED, ()),
    _E.EXIT_PERMANENT: (_S.FAILED, ()),
    _E.SPAWN_FAILED: (_S.BACKOFF, (_A.WAIT_BACKOFF,)),
}
_ALIVE: dict[Event, Cell] = {
    **_EXITS_BY_POLICY,
    _E.STOP: (_S.STOPPING, (_A.ASK_TO_STOP,)),
    _E.RESTART: (_S.RESTARTING, (_A.FORGET_FAILURES, _A.ASK_TO_STOP)),
}
_AT_REST: dict[Event, Cell] = {
    _E.START: (_S.STARTING, (_A.FORGET_FAILURES, _A.SPAWN)),
    _E.RESTART: (_S.STARTING, (_A.FORGET_FAILURES, _A.SPAWN)),
}

TABLE: dict[State, dict[Event, Cell]] = {
    _S.STOPPED: _AT_REST,
    _S.FAILED: {**_AT_REST, _E.STOP: (_S.STOPPED, ())},
    _S.BACKOFF: {**_AT_REST, _E.STOP: (_S.STOPPED, ()), _E.BACKOFF_OVER: (_S.STARTING, (_A.SPAWN,))},
    _S.STARTING: {
        **_ALIVE,
        _E.READY: (_S.RUNNING, ()),
        _E.READY_LATE: (_S.UNHEALTHY, (_A.DUMP_STACKS,)),
    },
    _S.RUNNING: {**_ALIVE, _E.SILENT: (_S.UNHEALTHY, (_A.DUMP_STACKS,))},
    _S.UNHEALTHY: {**_ALIVE, _E.DUMP_LATE: (_S.UNHEALTHY, (_A.KILL,))},
    _S.STOPPING: {
        **_EXITS_TO_REST,
        _E.START: (_S.RESTARTING, ()),
        _E.RESTART: (_S.RESTARTING, ()),
        _E.STOP_LATE: (_S.STOPPING, (_A.KILL,)),
    },
    _S.RESTARTING: {
        **_EXITS_TO_SPAWN,
        _E.STOP: (_S.STOPPING, ()),
        _E.STOP_LATE: (_S.RESTARTING, (_A.KILL,)),
    },
}


def step(state: State, event: Event) -> Cell:
    """Return the next state and what to do; an event that means nothing in this state changes nothing."""
    return TABLE[state].get(event, (state, ()))


@dataclass(frozen=True)
class Exit:
    """How a module's process ended."""

    code: int | None  # None: killed by `signal`
    signal: int = 0
    was_unhealthy: bool = False

    def text(self) -> str:
        """Say it in words, for the log and for `status`."""
        return f"exited with code {self.code}" if self.code is not None else f"killed by {_signal_name(self.signal)}"

    @property
    def as_code(self) -> int:
        """One number for both, as shells and container engines write it: 137 for SIGKILL."""
        return self.code if self.code is not None else 128 + self.signal


def classify(policy: str, exit_: Exit) -> Event:
    """Return which exit event it is under a restart policy (never, on-failure, on-unhealthy, always).

    As in IoT Edge: on-failure restarts after a code other than 0, on-unhealthy after that or after a hang, always
    after any exit.
    """
    if exit_.code == EXIT_CONFIG:
        return Event.EXIT_PERMANENT
    is_failure = exit_.code != 0
    if policy == "always" or (policy == "on-unhealthy" and (is_failure or exit_.was_unhealthy)):
        return Event.EXIT_AGAIN
    if policy == "on-failure" and is_failure:
        return Event.EXIT_AGAIN
    return Event.EXIT_PERMANENT if is_failure else Event.EXIT_DONE


def _signal_name(signum: int) -> str:
    try:
        return signal.Signals(signum).name
    except ValueError:  # Python knows no name for most real-time signals
        return f"signal {signum}"


@dataclass(frozen=True)
class Failures:
    """How often in a row it ended, and so how long to wait. The clock is monotonic seconds."""

    count: int = 0

    def after_run(self, uptime_s: float) -> Failures:
        """One more end, of a process that lived `uptime_s`; ten good minutes wipe the slate."""
        return Failures(1 if uptime_s >= GOOD_RUN_S else self.count + 1)

    @property
    def delay_s(self) -> float:
        """0 for the first, then 10, 20, 40 ... 300 s."""
        if self.count <= 1:
            return 0.0
        return min(BACKOFF_MAX_S, BACKOFF_UNIT_S * 2.0 ** min(self.count - 2, 10))
