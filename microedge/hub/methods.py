"""Direct methods under way: who asked whom, until when, and which answer belongs to which call. Pure.

    waiting   the module is not connected; it is given the call when it becomes ready within the connect timeout,
              otherwise the answer is 404: the method has certainly not run
    sent      the module has it; its own status is the answer, or 504 when it does not answer in time or ends
              before it has answered: the method may have run, or may still be running
    late      answered with 504 already, and the module still owes its answer, which will be ignored

A late call goes on counting against the bound of its module: otherwise one that reads nothing could be sent calls
without end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from microedge.hub.calls import Invocation, method_frame
from microedge.method import BAD_REQUEST, BUSY, NO_ANSWER, NOT_FOUND, MethodResponse, refusal

MAX_PENDING = 16  # calls per module; with the largest payloads 2 MiB
MAX_PENDING_ALL = 64


@dataclass(frozen=True)
class Deliver:
    """Send this frame to that module."""

    module: str
    frame: bytes


@dataclass(frozen=True)
class Settle:
    """Tell whoever asked. Each call is settled exactly once."""

    asker: object
    response: MethodResponse


class _Call:
    __slots__ = ("asker", "deadline_s", "invocation", "is_late", "is_sent")

    def __init__(self, invocation: Invocation, asker: object, deadline_s: float) -> None:
        self.invocation = invocation
        self.asker = asker
        self.deadline_s = deadline_s
        self.is_sent = self.is_late = False


class MethodTable:
    """All calls under way. Times are monotonic seconds; what changes state returns what to do about it."""

    def __init__(self) -> None:
        self._calls: dict[int, _Call] = {}
        self._connected: set[str] = set()
        self._next_id = 1

    @property
    def pending(self) -> int:
        """How many calls somebody waits for."""
        return sum(not call.is_late for call in self._calls.values())

    @property
    def next_deadline_s(self) -> float | None:
        """When `expired` has something to do, None for never."""
        return min((call.deadline_s for call in self._calls.values() if not call.is_late), default=None)

    def call(self, invocation: Invocation, asker: object, now_s: float) -> list[Deliver | Settle]:
        """Begin a call. `asker` comes back in the Settle that ends it, perhaps at once: 400, 404 or 429."""
        problem = invocation.problem()
        if problem:
            return [Settle(asker, refusal(BAD_REQUEST, problem))]
        name = invocation.module
        is_connected = name in self._connected
        if not is_connected and not invocation.connect_timeout_s:
            return [Settle(asker, _not_connected(invocation))]
        of_module = sum(call.invocation.module == name for call in self._calls.values())
        if of_module >= MAX_PENDING or self.pending >= MAX_PENDING_ALL:
            text = f"module {name} has {of_module} calls under way, all modules {self.pending}: try again later"
            return [Settle(asker, refusal(BUSY, text))]
        number = self._next_id
        self._next_id += 1
        self._calls[number] = _Call(invocation, asker, now_s + invocation.connect_timeout_s)
        return [self._send(number, now_s)] if is_connected else []

    def connected(self, module: str, now_s: float) -> list[Deliver | Settle]:
        """The module is ready: it is given what waits for it, in the order of asking."""
        self._connected.add(module)
        waiting = [number for number, call in self._calls.items() if call.invocation.module == module]
        return [self._send(number, now_s) for number in waiting]

    def leaving(self, module: str) -> None:
        """The module was asked to end: it may still answer, and is given nothing more."""
        self._connected.discard(module)

    def disconnected(self, module: str) -> list[Deliver | Settle]:
        """The module's process is gone, and with it every answer that it owed."""
        self._connected.discard(module)
        owed = [number for number, call in self._calls.items() if call.is_sent and call.invocation.module == module]
        calls = [self._calls.pop(number) for number in owed]
        text = f"module {module} ended before it answered; the method may have run"
        return [Settle(call.asker, refusal(NO_ANSWER, text)) for call in calls if not call.is_late]

    def answered(self, module: str, number: int, response: MethodResponse) -> list[Deliver | Settle]:
        """A module answers. Unknown, late and foreign answers change nothing."""
        call = self._calls.get(number)
        if call is None or call.invocation.module != module or not call.is_sent:
            return []
        del self._calls[number]
        return [] if call.is_late else [Settle(call.asker, response)]

    def expired(self, now_s: float) -> list[Deliver | Settle]:
        """Settle every call whose time is up: 404 where the module never came, 504 where it did not answer."""
        due = [number for number, call in self._calls.items() if not call.is_late and call.deadline_s <= now_s]
        return [self._expire(number) for number in due]

    def _send(self, number: int, now_s: float) -> Deliver:
        call = self._calls[number]
        invocation = call.invocation
        call.is_sent = True
        call.deadline_s = now_s + invocation.response_timeout_s
        call.invocation = replace(invocation, payload=b"")  # the module has it; 128 KiB less to keep
        return Deliver(invocation.module, method_frame(number, invocation.method, invocation.payload))

    def _expire(self, number: int) -> Settle:
        call = self._calls[number]
        if not call.is_sent:
            del self._calls[number]
            return Settle(call.asker, _not_connected(call.invocation))
        asker, call.asker, call.is_late = call.asker, None, True
        invocation = call.invocation
        text = f"module {invocation.module} did not answer {invocation.method} in {invocation.response_timeout_s:g} s"
        return Settle(asker, refusal(NO_ANSWER, text))


def _not_connected(invocation: Invocation) -> MethodResponse:
    return refusal(NOT_FOUND, f"module {invocation.module} is not connected; see: microedge status")
