"""A dead letter: one message that was set aside, with what is needed to send it again; as bytes and back; pure.

The bytes are those of a row with one message (`record.py`), whose head has the letter's number and priority and whose
expiry is a time to live instead: so a letter has a checksum, and what is not one is recognised.
"""

from __future__ import annotations

from typing import NamedTuple

from microedge.message import UNSYNCED, Message, pack, unpack
from microedge.queue.record import NEVER_MS, RowHead, decode, encode

_OLD_PRIORITY = 9  # of letters without checksum, priority and time to live, which version 0.1 wrote


class DeadLetter:
    """On its way to the disk: a message, or the bytes of a row that cannot be read, which nobody can send again.

    `at_ms` says since when it has waited. `is_waiting`: its producer is told when the letter is on disk.
    """

    __slots__ = ("at_ms", "endpoint", "is_waiting", "message", "number", "priority", "reason", "text", "ttl_ms")

    def __init__(self, endpoint: str, reason: str, text: str, message: Message | bytes) -> None:
        self.number = 0  # given once, so that writing it twice does no harm
        self.endpoint, self.reason, self.text, self.message = endpoint, reason, text, message
        self.priority = 0
        self.ttl_ms = NEVER_MS
        self.at_ms = 0
        self.is_waiting = False

    def encode(self) -> bytes:
        """Return the stored bytes."""
        message = self.message
        if isinstance(message, bytes):
            return message
        head = RowHead(self.number, self.endpoint, self.priority, 1, 0, 0)
        return encode(head, [(self.ttl_ms, pack(message))])


class Letter(NamedTuple):
    """Read back. `message` is None where `damage` says why. `time_ms` is wall-clock, `ttl_ms` -1 for never."""

    number: int
    endpoint: str
    reason: str
    text: str
    time_ms: int
    size_bytes: int
    priority: int
    ttl_ms: int
    message: Message | None
    damage: str


class DeadUsage(NamedTuple):
    """Letters kept, their bytes, and how many were removed for want of room, over restarts."""

    letters: int = 0
    bytes: int = 0
    removed: int = 0


class Selection(NamedTuple):
    """Which letters: of these numbers, or of an endpoint, from a module; "" and () mean any.

    At most `limit`, and `max_bytes` of them but always one, with a number above `after` and below `before`: the oldest
    first. `is_newest`: the last ones, in the same order.
    """

    numbers: tuple[int, ...] = ()
    endpoint: str = ""
    module: str = ""
    after: int = 0
    before: int = 1 << 62
    limit: int = 256
    max_bytes: int = 1 << 20
    is_newest: bool = False

    def takes(self, letter: Letter) -> bool:
        """True when the letter is one of these."""
        module = letter.message.module if letter.message is not None else ""
        return self.module in ("", module) and (not self.numbers or letter.number in self.numbers)


def read_letter(row: tuple[int, bytes, bytes, bytes, int, bytes]) -> Letter:
    """Return what a row of the table says; damage is a part of the answer."""
    number, endpoint, reason, text, time_ms, data = row
    message, priority, ttl_ms, damage = None, _OLD_PRIORITY, NEVER_MS, ""
    try:
        message, priority, ttl_ms = _message(number, data)
    except ValueError as error:
        damage = str(error)
    size_bytes = message.size_bytes if message is not None else len(data)
    return Letter(
        number,
        endpoint.decode("utf-8", "replace"),
        reason.decode("utf-8", "replace"),
        text.decode("utf-8", "replace"),
        time_ms,
        size_bytes,
        priority,
        ttl_ms,
        message,
        damage,
    )


def _message(number: int, data: bytes) -> tuple[Message, int, int]:
    try:
        head, messages = decode(data)
    except ValueError:
        if data[:4] == b"meqB":
            raise
        return unpack(data, 0, {})[0], _OLD_PRIORITY, NEVER_MS
    if head.row_id != number or len(messages) != 1:
        raise ValueError(f"letter {number}: expected one message, found row {head.row_id} of {len(messages)}")
    ttl_ms, message = messages[0]
    if message.time_quality == UNSYNCED:
        message.taken_ms = -1  # in which boot is not known, so no later clock can put it right
    return message, head.priority, ttl_ms
