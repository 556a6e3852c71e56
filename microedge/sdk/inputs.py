"""The module's side of its inputs: messages that have arrived and wait for the client, and what their handlers said."""

from __future__ import annotations

import traceback
from collections import deque

from microedge import wire
from microedge.errors import LocalProtocolError, printable
from microedge.message import Envelope, Message, unpack

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is, without loading typing (0.6 MiB resident)
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from microedge.sdk.log import Log

_ENVELOPES_MAX = 256
_ERROR_CHARS = 1_000


class InputBox:
    """All inputs of one module. A message for an input without a handler waits until it has one."""

    def __init__(self, names: Iterable[str], log: Log, say_now: Callable[[bytes], None]) -> None:
        """`say_now` sends a frame without waiting for others."""
        self._names = frozenset(names)
        self._log = log
        self._say_now = say_now
        self.is_watched = False  # the hub wants to know at once what became of the last message
        self._suspects: set[int] = set()  # deliveries whose beginning the hub wants to know
        self._handlers: dict[str, Callable[[Message], object]] = {}
        self._inbox: deque[tuple[int, int, str, bytes]] = deque()  # (delivery, epoch, input, record)
        self._epochs: dict[str, int] = {}
        self._envelopes: dict[bytes, Envelope] = {}

    def handle(self, name: str, callback: Callable[[Message], object]) -> None:
        """Give the messages of input `name` to `callback`.

        Raises:
            LocalProtocolError: the manifest has no such input.
        """
        if name not in self._names:
            known = ", ".join(sorted(self._names)) or "none"
            raise LocalProtocolError(f"input {name!r}: expected one of [ports] inputs in module.toml: {known}")
        self._handlers[name] = callback

    def take(self, delivery: int, epoch: int, name: str, record: bytes, *, is_suspect: bool = False) -> None:
        """The hub delivers a message. `is_suspect`: it may be what ended the process before this one."""
        if is_suspect:
            self._suspects.add(delivery)
        self._inbox.append((delivery, epoch, name, record))

    def run_next(self) -> bytes:
        """Handle the oldest message that has a handler; return the frame that answers it, b"" when there is none."""
        for index, (delivery, epoch, name, record) in enumerate(self._inbox):
            if name in self._handlers:
                del self._inbox[index]
                self.is_watched = delivery in self._suspects
                self._suspects.discard(delivery)
                if epoch < self._epochs.get(name, 0):
                    return self.run_next()  # sent before the hub knew of a failure; it comes again, in order
                if self.is_watched:
                    self._say_now(wire.encode(wire.BEGUN, delivery))
                return self._obey(delivery, name, record)
        return b""

    def _obey(self, delivery: int, name: str, record: bytes) -> bytes:
        message, _ = unpack(record, 0, self._envelopes)
        if len(self._envelopes) > _ENVELOPES_MAX:
            self._envelopes.clear()
        message.input = name
        error = b""
        try:
            self._handlers[name](message)
        except Exception as failure:  # the boundary of the module's input handlers
            self._log.error("input %s: message %s failed: %r", name, message.message_id, failure)
            traceback.print_exc()
            self._epochs[name] = self._epochs.get(name, 0) + 1
            error = (printable(f"{type(failure).__name__}: {failure}", _ERROR_CHARS) or "failed").encode()
        return wire.encode(wire.DONE, delivery, head=error)
