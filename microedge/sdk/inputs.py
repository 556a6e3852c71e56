"""The module's side of its inputs: messages that have arrived and wait for the client, and what their handlers said."""

from __future__ import annotations

from collections import deque

from microedge import wire
from microedge.errors import LocalProtocolError
from microedge.message import Envelope, Message, unpack
from microedge.sdk.job import Job

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is, without loading typing (0.6 MiB resident)
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from microedge.sdk.log import Log

_ENVELOPES_MAX = 256


class InputBox:
    """All inputs of one module. A message for an input without a handler waits until it has one."""

    def __init__(self, names: Iterable[str], log: Log) -> None:
        self._names = frozenset(names)
        self._log = log
        self._handlers: dict[str, Callable[[Message], object]] = {}
        self._inbox: deque[tuple[int, int, str, bytes, bool]] = deque()  # (delivery, epoch, input, record, is_suspect)
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
        self._inbox.append((delivery, epoch, name, record, is_suspect))

    def next_job(self) -> Job | None:
        """Take the oldest message that has a handler out of the box; None when there is none."""
        index = 0
        while index < len(self._inbox):
            delivery, epoch, name, record, is_suspect = self._inbox[index]
            if name not in self._handlers:
                index += 1
                continue
            del self._inbox[index]
            if epoch >= self._epochs.get(name, 0):  # else sent before the hub knew of a failure: it comes again
                return self._job(delivery, name, record, is_suspect=is_suspect)
        return None

    def _job(self, delivery: int, name: str, record: bytes, *, is_suspect: bool) -> Job:
        message, _ = unpack(record, 0, self._envelopes)
        if len(self._envelopes) > _ENVELOPES_MAX:
            self._envelopes.clear()
        message.input = name
        job = _Delivery(self._log, self._handlers[name], delivery, message, self._epochs)
        if is_suspect:
            job.beginning = wire.encode(wire.BEGUN, delivery)
        return job


class _Delivery(Job):
    """One message at its handler."""

    __slots__ = ("_delivery", "_epochs", "_handler", "_message")

    def __init__(
        self, log: Log, handler: Callable[[Message], object], delivery: int, message: Message, epochs: dict[str, int]
    ) -> None:
        super().__init__(log)
        self._handler = handler
        self._delivery = delivery
        self._message = message
        self._epochs = epochs

    @property
    def title(self) -> str:
        return f"input {self._message.input}: message {self._message.message_id}"

    def run(self) -> object:
        return self._handler(self._message)

    def answer(self) -> bytes:
        if self.failure:
            name = self._message.input
            self._epochs[name] = self._epochs.get(name, 0) + 1
        return wire.encode(wire.DONE, self._delivery, head=self.failure.encode())
