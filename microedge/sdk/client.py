"""ModuleClient: everything that a module does with the hub. Blocking, and single-threaded.

Callbacks run inside `wait` and `run`, on the caller's thread, one at a time. Whatever calls the client counts as
progress: a module that hangs in its own code is seen to hang, because only the code that hangs could say otherwise.
"""

from __future__ import annotations

import select
import time
from collections import deque

from microedge import wire
from microedge.errors import LocalProtocolError
from microedge.message import BATCHED, MAX_MESSAGE_BYTES, Envelope, Message, encode_body
from microedge.method import NO_ANSWER, MethodResponse, refusal
from microedge.sdk.inputs import InputBox
from microedge.sdk.log import Log
from microedge.sdk.methods import MethodPort

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is, without loading typing (0.6 MiB resident)
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from microedge.sdk.link import Link

_ENVELOPES_MAX = 256  # cached; a module that changes a property in every message starts over now and then
_GRACE_S = 5.0  # the hub keeps the time of a call; this is for a hub that does not
_FOREVER_S = 3_600.0  # one turn of run(); poll() takes milliseconds in an int


class _WokenError(Exception):
    """A signal handler asks a poll to return: the system call would start again by itself (PEP 475)."""


class ModuleClient:
    """One module's connection to its hub. The runner builds it; a module gets it as the argument of its `main`."""

    def __init__(self, link: Link, start: dict[str, Any]) -> None:
        """`link` is open; `start` is the decoded START frame. Does no I/O."""
        self._link = link
        self._outputs = frozenset(start["outputs"])
        self._window: int = start["window"]
        self._window_bytes: int = start["window_bytes"]
        self._progress_s: float = start["progress_s"]
        self.device: str = start["device"]
        self.module: str = start["module"]
        self._generation: str = start.get("generation", "")
        self.data_dir: str = start["data_dir"]
        self.desired: dict[str, Any] = start["desired"]
        self.log = Log(start["env"].get("LOG_LEVEL", "info"))
        self._sequence = 0
        self._unacknowledged: deque[tuple[int, int]] = deque()  # (sequence, bytes)
        self._unacknowledged_bytes = 0
        self._heads: dict[object, Envelope] = {}
        self._is_stopping = False
        self._is_polling = False  # in wait(), where a request to stop must be noticed at once
        self._is_obeying = False  # within a handler: the next message or call waits until it has returned
        self._next_progress_s = 0.0
        self._poll = select.poll()
        self._poll.register(link.fileno(), select.POLLIN)
        self._watched: dict[int, Callable[[], object]] = {}
        self._timers: list[list[Any]] = []  # [due_s, interval_s, callback]
        self._inputs = InputBox(start["inputs"], self.log, self._say_now)
        self._methods = MethodPort(self.module, self.log)

    @property
    def identity(self) -> str:
        """The module identity, `/devices/<device>/modules/<module>`."""
        return f"/devices/{self.device}/modules/{self.module}"

    @property
    def generation(self) -> str:
        """The generation id: another one after the module was deleted and made again; "" when it runs alone."""
        return self._generation

    @property
    def is_stopping(self) -> bool:
        """True once the supervisor has asked this module to return from `main`."""
        return self._is_stopping

    # --- Sending ---

    def send(
        self,
        output: str,
        body: object,
        *,
        properties: dict[str, str] | None = None,
        content_type: str | None = None,
        ttl_s: int | None = None,
        durability: str = BATCHED,
    ) -> int:
        """Send one message and return its sequence number, counted from 1 since the module started.

        `body` is bytes (sent as it is), a string, or a JSON value; a dict or list makes the content type
        `application/json` and the encoding `utf-8` by itself. `ttl_s` limits how long it may wait for its receiver
        (None: as the route or the store says; -1: for ever). `durability` is "batched" (acknowledged when the
        upstream has it or the card has it, whichever comes first), "immediate" (committed at once) or "volatile"
        (RAM only).

        Nothing is durable when this returns: see `flush`. Never blocks while the window of 256 unacknowledged
        messages has room; then blocks until the hub acknowledges some.

        Raises:
            LocalProtocolError: the output is not in the manifest, the message exceeds 256 KiB, or its properties
                exceed 64 KiB.
            ValueError: a property, the content type, the TTL or the durability is not valid, or a number is not finite.
            TypeError: the body holds something that JSON cannot express.
            HubGoneError: the supervisor is gone; let it end the module.
        """
        data, guessed_type, encoding = encode_body(body)
        if content_type is None:
            content_type = guessed_type
        elif content_type == "application/json" and not encoding:
            encoding = "utf-8"  # RFC 8259: JSON between systems is UTF-8; a route's $body asks for both
        kind = (output, content_type, encoding, ttl_s, durability)
        envelope = self._heads.get((kind, tuple(properties.items()) if properties else ()))
        if envelope is None:
            envelope = self._new_envelope(kind, properties or {})
        size_bytes = len(data) + envelope.size_bytes
        if size_bytes > MAX_MESSAGE_BYTES:
            raise LocalProtocolError(f"message of bytes={size_bytes}: expected at most {MAX_MESSAGE_BYTES}; split it")
        if len(envelope.raw) > wire.MAX_HEAD_BYTES:
            raise LocalProtocolError(
                f"properties and types of encoded_bytes={len(envelope.raw)}: expected at most {wire.MAX_HEAD_BYTES}"
            )
        while self._is_window_full(size_bytes):
            self._turn(time.monotonic() + self._progress_s)
        self._sequence += 1
        self._unacknowledged.append((self._sequence, size_bytes))
        self._unacknowledged_bytes += size_bytes
        head = envelope.raw
        taken_ms = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
        header = wire.HEADER.pack(len(head) + len(data), wire.SEND, 0, len(head), self._sequence, taken_ms)
        self._link.put(header + head + data)
        return self._sequence

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything sent so far is acknowledged; return False when `timeout_s` is up before that.

        Acknowledged means that the upstream or the receiving module has it, or that it is committed to the card.
        Callbacks do not run meanwhile.

        Raises:
            HubGoneError: the supervisor is gone.
        """
        last, deadline_s = self._sequence, time.monotonic() + timeout_s
        is_time_up = False
        while self._unacknowledged and self._unacknowledged[0][0] <= last:
            if is_time_up:
                return False
            is_time_up = time.monotonic() >= deadline_s  # even then it looks at what has arrived
            self._turn(deadline_s)
        return True

    # --- Receiving and waiting ---

    def ready(self) -> None:
        """Tell the supervisor that the module works now. From here on inputs are delivered and hanging is noticed."""
        self._link.put(wire.encode(wire.READY))
        self._link.write()

    def on_desired(self, callback: Callable[[dict[str, Any], dict[str, Any]], object]) -> None:
        """Call `callback(patch, desired)` at once, with the whole desired document as the patch."""
        callback(dict(self.desired), self.desired)

    def on_input(self, name: str, callback: Callable[[Message], object]) -> None:
        """Call `callback(message)` for each message that a route brings to input `name`.

        It is acknowledged after the callback returns; an exception is logged and means that it is delivered again.

        Raises:
            LocalProtocolError: the manifest has no such input.
        """
        self._inputs.handle(name, callback)

    def on_method(self, name: str, callback: Callable[[Any], object]) -> None:
        """Let others call `callback(payload)` as direct method `name` of this module, one call at a time.

        It returns a JSON value, which is answered with status 200, or a `MethodResponse`. An exception is logged and
        answered with 500 and its text.

        Raises:
            LocalProtocolError: the name is not 1 to 100 printable ASCII characters without space, /, + and #.
        """
        self._methods.handle(name, callback)

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
            ValueError: the payload exceeds 128 KiB, or a time is out of its range.
            HubGoneError: the supervisor is gone.
        """
        times = {"timeout_s": timeout_s, "connect_timeout_s": connect_timeout_s}
        self._link.put(self._methods.ask(module, method, payload, **times))
        request, was_stopping = self._methods.request, self._is_stopping
        deadline_s = time.monotonic() + timeout_s + connect_timeout_s + _GRACE_S
        answer = None
        while answer is None and time.monotonic() < deadline_s and self._is_stopping <= was_stopping:
            self._turn(deadline_s)
            answer = self._methods.answer(request)
        self._methods.forget(request)
        return answer or refusal(NO_ANSWER, f"no answer of module {module} while this one could wait for it")

    def every(self, seconds: float, callback: Callable[[], object]) -> None:
        """Call `callback()` each `seconds`, first after one interval; missed calls are skipped, not made up for.

        Raises:
            ValueError: `seconds` is not above 0.
        """
        if seconds <= 0:
            raise ValueError(f"every({seconds!r}): expected more than 0 seconds")
        self._timers.append([time.monotonic() + seconds, seconds, callback])

    def watch(self, fd: int, callback: Callable[[], object] | None) -> None:
        """Call `callback()` while descriptor `fd` is readable or its other end is gone; None ends the watch."""
        if callback is None:
            if self._watched.pop(fd, None) is not None:
                self._poll.unregister(fd)
            return
        self._watched[fd] = callback
        self._poll.register(fd, select.POLLIN)

    def wait(self, seconds: float) -> bool:
        """Run callbacks for `seconds`; return True when the time is up, False as soon as the module should end.

        Raises:
            HubGoneError: the supervisor is gone.
        """
        deadline_s = time.monotonic() + seconds
        while True:
            self._run_timers()
            self._dispatch(self._inputs)
            self._dispatch(self._methods)
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
        while self.wait(_FOREVER_S):
            pass

    def request_stop(self) -> None:
        """Make `wait` and `run` return: what the supervisor's stop and SIGTERM do. Safe in a signal handler."""
        self._is_stopping = True
        if self._is_polling:
            self._is_polling = False
            raise _WokenError

    # --- Private ---

    def _is_window_full(self, size_bytes: int) -> bool:
        count = len(self._unacknowledged)
        if not count:
            return False  # a single message may be larger than the bytes granted
        return count >= self._window or self._unacknowledged_bytes + size_bytes > self._window_bytes

    def _new_envelope(self, kind: tuple[str, str, str, int | None, str], properties: dict[str, str]) -> Envelope:
        """Check and keep the envelope for one kind of message: (output, type, encoding, TTL, durability)."""
        output, content_type, encoding, ttl_s, durability = kind
        if output not in self._outputs:
            known = ", ".join(sorted(self._outputs)) or "none"
            raise LocalProtocolError(f"output {output!r}: expected one of [ports] outputs in module.toml: {known}")
        if len(self._heads) >= _ENVELOPES_MAX:
            self._heads.clear()
        envelope = self._heads[kind, tuple(properties.items())] = Envelope(
            output,
            content_type=content_type,
            content_encoding=encoding,
            properties=dict(properties),
            ttl_s=ttl_s,
            durability=durability,
        )
        return envelope

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

    def _say_now(self, frame: bytes) -> None:
        self._link.put(frame)
        self._link.write()

    def _read(self) -> None:
        for kind, number, time_ms, head, body in self._link.read():
            if kind == wire.ACK:
                self._acknowledge(number)
            elif kind == wire.DELIVER:
                self._inputs.take(number, time_ms, head.decode(), body)
            elif kind == wire.SUSPECT:
                self._inputs.take(number, time_ms, head.decode(), body, is_suspect=True)
            elif kind == wire.METHOD:
                self._methods.take_call(number, head, body)
            elif kind == wire.INVOKED:
                self._methods.take_answer(number, head, body)
            elif kind == wire.STOP:
                self._is_stopping = True

    def _acknowledge(self, sequence: int) -> None:
        pending = self._unacknowledged
        while pending and pending[0][0] <= sequence:
            self._unacknowledged_bytes -= pending.popleft()[1]

    def _run_timers(self) -> None:
        now_s = time.monotonic()
        for timer in self._timers:
            if timer[0] <= now_s:
                timer[0] += timer[1] * (1 + (now_s - timer[0]) // timer[1])
                timer[2]()

    def _next_timer_s(self) -> float:
        return min((timer[0] for timer in self._timers), default=time.monotonic() + _FOREVER_S)

    def _dispatch(self, box: InputBox | MethodPort) -> None:
        """Run what has arrived, one after the other; nothing while a handler itself waits."""
        while not self._is_obeying and not self._is_stopping:
            self._is_obeying = True
            try:
                answer = box.run_next()
            finally:
                self._is_obeying = False
            if not answer:
                return
            self._link.put(answer)
            if self._inputs.is_watched:
                self._link.write()
