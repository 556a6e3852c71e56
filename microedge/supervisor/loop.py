"""The event loop: descriptors, timers and calls from other threads, on `selectors`.

Not asyncio: a wake-up costs a third less here, and a hub of plain functions needs no coroutines. Callbacks run one at
a time on the thread that called `run`. An exception from a callback is a bug of the supervisor: it leaves `run`.
"""

from __future__ import annotations

import heapq
import os
import selectors
import signal
import time
from collections import deque
from collections.abc import Callable

_IDLE_S = 3_600.0
Callback = Callable[[], None]


class ScheduledCall:
    """A timer of the loop."""

    __slots__ = ("callback", "due_s")

    def __init__(self, due_s: float, callback: Callback | None) -> None:
        self.due_s = due_s
        self.callback = callback

    def cancel(self) -> None:
        self.callback = None

    def __lt__(self, other: ScheduledCall) -> bool:
        return self.due_s < other.due_s


class Loop:
    """Implements `microedge.reactor.Reactor`, signals and a clock."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[ScheduledCall] = []
        self._soon: deque[Callback] = deque()
        self._from_threads: deque[Callback] = deque()
        self._wake_read, self._wake_write = os.pipe()
        self._signals: dict[int, Callback] = {}
        self._is_running = False
        self._fresh: set[int] = set()  # registered in this turn: events found before belong to a closed namesake
        self._readers: dict[int, Callback] = {}
        self._writers: dict[int, Callback] = {}

    def open(self) -> None:
        """Arm the wake-up pipe for threads and signals; on the main thread, before anything else is registered."""
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self.add_reader(self._wake_read, self._woken)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)

    def close(self) -> None:
        signal.set_wakeup_fd(-1)
        self._selector.close()
        write_fd, self._wake_write = (
            self._wake_write,
            -1,
        )  # a thread that is late must not write to the number's next owner
        os.close(self._wake_read)
        os.close(write_fd)

    def run(self) -> None:
        """Run callbacks until `stop`."""
        self._is_running = True
        while self._is_running:
            self._turn()

    def stop(self) -> None:
        """Make `run` return after the current turn."""
        self._is_running = False

    # --- Reactor ---

    def add_reader(self, fd: int, callback: Callback) -> None:
        self._readers[fd] = callback
        self._watch(fd)

    def remove_reader(self, fd: int) -> None:
        if self._readers.pop(fd, None) is not None:
            self._watch(fd)

    def add_writer(self, fd: int, callback: Callback) -> None:
        self._writers[fd] = callback
        self._watch(fd)

    def remove_writer(self, fd: int) -> None:
        if self._writers.pop(fd, None) is not None:
            self._watch(fd)

    def call_later(self, delay_s: float, callback: Callback) -> ScheduledCall:
        call = ScheduledCall(time.monotonic() + delay_s, callback)
        heapq.heappush(self._timers, call)
        return call

    def call_soon(self, callback: Callback) -> None:
        self._soon.append(callback)

    def call_from_thread(self, callback: Callback) -> None:
        self._from_threads.append(callback)
        try:
            os.write(self._wake_write, b"\0")
        except BlockingIOError:
            pass  # the pipe is full of wake-ups already
        except OSError:
            pass  # the loop is closed; nobody is left to run the callback

    # --- Signals ---

    def on_signal(self, signum: int, callback: Callback) -> None:
        """Run `callback` on the loop when `signum` arrives; on the main thread only."""
        self._signals[signum] = callback
        signal.signal(signum, lambda number, frame: None)  # the wake-up pipe carries the number

    # --- Private ---

    def _turn(self) -> None:
        found = self._selector.select(self._timeout_s())
        self._fresh.clear()
        for key, events in found:
            fd = key.fd
            if fd in self._fresh:
                continue
            if events & selectors.EVENT_READ and fd in self._readers:
                self._readers[fd]()
            if events & selectors.EVENT_WRITE and fd in self._writers:
                self._writers[fd]()
        self._run_timers()
        for _ in range(len(self._soon)):  # what these add runs in the next turn, so that descriptors get their turn
            self._soon.popleft()()

    def _timeout_s(self) -> float:
        if self._soon:
            return 0.0
        while self._timers and self._timers[0].callback is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return _IDLE_S
        return min(_IDLE_S, max(0.0, self._timers[0].due_s - time.monotonic()))

    def _run_timers(self) -> None:
        now_s = time.monotonic()
        while self._timers and self._timers[0].due_s <= now_s:
            callback = heapq.heappop(self._timers).callback
            if callback is not None:
                callback()

    def _woken(self) -> None:
        try:
            numbers = os.read(self._wake_read, 4_096)
        except BlockingIOError:
            return
        while self._from_threads:
            self._from_threads.popleft()()
        for number in sorted(set(numbers) & set(self._signals)):
            self._signals[number]()

    def _watch(self, fd: int) -> None:
        wanted = (selectors.EVENT_READ if fd in self._readers else 0) | (
            selectors.EVENT_WRITE if fd in self._writers else 0
        )
        try:
            known = self._selector.get_key(fd).events
        except KeyError:
            known = 0
        if not wanted and known:
            self._selector.unregister(fd)
        elif wanted and not known:
            self._selector.register(fd, wanted)
            self._fresh.add(fd)
        elif wanted != known:
            self._selector.modify(fd, wanted)
