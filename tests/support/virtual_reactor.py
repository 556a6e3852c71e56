"""A reactor in virtual time: a test says how much time passes, and nothing happens otherwise."""

from __future__ import annotations

import heapq
import queue
from collections.abc import Callable


class VirtualTimer:
    def __init__(self, at_s: float, serial: int, callback: Callable[[], None]) -> None:
        self.at_s = at_s
        self.serial = serial
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True

    def __lt__(self, other: VirtualTimer) -> bool:
        return (self.at_s, self.serial) < (other.at_s, other.serial)


class VirtualReactor:
    """Implements `microedge.reactor.Reactor` without descriptors; `now_s` is also good as the queue's clock."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self.time_s = now_s
        self._serial = 0
        self._timers: list[VirtualTimer] = []
        self._soon: list[Callable[[], None]] = []
        self._from_threads: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def now_s(self) -> float:
        return self.time_s

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> VirtualTimer:
        self._serial += 1
        timer = VirtualTimer(self.time_s + max(0.0, delay_s), self._serial, callback)
        heapq.heappush(self._timers, timer)
        return timer

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._soon.append(callback)

    def call_from_thread(self, callback: Callable[[], None]) -> None:
        self._from_threads.put(callback)

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        raise NotImplementedError("a virtual reactor has no descriptors")

    remove_reader = add_writer = remove_writer = add_reader

    def turn(self) -> None:
        """Run what is due now: calls of other threads, timers, and what these call for soon."""
        while self._run_one_round():
            pass

    def advance(self, seconds: float) -> None:
        """Let time pass, stopping at each timer on the way."""
        end_s = self.time_s + seconds
        self.turn()
        while self._timers and self._timers[0].at_s <= end_s:
            self.time_s = max(self.time_s, self._timers[0].at_s)
            self.turn()
        self.time_s = end_s
        self.turn()

    def run_thread_call(self, timeout_s: float) -> bool:
        """Wait in real time for a call from another thread and run it; False if none came."""
        try:
            callback = self._from_threads.get(timeout=timeout_s)
        except queue.Empty:
            return False
        callback()
        self.turn()
        return True

    def _run_one_round(self) -> bool:
        calls, self._soon = self._soon, []
        while not self._from_threads.empty():
            calls.append(self._from_threads.get())
        while self._timers and self._timers[0].at_s <= self.time_s:
            timer = heapq.heappop(self._timers)
            if not timer.is_cancelled:
                calls.append(timer.callback)
        for call in calls:
            call()
        return bool(calls)
