"""Virtual time for module code, wherever it looks for it: `time` itself tells it, and waits end when the test says so.

The functions are replaced for as long as a hub lives, and answer as ever to everybody but the threads of modules (and
the hub, while it works for a test): threads of the test, and those that a module starts, go by real time. So do
`datetime.now()`, and what has taken `monotonic` out of `time` before the test began, as `queue` has.
"""

from __future__ import annotations

import math
import select
import selectors
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from microedge.sdk.testing.reactor import START_S, VirtualReactor
from microedge.sdk.testing.strand import Strand

WALL_START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z: every test begins at the same moment
_ROUNDED_MS = 0.5  # what the SDK adds, because poll(2) takes whole milliseconds
_BOOT_CLOCKS = {time.CLOCK_MONOTONIC, time.CLOCK_MONOTONIC_RAW, time.CLOCK_BOOTTIME}
_WAITS = ("sleep", "poll", "DefaultSelector")  # these take the turn of a strand; the others only tell the time


class _Here(threading.local):
    is_virtual = False
    strand: Strand | None = None


class VirtualClock:
    """Shows the time of a reactor. `open` replaces, `close` puts back; of several, the last to open closes first."""

    def __init__(self, reactor: VirtualReactor) -> None:
        self._reactor = reactor
        self._here = _Here()
        self._replaced: list[tuple[Any, str, Any]] = []

    @property
    def wall_ms(self) -> int:
        """Milliseconds since the epoch."""
        return WALL_START_MS + round((self._reactor.now_s - START_S) * 1000)

    @property
    def offset_ms(self) -> int:
        """What turns milliseconds since boot into milliseconds since the epoch."""
        return WALL_START_MS - round(START_S * 1000)

    def open(self) -> None:
        """Replace what tells the time and what waits."""
        real_poll = select.poll
        for name, virtual in self._times().items():
            self._replace(time, name, virtual)
        self._replace(select, "poll", lambda: TurnPoll(real_poll(), self._strand, self._reactor))
        self._replace(selectors, "DefaultSelector", lambda: TurnSelector(self._strand, self._reactor))

    def close(self) -> None:
        """Put everything back."""
        while self._replaced:
            owner, name, real = self._replaced.pop()
            setattr(owner, name, real)

    @contextmanager
    def virtual(self) -> Iterator[None]:
        """Let the code of this block, on this thread, see virtual time."""
        before, self._here.is_virtual = self._here.is_virtual, True
        try:
            yield
        finally:
            self._here.is_virtual = before

    def enrol(self, strand: Strand) -> None:
        """Called by a strand: from now on its thread sees virtual time, and waits by turns."""
        self._here.is_virtual, self._here.strand = True, strand

    def strand_here(self) -> Strand | None:
        """Return the strand that asks, None for everybody else."""
        return self._here.strand

    @property
    def _strand(self) -> Strand:
        assert self._here.strand is not None
        return self._here.strand

    def _replace(self, owner: Any, name: str, virtual: Callable[..., Any]) -> None:
        real, here, is_wait = getattr(owner, name), self._here, name in _WAITS

        def either(*args: Any) -> Any:
            is_virtual = here.strand is not None if is_wait else here.is_virtual
            return virtual(*args) if is_virtual else real(*args)

        self._replaced.append((owner, name, real))
        setattr(owner, name, either)

    def _times(self) -> Mapping[str, Callable[..., Any]]:
        """Return, by name, what takes the place of functions in `time`."""
        reactor, real_gettime = self._reactor, time.clock_gettime

        def boot_s() -> float:
            return reactor.now_s

        def wall_s() -> float:
            return WALL_START_MS / 1000 + (reactor.now_s - START_S)

        def gettime(clock: int) -> float:
            if clock in _BOOT_CLOCKS:
                return boot_s()
            return wall_s() if clock == time.CLOCK_REALTIME else real_gettime(clock)

        def sleep(seconds: float) -> None:
            self._strand.park(reactor.now_s + max(0.0, seconds), lambda timeout_s: False)

        in_seconds: dict[str, Callable[..., float]] = {
            "monotonic": boot_s,
            "perf_counter": boot_s,
            "time": wall_s,
            "clock_gettime": gettime,
        }
        in_ns = {f"{name}_ns": _in_ns(each) for name, each in in_seconds.items()}
        return {**in_seconds, **in_ns, "sleep": sleep}


class TurnPoll:
    """A poll object whose wait is a turn: the descriptors are real, the time is not."""

    def __init__(self, poll: select.poll, strand: Strand, reactor: VirtualReactor) -> None:
        self._poll = poll
        self._strand = strand
        self._reactor = reactor
        self._fds: set[int] = set()

    def register(self, fd: int, events: int = select.POLLIN | select.POLLPRI | select.POLLOUT) -> None:
        """As of a poll object."""
        self._poll.register(fd, events)
        self._fds.add(fd)

    def modify(self, fd: int, events: int) -> None:
        """As of a poll object."""
        self._poll.modify(fd, events)

    def unregister(self, fd: int) -> None:
        """As of a poll object."""
        self._poll.unregister(fd)
        self._fds.discard(fd)

    def poll(self, timeout_ms: float | None = None) -> list[tuple[int, int]]:
        """As of a poll object, in virtual time; the hub has its turn even when something is there already."""
        is_endless = timeout_ms is None or timeout_ms < 0
        wait_s = math.inf if is_endless or timeout_ms is None else max(0.0, timeout_ms - _ROUNDED_MS) / 1000
        self._strand.park(self._reactor.now_s + wait_s, self._look, has_outside=len(self._fds) > 1)
        return self._poll.poll(0)

    def _look(self, timeout_s: float) -> bool:
        return bool(self._poll.poll(timeout_s * 1000))


class TurnSelector(selectors.PollSelector):
    """The same for asyncio, whose loop waits in a selector."""

    def __init__(self, strand: Strand, reactor: VirtualReactor) -> None:
        super().__init__()
        self._strand = strand
        self._reactor = reactor

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As of a selector, in virtual time."""
        wait_s = math.inf if timeout is None else max(0.0, timeout)
        ours = 2  # the hub's socket and the loop's own, by which other threads wake it
        self._strand.park(self._reactor.now_s + wait_s, self._look, has_outside=len(self.get_map()) > ours)
        return super().select(0)

    def _look(self, timeout_s: float) -> bool:
        return bool(super().select(timeout_s))


def _in_ns(in_seconds: Callable[..., float]) -> Callable[..., int]:
    return lambda *args: round(in_seconds(*args) * 1_000_000_000)
