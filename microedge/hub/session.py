"""The hub's side of one module's connection: frames in, messages and events out; credit and acknowledgement.

A session lives as long as one process of the instance. Its id names that run: `session` plus `sequence` is the
message id, so that a message keeps its identity through every redelivery.

A message is acknowledged when nothing waits for it any more (`Message.waiting` is 0: every endpoint has it, or the
card has it). Acknowledgements are cumulative and in order: one slow message holds back those behind it, which costs
credit and nothing else.
"""

from __future__ import annotations

from collections import deque

from microedge import wire
from microedge.errors import RemoteProtocolError, printable
from microedge.hub.calls import Invocation, read_invocation, read_result
from microedge.hub.twin_frames import read_report
from microedge.message import MAX_MESSAGE_BYTES, SYNCED, Envelope, Message
from microedge.method import MethodResponse

WINDOW = 256  # messages that a module may have unacknowledged
WINDOW_BYTES = 1_048_576  # and bytes; 20 modules at their limit stay within 20 MiB
_ENVELOPES_MAX = 1_024
_ERROR_CHARS = 1_000  # of what a handler raised, as the SDK cuts it; it goes to the log and becomes a dead letter
_LATEST_MS = 1 << 48  # 8,900 years: beyond it is no clock but garbage, and the queue's integers end somewhere


class Received:
    """What one read from a module's socket contained, in order within each list."""

    __slots__ = ("begun", "done", "invocations", "is_ready", "messages", "reports", "results")

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.begun: list[int] = []  # delivery ids of suspects whose handler runs
        self.done: list[tuple[int, str]] = []  # (delivery id, "" or what the handler raised)
        self.results: list[tuple[int, MethodResponse]] = []  # (call id, answer) of methods that were called
        self.invocations: list[tuple[int, Invocation]] = []  # (request id, what it wants called)
        self.reports: list[tuple[int, object]] = []  # (request id, patch of reported properties, unchecked JSON)
        self.is_ready = False


class Session:
    """Pure: no socket, no clock."""

    def __init__(self, module: str, session: str) -> None:
        self.module = module
        self.session = session
        self.received = 0
        self.elsewhere = 0  # messages that no route took upstream; whoever routes them counts
        self._decoder = wire.Decoder(wire.FROM_MODULE)
        self._sequence = 0
        self._time_quality = SYNCED
        self._pending: deque[Message] = deque()
        self._pending_bytes = 0
        self._envelopes: dict[bytes, Envelope] = {}

    @property
    def unacknowledged(self) -> int:
        return len(self._pending)

    def receive(self, data: bytes, clock_offset_ms: int, time_quality: str = SYNCED) -> Received:
        """Decode what arrived. `clock_offset_ms` turns CLOCK_BOOTTIME into wall-clock ms, as good as `time_quality`.

        Raises:
            RemoteProtocolError: garbage, a message out of sequence, one that is too large, more than the window
                grants, an answer that is no answer, or a report that is no JSON: close this session.
        """
        result = Received()
        self._time_quality = time_quality
        messages = result.messages
        for kind, number, time_ms, head, body in self._decoder.feed(data):
            if kind == wire.SEND:
                messages.append(self._message(number, time_ms, head, body, clock_offset_ms))
            elif kind == wire.DONE:
                result.done.append((number, printable(head, _ERROR_CHARS) if head else ""))
            elif kind == wire.BEGUN:
                result.begun.append(number)
            elif kind == wire.RESULT:
                result.results.append((number, read_result(head, body)))
            elif kind == wire.INVOKE:
                result.invocations.append((number, read_invocation(head, body)))
            elif kind == wire.REPORT:
                result.reports.append((number, read_report(body)))
            elif kind == wire.READY:
                result.is_ready = True
        self.received += len(messages)
        return result

    def acknowledgement(self) -> bytes:
        """Return the ACK frame that is due now, b"" if none; moves the window. Call after the messages are routed."""
        pending = self._pending
        last = 0
        while pending and not pending[0].waiting:
            message = pending.popleft()
            last = message.sequence
            self._pending_bytes -= message.size_bytes
        if not last:
            return b""
        return wire.encode(wire.ACK, last)

    def _message(self, number: int, time_ms: int, head: bytes, body: bytes, clock_offset_ms: int) -> Message:
        if number != self._sequence + 1:
            raise RemoteProtocolError(f"message with sequence={number}: expected {self._sequence + 1}")
        if time_ms > _LATEST_MS:
            raise RemoteProtocolError(f"message with time_ms={time_ms}: expected milliseconds since boot")
        envelope = self._envelopes.get(head)
        if envelope is None:
            envelope = self._new_envelope(head)
        size_bytes = len(body) + envelope.size_bytes
        if size_bytes > MAX_MESSAGE_BYTES:
            raise RemoteProtocolError(f"message of bytes={size_bytes}: expected at most {MAX_MESSAGE_BYTES}")
        self._pending_bytes += size_bytes
        pending = self._pending
        if pending and (len(pending) >= WINDOW or self._pending_bytes > WINDOW_BYTES):
            raise RemoteProtocolError(
                f"{len(pending) + 1} unacknowledged messages of bytes={self._pending_bytes}: expected at most "
                f"{WINDOW} of {WINDOW_BYTES}"
            )
        self._sequence = number
        created_ms = max(0, time_ms + clock_offset_ms)  # a clock that says 1970 may be younger than the boot
        message = Message(envelope, body, self.module, self.session, number, time_ms, created_ms, self._time_quality)
        pending.append(message)
        return message

    def _new_envelope(self, head: bytes) -> Envelope:
        try:
            envelope = Envelope.decode(head)
        except ValueError as error:
            raise RemoteProtocolError(f"message head: {error}") from error
        if len(self._envelopes) >= _ENVELOPES_MAX:
            self._envelopes.clear()
        self._envelopes[head] = envelope
        return envelope
