"""The module's side of direct methods: what others may call here, and what it calls elsewhere.

Frames and answers only; when they are looked at is the client's business.
"""

from __future__ import annotations

import json
import traceback
from collections import deque

from microedge import wire
from microedge.errors import LocalProtocolError, printable
from microedge.method import (
    FAILED,
    NAME_RULE,
    NOT_FOUND,
    OK,
    MethodResponse,
    check_timeouts,
    decode_payload,
    encode_payload,
    is_method_name,
    refusal,
)

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is, without loading typing (0.6 MiB resident)
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from microedge.sdk.log import Log

_ERROR_CHARS = 1_000


class MethodPort:
    """Calls that have arrived and wait for the client, and answers to calls of its own."""

    def __init__(self, module: str, log: Log) -> None:
        self._module = module
        self._log = log
        self._handlers: dict[str, Callable[[Any], object]] = {}
        self._inbox: deque[tuple[int, str, bytes]] = deque()  # (call id, method, payload)
        self._answers: dict[int, MethodResponse | None] = {}  # by request id; None while it is awaited
        self._request = 0

    def handle(self, name: str, callback: Callable[[Any], object]) -> None:
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

    def run_next(self) -> bytes:
        """Run the method that was asked for first, if any; return the frame with its answer, b"" for none."""
        if not self._inbox:
            return b""
        call, name, body = self._inbox.popleft()
        response = self._run(name, body)
        try:
            payload = encode_payload(response.payload)
        except (TypeError, ValueError) as error:
            self._log.error("method %s returned what no answer can hold: %s", name, printable(error))
            response = refusal(FAILED, f"the answer of {name}: {printable(error)}")
            payload = encode_payload(response.payload)
        return wire.encode(wire.RESULT, call, head=b"%d" % response.status, body=payload)

    def ask(self, module: str, method: str, payload: object, *, timeout_s: float, connect_timeout_s: float) -> bytes:
        """Begin a call of another module's method: return the frame for the hub. `answer` has the outcome later.

        Raises:
            TypeError: the payload holds something that JSON cannot express.
            ValueError: it exceeds 128 KiB, or a time is out of its range.
        """
        check_timeouts(timeout_s, connect_timeout_s)
        body = encode_payload(payload)
        head: dict[str, object] = {"module": module, "method": method, "response_timeout_s": timeout_s}
        if connect_timeout_s:
            head["connect_timeout_s"] = connect_timeout_s
        self._request += 1
        self._answers[self._request] = None
        return wire.encode(wire.INVOKE, self._request, head=json.dumps(head).encode(), body=body)

    @property
    def request(self) -> int:
        """The id of the call that `ask` began last."""
        return self._request

    def take_answer(self, request: int, head: bytes, body: bytes) -> None:
        """The hub brings the answer to a call; one that nobody waits for any more is ignored."""
        if request in self._answers:
            self._answers[request] = MethodResponse(int(head), decode_payload(body))

    def answer(self, request: int) -> MethodResponse | None:
        """Return the answer to a call, None while there is none."""
        return self._answers[request]

    def forget(self, request: int) -> None:
        """Wait for this answer no longer."""
        del self._answers[request]

    def _run(self, name: str, body: bytes) -> MethodResponse:
        handler = self._handlers.get(name)
        if handler is None:
            known = ", ".join(sorted(self._handlers)) or "none"
            return refusal(NOT_FOUND, f"module {self._module} has no method {printable(name)}; it has: {known}")
        try:
            result = handler(decode_payload(body))
        except Exception as failure:  # the boundary of the module's methods
            self._log.error("method %s failed: %r", name, failure)
            traceback.print_exc()
            return refusal(FAILED, printable(f"{type(failure).__name__}: {failure}", _ERROR_CHARS))
        return result if isinstance(result, MethodResponse) else MethodResponse(OK, result)
