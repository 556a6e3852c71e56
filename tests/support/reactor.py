"""A small real reactor on selectors, for tests that need sockets and timers but no supervisor."""

from __future__ import annotations

import heapq
import itertools
import os
import selectors
import time
from collections import deque
from collections.abc import Callable

Callback = Callable[[], None]


class _Timer:
    def __init__(self, callback: Callback) -> None:
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        self.callback = None


class TestReactor:
    """Implements microedge.reactor.Reactor. `run_until` drives it; `close` frees its descriptors."""

    __test__ = False  # not a test class

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._soon: deque[Callback] = deque()
        self._timers: list[tuple[float, int, _Timer]] = []
        self._order = itertools.count()
        self._read_fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._read_fd, selectors.EVENT_READ, {selectors.EVENT_READ: self._drain})
        self.longest_turn_s = 0.0

    def add_reader(self, fd: int, callback: Callback) -> None:
        self._change(fd, selectors.EVENT_READ, callback)

    def remove_reader(self, fd: int) -> None:
        self._change(fd, selectors.EVENT_READ, None)

    def add_writer(self, fd: int, callback: Callback) -> None:
        self._change(fd, selectors.EVENT_WRITE, callback)

    def remove_writer(self, fd: int) -> None:
        self._change(fd, selectors.EVENT_WRITE, None)

    def call_later(self, delay_s: float, callback: Callback) -> _Timer:
        timer = _Timer(callback)
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._order), timer))
        return timer

    def call_soon(self, callback: Callback) -> None:
        self._soon.append(callback)

    def call_from_thread(self, callback: Callback) -> None:
        self._soon.append(callback)
        if self._write_fd >= 0:
            os.write(self._write_fd, b"x")

    def run_until(self, condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Run until `condition()` is true.

        Raises:
            TimeoutError: it did not come true in time.
        """
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{condition} still false after {timeout_s} s")
            self.turn(max_wait_s=0.05)

    def run_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.turn(max_wait_s=max(0.0, min(0.05, end - time.monotonic())))

    def turn(self, max_wait_s: float) -> None:
        """Wait once and run what is due."""
        ready = self._selector.select(0 if self._soon else self._wait_s(max_wait_s))
        started = time.monotonic()
        for key, events in ready:
            for event in (selectors.EVENT_READ, selectors.EVENT_WRITE):
                callback = key.data.get(event) if events & event else None
                if callback:
                    callback()
        for _ in range(len(self._soon)):
            self._soon.popleft()()
        while self._timers and self._timers[0][0] <= time.monotonic():
            timer = heapq.heappop(self._timers)[2]
            if timer.callback:
                timer.callback()
        self.longest_turn_s = max(self.longest_turn_s, time.monotonic() - started)

    def close(self) -> None:
        self._selector.close()
        write_fd, self._write_fd = self._write_fd, -1
        os.close(write_fd)
        os.close(self._read_fd)

    def _wait_s(self, max_wait_s: float) -> float:
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return max_wait_s
        return max(0.0, min(max_wait_s, self._timers[0][0] - time.monotonic()))

    def _change(self, fd: int, event: int, callback: Callback | None) -> None:
        key = self._selector.get_map().get(fd)
        callbacks = dict(key.data) if key else {}
        callbacks[event] = callback
        callbacks = {event: call for event, call in callbacks.items() if call}
        if key and not callbacks:
            self._selector.unregister(fd)
        elif key:
            self._selector.modify(fd, sum(callbacks), callbacks)
        elif callbacks:
            self._selector.register(fd, sum(callbacks), callbacks)

    def _drain(self) -> None:
        os.read(self._read_fd, 4096)
