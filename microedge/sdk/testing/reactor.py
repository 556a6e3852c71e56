"""Time as a number: a reactor in which nothing happens until somebody says that time passes."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable
from typing import NoReturn

START_S = 1_000.0  # since boot; not 0, which some code takes for "never"


class VirtualTimer:
    """A call that is due at `at_s`."""

    def __init__(self, at_s: float, callback: Callable[[], None]) -> None:
        self.at_s = at_s
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        """Forget the call."""
        self.is_cancelled = True


class VirtualReactor:
    """Implements `microedge.reactor.Reactor` without descriptors. Time passes where `now_s` (since boot) is set."""

    def __init__(self) -> None:
        self.now_s = START_S
        self._timers: list[tuple[float, int, VirtualTimer]] = []
        self._order = itertools.count()  # what is due at the same moment is called in the order of asking
        self._soon: deque[Callable[[], None]] = deque()

    @property
    def next_s(self) -> float:
        """When the next timer is due; infinite when there is none."""
        while self._timers and self._timers[0][2].is_cancelled:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else math.inf

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> VirtualTimer:
        """Call `callback` once `delay_s` have passed."""
        timer = VirtualTimer(self.now_s + max(0.0, delay_s), callback)
        heapq.heappush(self._timers, (timer.at_s, next(self._order), timer))
        return timer

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call `callback` in this turn."""
        self._soon.append(callback)

    def turn(self) -> None:
        """Run what is due now, and what that asks for in turn."""
        while self._soon or self.next_s <= self.now_s:
            if self._soon:
                self._soon.popleft()()
            else:
                heapq.heappop(self._timers)[2].callback()

    def call_from_thread(self, callback: Callable[[], None]) -> NoReturn:
        """Nothing in memory has threads of its own.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError(f"{callback!r} was called from a thread: a hub in memory has none")

    def add_reader(self, fd: int, callback: Callable[[], None]) -> NoReturn:
        """Nothing in memory has descriptors.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError(f"descriptor {fd} for {callback!r}: a hub in memory watches none")

    def remove_reader(self, fd: int) -> None:
        """There is none."""

    add_writer, remove_writer = add_reader, remove_reader
