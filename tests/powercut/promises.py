"""What the queue has promised by a moment, and whether what is found after a power cut keeps it; pure."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

Key = tuple[str, int]
"""One message in the queue of one endpoint: (endpoint, sequence)."""


class Sent(NamedTuple):
    """A message was appended for these (endpoint, priority)."""

    sequence: int
    targets: tuple[tuple[str, int], ...]
    is_volatile: bool = False


class Settled(NamedTuple):
    """The queue has said that these are safe."""

    sequences: tuple[int, ...]


class Delivered(NamedTuple):
    """The owner has acknowledged these: they may come again until the queue has noted it."""

    keys: tuple[Key, ...]


class Forgotten(NamedTuple):
    """The queue has committed these acknowledgements."""

    keys: tuple[Key, ...]


class Rejected(NamedTuple):
    """So many, in all, were settled without a place on the disk: it was full of more urgent ones. Counted in RAM."""

    count: int


class Closed(NamedTuple):
    """The queue was closed in order: everything in it is durable, the volatile ones too."""


class Found(NamedTuple):
    """What the product made of the files: messages as (endpoint, sequence, body is right) in order of delivery.

    `trouble` is what it complained of, "" for nothing; `dropped` is how many it says were dropped, `rejected` of them
    because they found no place; `error` is what it raised.
    """

    messages: tuple[tuple[str, int, bool], ...] = ()
    trouble: str = ""
    dropped: int = 0
    rejected: int = 0
    error: str = ""


class QueuePromises:
    """Everything that was said so far, over all lives of a device."""

    def __init__(self) -> None:
        self.sent: dict[Key, int] = {}  # -> priority
        self.owed: set[Key] = set()  # settled, and not acknowledged by the endpoint
        self.gone: set[Key] = set()
        self._rejected = self._lost_counts = 0
        self._volatile: set[Key] = set()
        self._delivered: set[Key] = set()
        self._endpoints: dict[int, tuple[str, ...]] = {}

    def take(self, note: object) -> None:
        """Take account of one note; anything else is ignored."""
        if isinstance(note, Sent):
            self._endpoints[note.sequence] = tuple(endpoint for endpoint, _ in note.targets)
            self.sent.update({(endpoint, note.sequence): priority for endpoint, priority in note.targets})
            if note.is_volatile:
                self._volatile.update((endpoint, note.sequence) for endpoint, _ in note.targets)
        elif isinstance(note, Settled):
            self._owe(note.sequences, but=self._volatile)
        elif isinstance(note, Delivered):
            self._delivered.update(note.keys)
            self.owed.difference_update(note.keys)
        elif isinstance(note, Forgotten):
            self.gone.update(note.keys)
        elif isinstance(note, Rejected):
            self._lost_counts += max(0, self._rejected - note.count)  # a cut has turned the counter back
            self._rejected = note.count
        elif isinstance(note, Closed):
            self._owe(self._endpoints)

    def lose_power(self) -> None:
        """What was only in RAM is owed no longer; what had reached the disk all the same may still come."""
        self._endpoints.clear()

    def judge(self, found: Found) -> str:
        """Return what is wrong, "" for nothing."""
        return (
            found.error
            or (self.owed and found.trouble)
            or self._wrong_messages(found.messages)
            or self._wrong_order([(endpoint, sequence) for endpoint, sequence, _ in found.messages])
            or self._missing(found)
        )

    def _owe(self, sequences: Iterable[int], but: Collection[Key] = ()) -> None:
        keys = {(endpoint, sequence) for sequence in sequences for endpoint in self._endpoints[sequence]}
        self.owed |= keys.difference(but, self._delivered)

    def _wrong_messages(self, messages: Sequence[tuple[str, int, bool]]) -> str:
        for endpoint, sequence, is_right in messages:
            if (endpoint, sequence) not in self.sent:
                return f"{endpoint} got message {sequence}, which was never sent there"
            if not is_right:
                return f"{endpoint} got message {sequence} with a wrong body"
            if (endpoint, sequence) in self.gone:
                return f"{endpoint} got message {sequence} again after its acknowledgement was committed"
        return ""

    def _wrong_order(self, keys: Sequence[Key]) -> str:
        last: dict[tuple[str, int], int] = {}
        for key in keys:
            line = key[0], self.sent[key]
            if key[1] <= last.get(line, 0):
                return f"{key[0]} got message {key[1]} after {last[line]}, both of priority {line[1]}"
            last[line] = key[1]
        return ""

    def _missing(self, found: Found) -> str:
        there = {(endpoint, sequence) for endpoint, sequence, _ in found.messages}
        missing = self.owed - there
        unowed = self.sent.keys() - self.owed - self.gone - there  # may have been dropped, or lost, or delivered
        uncounted = self._lost_counts + self._rejected - found.rejected  # counted on disk only with the next commit
        if len(missing) - uncounted <= found.dropped <= len(missing) + len(unowed):
            return ""
        some = ", ".join(f"{endpoint} {sequence}" for endpoint, sequence in sorted(missing)[:5])
        return f"{len(missing)} settled messages are missing, {found.dropped} are counted as dropped: {some}"


def body_of(sequence: int, size_bytes: int) -> bytes:
    """Return a body that tells its sequence and its own damage; half of it is compressible."""
    seed = zlib.crc32(b"%d" % sequence)
    text = b'{"n":%d,"celsius":%d.%d}' % (sequence, seed % 40, seed % 7)
    noise = b"".join(zlib.crc32(b"%d %d" % (seed, at)).to_bytes(4, "big") for at in range(size_bytes // 8))
    body = (text + noise + text * (size_bytes // 2 // len(text) + 1))[: max(size_bytes, len(text))]
    return body + zlib.crc32(body).to_bytes(4, "big")


def is_body(body: bytes, sequence: int) -> bool:
    """True for a body that `body_of` made for this sequence."""
    return body.startswith(b'{"n":%d,' % sequence) and zlib.crc32(body[:-4]).to_bytes(4, "big") == body[-4:]
