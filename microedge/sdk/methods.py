"""The module's side of direct methods: what others may call here, and what it calls elsewhere.

Frames and answers only; when they are looked at is the client's business.
"""

from __future__ import annotations

import json
from collections import deque

from microedge import wire
from microedge.errors import LocalProtocolError, printable
from microedge.method import (
    FAILED,
    NAME_RULE,
    NO_ANSWER,
    NOT_FOUND,
    OK,
    MethodResponse,
    check_timeouts,
    decode_payload,
    encode_payload,
    is_method_name,
    refusal,
)
from microedge.sdk.job import Job
from microedge.sdk.requests import Requests

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is, without loading typing (0.6 MiB resident)
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from microedge.sdk.log import Log

    Handler = Callable[[Any], object]


class MethodPort:
    """Calls that have arrived and wait for the client, and answers to calls of its own."""

    def __init__(self, module: str, log: Log) -> None:
        self._module = module
        self._log = log
        self._handlers: dict[str, Handler] = {}
        self._inbox: deque[tuple[int, str, bytes]] = deque()  # (call id, method, payload)
        self._requests = Requests()

    def handle(self, name: str, callback: Handler) -> None:
        """Let others call `callback(payload)` as method `name`; a later one replaces it.

        Raises:
            LocalProtocolError: no method can have this name.
        """
        if not is_method_name(name):
            raise LocalProtocolError(f"method {name!r}: expected {NAME_RULE}")
        self._handlers[name] = callback

    def take_call(self, call: int, head: bytes, body: bytes) -> None:
        """The hub wants a method called."""
        self._inbox.append((call, head.decode(), body))

    def next_job(self) -> Job | None:
        """Take the call that was asked for first out of the box; None when there is none."""
        if not self._inbox:
            return None
        call, name, body = self._inbox.popleft()
        return _Call(self._log, self._handlers.get(name) or self._unknown(name), call, name, body)

    def ask(
        self, module: str, method: str, payload: object, *, timeout_s: float, connect_timeout_s: float
    ) -> tuple[int, bytes]:
        """Begin a call of another module's method: return its id and the frame for the hub. `answer` has the outcome.

        Raises:
            TypeError: the payload holds something that JSON cannot express.
            ValueError: it exceeds 128 KiB or 100 levels, or a time is out of its range.
        """
        check_timeouts(timeout_s, connect_timeout_s)
        body = encode_payload(payload)
        head: dict[str, object] = {"module": module, "method": method, "response_timeout_s": timeout_s}
        if connect_timeout_s:
            head["connect_timeout_s"] = connect_timeout_s
        request = self._requests.begin()
        return request, wire.encode(wire.INVOKE, request, head=json.dumps(head).encode(), body=body)

    def take_answer(self, request: int, head: bytes, body: bytes) -> None:
        """The hub brings the answer to a call; one that nobody waits for any more is ignored."""
        self._requests.settle(request, MethodResponse(int(head), decode_payload(body)))

    def answer(self, request: int) -> MethodResponse | None:
        """Return the answer to a call, None while there is none."""
        found: MethodResponse | None = self._requests.answer(request)
        return found

    def forget(self, request: int) -> None:
        """Wait for this answer no longer."""
        self._requests.forget(request)

    def _unknown(self, name: str) -> Handler:
        known = ", ".join(sorted(self._handlers)) or "none"
        text = f"module {self._module} has no method {printable(name)}; it has: {known}"
        return lambda payload: refusal(NOT_FOUND, text)


def no_answer(module: str) -> MethodResponse:
    """Return what a caller gets that could not wait any longer for `module`."""
    return refusal(NO_ANSWER, f"no answer of module {module} while this one could wait for it")


class _Call(Job):
    """One call at its handler."""

    __slots__ = ("_body", "_call", "_handler", "_name")

    def __init__(self, log: Log, handler: Handler, call: int, name: str, body: bytes) -> None:
        super().__init__(log)
        self._handler = handler
        self._call = call
        self._name = name
        self._body = body

    @property
    def title(self) -> str:
        return f"method {self._name}"

    def run(self) -> object:
        return self._handler(decode_payload(self._body))

    def answer(self) -> bytes:
        response = refusal(FAILED, self.failure) if self.failure else self.result
        if not isinstance(response, MethodResponse):
            response = MethodResponse(OK, response)
        try:
            payload = encode_payload(response.payload)
        except (TypeError, ValueError) as error:
            self._log.error("method %s returned what no answer can hold: %s", self._name, printable(error))
            response = refusal(FAILED, f"the answer of {self._name}: {printable(error)}")
            payload = encode_payload(response.payload)
        return wire.encode(wire.RESULT, self._call, head=b"%d" % response.status, body=payload)
