"""What a module sends: messages with their envelopes and numbers, and the hub's credit for them. Does no I/O."""

from __future__ import annotations

import time
from collections import deque

from microedge import wire
from microedge.errors import LocalProtocolError
from microedge.message import BATCHED, MAX_MESSAGE_BYTES, Envelope, encode_body

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is, without loading typing (0.6 MiB resident)
if TYPE_CHECKING:
    from collections.abc import Iterable

    Kind = tuple[str, str, str, "int | None", str]
    """Output, content type, content encoding, TTL in seconds, durability."""

_ENVELOPES_MAX = 256  # cached; a module that changes a property in every message starts over now and then
_pack, _SEND = wire.HEADER.pack, wire.SEND


class Window:
    """`max_messages` may be unacknowledged, and `max_bytes`; a single message may be larger than those."""

    def __init__(self, outputs: Iterable[str], max_messages: int, max_bytes: int, *, durability: str = BATCHED) -> None:
        """`durability` is that of messages which do not say it themselves."""
        self.last = 0  # sequence number of the message that was sent last
        self._outputs = frozenset(outputs)
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._durability = durability
        self._unacknowledged: deque[tuple[int, int]] = deque()  # (sequence, bytes)
        self._unacknowledged_bytes = 0
        self._envelopes: dict[object, Envelope] = {}

    def message(
        self,
        output: str,
        body: object,
        properties: dict[str, str] | None,
        content_type: str | None,
        *,
        ttl_s: int | None,
        durability: str | None,
    ) -> tuple[bytes, bytes, int]:
        """Return head, body and size in bytes of a message that may be sent once there is room.

        Raises:
            LocalProtocolError: the output is not in the manifest, the message exceeds 256 KiB, or its properties
                exceed 64 KiB.
            ValueError: a property, the content type, the TTL or the durability is not valid, or a number is not finite.
            TypeError: the body holds something that JSON cannot express.
        """
        data, guessed_type, encoding = encode_body(body)
        if content_type is None:
            content_type = guessed_type
        elif content_type == "application/json" and not encoding:
            encoding = "utf-8"  # RFC 8259: JSON between systems is UTF-8; a route's $body asks for both
        if durability is None:
            durability = self._durability
        kind = (output, content_type, encoding, ttl_s, durability)
        envelope = self._envelopes.get((kind, tuple(properties.items()) if properties else ()))
        if envelope is None:
            envelope = self._new_envelope(kind, properties or {})
        size_bytes = len(data) + envelope.size_bytes
        if size_bytes > MAX_MESSAGE_BYTES:
            raise LocalProtocolError(f"message of bytes={size_bytes}: expected at most {MAX_MESSAGE_BYTES}; split it")
        return envelope.raw, data, size_bytes

    def frame(self, head: bytes, body: bytes, size_bytes: int) -> bytes:
        """Give a message its number and its time, and return its frame; b"" while the hub has not granted room for it.

        One call for the question and the deed, because every message goes through here.
        """
        pending = self._unacknowledged
        if pending and (
            len(pending) >= self._max_messages or self._unacknowledged_bytes + size_bytes > self._max_bytes
        ):
            return b""
        self.last = sequence = self.last + 1
        pending.append((sequence, size_bytes))
        self._unacknowledged_bytes += size_bytes
        taken_ms = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
        head_len = len(head)
        return _pack(head_len + len(body), _SEND, 0, head_len, sequence, taken_ms) + head + body

    @property
    def unacknowledged(self) -> int:
        """How many messages the hub has not acknowledged yet."""
        return len(self._unacknowledged)

    def acknowledge(self, sequence: int) -> None:
        """The hub has everything up to `sequence`."""
        pending = self._unacknowledged
        while pending and pending[0][0] <= sequence:
            self._unacknowledged_bytes -= pending.popleft()[1]

    def is_acknowledged(self, sequence: int) -> bool:
        """True if the hub has everything up to `sequence`."""
        return not self._unacknowledged or self._unacknowledged[0][0] > sequence

    def _new_envelope(self, kind: Kind, properties: dict[str, str]) -> Envelope:
        """Check and keep the envelope of one kind of message."""
        output, content_type, encoding, ttl_s, durability = kind
        if output not in self._outputs:
            known = ", ".join(sorted(self._outputs)) or "none"
            raise LocalProtocolError(f"output {output!r}: expected one of [ports] outputs in module.toml: {known}")
        envelope = Envelope(
            output,
            content_type=content_type,
            content_encoding=encoding,
            properties=dict(properties),
            ttl_s=ttl_s,
            durability=durability,
        )
        if len(envelope.raw) > wire.MAX_HEAD_BYTES:
            raise LocalProtocolError(
                f"properties and types of encoded_bytes={len(envelope.raw)}: expected at most {wire.MAX_HEAD_BYTES}"
            )
        if len(self._envelopes) >= _ENVELOPES_MAX:
            self._envelopes.clear()
        self._envelopes[kind, tuple(properties.items())] = envelope
        return envelope
