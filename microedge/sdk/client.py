"""ModuleClient: everything that a module does with the hub. Blocking, and single-threaded.

Callbacks run inside `wait` and `run`, on the caller's thread, one at a time. Whatever calls the client counts as
progress: a module that hangs in its own code is seen to hang, because only the code that hangs could say otherwise.
"""

from __future__ import annotations

import select
import time

from microedge import wire
from microedge.sdk.core import FOREVER_S, GRACE_S, ClientCore
from microedge.sdk.methods import no_answer

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is, without loading typing (0.6 MiB resident)
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from microedge.method import MethodResponse
    from microedge.sdk.link import Link
    from microedge.sdk.twin import DesiredPatch


class _WokenError(Exception):
    """A signal handler asks a poll to return: the system call would start again by itself (PEP 475)."""


class ModuleClient(ClientCore):
    """One module's connection to its hub. The runner builds it; a module gets it as the argument of its `main`."""

    def __init__(self, link: Link, start: dict[str, Any]) -> None:
        """`link` is open; `start` is the decoded START frame. Does no I/O."""
        super().__init__(link, start)
        self._is_polling = False  # in wait(), where a request to stop must be noticed at once
        self._is_obeying = False  # within a handler: what arrives next waits until it has returned
        self._next_progress_s = 0.0
        self._poll = select.poll()
        self._poll.register(link.fileno(), select.POLLIN)
        self._watched: dict[int, Callable[[], object]] = {}
        self._timers: list[list[Any]] = []  # [due_s, interval_s, callback]

    # --- Sending ---

    def send(
        self,
        output: str,
        body: object,
        *,
        properties: dict[str, str] | None = None,
        content_type: str | None = None,
        ttl_s: int | None = None,
        durability: str | None = None,
    ) -> int:
        """Send one message and return its sequence number, counted from 1 since the module started.

        `body` is bytes (sent as it is), a string, or a JSON value; a dict or list makes the content type
        `application/json` and the encoding `utf-8` by itself. `ttl_s` limits how long it may wait for its receiver
        (None: as the route or the store says; -1: for ever). `durability` is "batched" (acknowledged when the
        upstream has it or the card has it, whichever comes first), "immediate" (committed at once) or "volatile"
        (RAM only); None: as the configuration says, which is "batched" unless it says otherwise.

        Nothing is durable when this returns: see `flush`. Never blocks while the window of 256 unacknowledged
        messages has room; then blocks until the hub acknowledges some.

        Raises:
            LocalProtocolError: the output is not in the manifest, the message exceeds 256 KiB, or its properties
                exceed 64 KiB.
            ValueError: a property, the content type, the TTL or the durability is not valid, or a number is not finite.
            TypeError: the body holds something that JSON cannot express.
            HubGoneError: the supervisor is gone; let it end the module.
        """
        window = self._window
        head, data, size_bytes = window.message(
            output, body, properties, content_type, ttl_s=ttl_s, durability=durability
        )
        frame = window.frame(head, data, size_bytes)
        while not frame:
            self._turn(time.monotonic() + self._progress_s)
            frame = window.frame(head, data, size_bytes)
        self._link.put(frame)
        return window.last

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything sent so far is acknowledged; return False when `timeout_s` is up before that.

        Acknowledged means that the upstream or the receiving module has it, or that it is committed to the card.
        Callbacks do not run meanwhile.

        Raises:
            HubGoneError: the supervisor is gone.
        """
        last, deadline_s = self._window.last, time.monotonic() + timeout_s
        is_time_up = False
        while not self._window.is_acknowledged(last):
            if is_time_up:
                return False
            is_time_up = time.monotonic() >= deadline_s  # even then it looks at what has arrived
            self._turn(deadline_s)
        return True

    def report(self, patch: dict[str, Any]) -> int:
        """Change the reported properties of this module's twin and return their new version.

        `patch` is merged into what was reported before: None deletes a member, a dict is merged, anything else, lists
        included, is replaced whole. Blocks until the hub has answered; callbacks do not run meanwhile. Durable at most
        30 s later, and at once when microedge stops regularly; a power cut before that loses it.

        Raises:
            TwinError: the hub refuses it, because it breaks a limit of the twin (`path`, `got` and `expected` say
                where and why). Nothing was changed.
            TypeError: the patch holds something that JSON cannot express.
            ValueError: it exceeds 128 KiB of JSON or 100 levels, or a number in it is not finite.
            HubGoneError: the supervisor is gone.
        """
        request, frame = self._twin.ask(patch)
        self._link.put(frame)
        try:
            while not self._twin.answer(request):
                self._turn(time.monotonic() + self._progress_s)
            return self._twin.answer(request)
        finally:
            self._twin.forget(request)

    def invoke(
        self, module: str, method: str, payload: object = None, timeout_s: float = 30.0, *, connect_timeout_s: float = 0
    ) -> MethodResponse:
        """Call a direct method of another module of this device and return its answer, whatever its status.

        Blocks until the answer is here, for at most `timeout_s` (5 to 300) behind `connect_timeout_s` (0 to 300, how
        long the module may take to be ready); no callback runs meanwhile, so two modules that call each other get
        504 when the time is up. 404: the module is not connected, the method has not run; 504: no answer in time, it
        may have run, or this module was asked to stop while it waited. The payload is at most 128 KiB of JSON.

        Raises:
            TypeError: the payload holds something that JSON cannot express.
            ValueError: the payload exceeds 128 KiB or 100 levels, or a time is out of its range.
            HubGoneError: the supervisor is gone.
        """
        times = {"timeout_s": timeout_s, "connect_timeout_s": connect_timeout_s}
        request, frame = self._methods.ask(module, method, payload, **times)
        self._link.put(frame)
        deadline_s = time.monotonic() + timeout_s + connect_timeout_s + GRACE_S
        was_stopping, answer = self._is_stopping, None
        while answer is None and time.monotonic() < deadline_s and self._is_stopping <= was_stopping:
            self._turn(deadline_s)
            answer = self._methods.answer(request)
        self._methods.forget(request)
        return answer or no_answer(module)

    # --- Receiving and waiting ---

    def on_desired(self, callback: Callable[[DesiredPatch, dict[str, Any]], object]) -> None:
        """Call `callback(patch, desired)` at once, with the whole desired document as the patch, then at each change.

        `desired` is the document without `$version`, as it is from now on. An exception in the callback comes out of
        this call or of `wait`: a module that lets it end `main` ends with the reason in its log. A later callback
        replaces this one.

        Raises:
            LocalProtocolError: the callback is a coroutine function.
        """
        self._checked(callback)
        was_obeying, self._is_obeying = self._is_obeying, True  # no change may come between the first and the next call
        try:
            callback(self._twin.whole(), self.desired)
        finally:
            self._is_obeying = was_obeying
        self._configure = callback

    def every(self, seconds: float, callback: Callable[[], object]) -> None:
        """Call `callback()` each `seconds`, first after one interval; missed calls are skipped, not made up for.

        The same callback again gets another interval, beginning now.

        Raises:
            ValueError: `seconds` is not above 0.
            LocalProtocolError: the callback is a coroutine function.
        """
        if seconds <= 0:
            raise ValueError(f"every({seconds!r}): expected more than 0 seconds")
        due_s = time.monotonic() + seconds
        for timer in self._timers:
            if timer[2] == callback:
                timer[:2] = due_s, seconds
                return
        self._timers.append([due_s, seconds, self._checked(callback)])

    def watch(self, fd: int, callback: Callable[[], object] | None) -> None:
        """Call `callback()` while descriptor `fd` is readable or its other end is gone; None ends the watch."""
        if callback is None:
            if self._watched.pop(fd, None) is not None:
                self._poll.unregister(fd)
            return
        self._watched[fd] = self._checked(callback)
        self._poll.register(fd, select.POLLIN)

    def wait(self, seconds: float) -> bool:
        """Run callbacks for `seconds`; return True when the time is up, False as soon as the module should end.

        Raises:
            HubGoneError: the supervisor is gone.
        """
        deadline_s = time.monotonic() + seconds
        while True:
            self._run_timers()
            self._obey()
            if self._is_stopping:
                return False
            self._turn(min(deadline_s, self._next_timer_s()), dispatch=True)
            if time.monotonic() >= deadline_s:
                self._run_timers()
                return not self._is_stopping

    def run(self) -> None:
        """Run callbacks until the supervisor asks the module to end.

        Raises:
            HubGoneError: the supervisor is gone.
        """
        while self.wait(FOREVER_S):
            pass

    # --- Private ---

    def _wake(self) -> None:
        """Safe in a signal handler."""
        if self._is_polling:
            self._is_polling = False
            raise _WokenError

    def _turn(self, until_s: float, *, dispatch: bool = False) -> None:
        """Wait for the hub, and with `dispatch` for watched descriptors, at most until `until_s`."""
        self._link.write()
        now_s = self._say_progress(time.monotonic())
        timeout_s = max(0.0, min(until_s, self._next_progress_s) - now_s)
        fd = self._link.fileno()
        self._poll.modify(fd, select.POLLIN | select.POLLOUT if self._link.wants_to_write else select.POLLIN)
        if not dispatch and self._watched:
            self._wait_for_hub(fd, timeout_s)
            return
        for ready_fd, _ in self._wait_for_any(timeout_s) if dispatch else self._poll.poll(timeout_s * 1000 + 0.5):
            if ready_fd == fd:
                self._read()
            elif ready_fd in self._watched:
                self._watched[ready_fd]()

    def _wait_for_any(self, timeout_s: float) -> list[tuple[int, int]]:
        """Poll, but return at once when the module is asked to stop, be it in the last moment before the call."""
        try:
            self._is_polling = True
            found = [] if self._is_stopping else self._poll.poll(timeout_s * 1000 + 0.5)
            self._is_polling = False
        except _WokenError:
            return []
        return found

    def _wait_for_hub(self, fd: int, timeout_s: float) -> None:
        """As the poll of a turn, but deaf to the watched descriptors: their callbacks run in wait() only."""
        poll = select.poll()
        poll.register(fd, select.POLLIN | select.POLLOUT if self._link.wants_to_write else select.POLLIN)
        if poll.poll(timeout_s * 1000 + 0.5):
            self._read()

    def _say_progress(self, now_s: float) -> float:
        if now_s >= self._next_progress_s:
            self._next_progress_s = now_s + self._progress_s
            self._link.put(wire.encode(wire.PROGRESS))
            self._link.write()
        return now_s

    def _run_timers(self) -> None:
        now_s = time.monotonic()
        for timer in self._timers:
            if timer[0] <= now_s:
                timer[0] += timer[1] * (1 + (now_s - timer[0]) // timer[1])
                timer[2]()

    def _next_timer_s(self) -> float:
        return min((timer[0] for timer in self._timers), default=time.monotonic() + FOREVER_S)

    def _obey(self) -> None:
        """Do what has arrived, one thing after the other; nothing while a handler itself waits."""
        while not self._is_obeying and not self._is_stopping:
            self._is_obeying = True
            try:
                if not self._do_next():
                    return
            finally:
                self._is_obeying = False

    def _do_next(self) -> bool:
        """Do one thing; return False when there is nothing to do."""
        change = self._twin.next_change()
        if change is not None:
            if self._configure is not None:
                self._configure(change, self.desired)
            return True
        job = self._next_job()
        if job is None:
            return False
        with job:
            job.result = job.run()
        self._answer(job)
        return True
