"""The two MQTT packets of which there is one per message: PUBLISH with QoS 1 out, PUBACK in. Pure.

Everything else of the protocol is paho's. Its own path costs 30 to 50 us of CPU per message (a lock, two property
objects and an out-packet per message, one send per PUBLISH, three recv per PUBACK); this one costs a tenth, because
what equal envelopes have in common is encoded once.

MQTT 5 properties of a message: content type, message expiry interval where the producer set a time to live, its
application properties as user properties under their own names, and these user properties of ours:

    microedge-id        the message id; the same in every redelivery
    microedge-sequence  its number within one run of the producing instance, from 1
    microedge-elsewhere how many messages of that run before it had no route upstream, where there were any
    microedge-created   when it was made: ISO 8601, UTC, milliseconds
    microedge-time-quality  how good that is: synced, corrected (worked out when the clock was set), or unsynced
    microedge-encoding  the content encoding, where the producer set one other than utf-8
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from microedge.message import TIME_QUALITIES, UNSYNCED
from microedge.upstream.document import encode_envelope, iso8601

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from microedge.message import Envelope, Message
    from microedge.upstream.settings import UpstreamSettings

# paho counts its own packet ids (status, subscriptions) from 1; ours stay out of its way.
FIRST_ID, LAST_ID = 0x8000, 0xFFFF
MAX_INBOUND_BYTES = 1024 * 1024  # a packet from above; four times the largest message

_PUBLISH_QOS1 = b"\x32"
_PUBLISH_KIND = 3
_PUBACK, _PINGRESP = 0x40, b"\xd0\x00"
_EXPIRY, _CONTENT_TYPE, _USER_PROPERTY = b"\x02", b"\x03", b"\x26"
_ELSEWHERE = b"&\x00\x13microedge-elsewhere"
_MAX_TEXT_BYTES = 65_535
_MAX_CACHED = 512  # (module, envelope) pairs; a producer that invents properties per message must not fill the RAM
_U16 = struct.Struct(">H")
_QUALITY_PROPERTIES = {
    quality: b"&\x00\x16microedge-time-quality\x00%c%b" % (len(quality), quality.encode()) for quality in TIME_QUALITIES
}


class Oversize(ValueError):  # noqa: N818 (a fact about a message, not a fault)
    """MQTT cannot carry the message; the text says why."""


class PublishEncoder:
    """Encodes messages for one connector."""

    def __init__(self, settings: UpstreamSettings, clock_ms: Callable[[], tuple[int, int]]) -> None:
        """`clock_ms` returns wall-clock milliseconds since the epoch and CLOCK_BOOTTIME milliseconds."""
        self._settings = settings
        self._clock_ms = clock_ms
        self._is_v5 = settings.protocol == 5
        self._cache: dict[tuple[str, bytes], tuple[bytes, bytes]] = {}
        self._created_s, self._created_text = -1, b""

    def encode(self, packet_id: int, message: Message) -> bytes:
        """Return the PUBLISH packet.

        Raises:
            Oversize: a property is longer than the 65,535 bytes that MQTT has room for.
        """
        envelope = message.envelope
        key = (message.module, envelope.raw)
        common = self._cache.get(key) or self._remember(key, message)
        body = encode_envelope(message) if self._settings.envelope else message.body
        if not self._is_v5:
            return _join(common[0], packet_id, b"", body)
        properties = common[1] + self._own_properties(message)
        if message.elsewhere:
            properties += _ELSEWHERE + _text(str(message.elsewhere))
        if envelope.ttl_s is not None and envelope.ttl_s >= 0:
            properties += _EXPIRY + self._remaining_s(message, envelope.ttl_s).to_bytes(4, "big")
        return _join(common[0], packet_id, varint(len(properties)) + properties, body)

    def _remember(self, key: tuple[str, bytes], message: Message) -> tuple[bytes, bytes]:
        if len(self._cache) >= _MAX_CACHED:
            self._cache.clear()
        topic = _text(self._settings.topic_of(message.module, message.output))
        common = self._cache[key] = topic, _common_properties(message.envelope)
        return common

    def _own_properties(self, message: Message) -> bytes:
        message_id, sequence = message.message_id.encode(), b"%d" % message.sequence
        return b"&\x00\x0cmicroedge-id%b%b&\x00\x12microedge-sequence\x00%c%b&\x00\x11microedge-created\x00\x18%b%b" % (
            _U16.pack(len(message_id)),
            message_id,
            len(sequence),
            sequence,
            self._created(message.created_ms),
            _QUALITY_PROPERTIES[message.time_quality],
        )

    def _created(self, created_ms: int) -> bytes:
        seconds, milliseconds = divmod(created_ms, 1000)
        if seconds != self._created_s:  # strftime costs more than all the rest; many messages share a second
            self._created_s = seconds
            self._created_text = iso8601(seconds * 1000).encode()[:20]
        return b"%b%03dZ" % (self._created_text, milliseconds)

    def _remaining_s(self, message: Message, ttl_s: int) -> int:
        # Either clock may be wrong about a message; the smaller age is believed, because a message kept too long is
        # better than one dropped. A time that was never right says nothing.
        wall_ms, boot_ms = self._clock_ms()
        wall_age_ms = -1 if message.time_quality == UNSYNCED else wall_ms - message.created_ms
        ages = [age for age in (wall_age_ms, boot_ms - message.taken_ms) if age >= 0]
        age_s = min(ages) // 1000 if ages else 0
        return max(1, ttl_s - age_s)


@dataclass(frozen=True)
class SkippedPublish:
    """A PUBLISH from above that was longer than MAX_INBOUND_BYTES and was thrown away as it came."""

    topic: bytes
    packet_id: int  # to be acknowledged all the same; 0: QoS 0, nothing to acknowledge
    size_bytes: int


class PacketSplitter:
    """Cuts a byte stream into packets: our acknowledgements, and the rest for paho.

    A PUBLISH longer than MAX_INBOUND_BYTES is thrown away as it arrives, and noted in `skipped`. Closing would not
    help: MQTT 3.1.1 has no way to tell the broker a limit, and a retained document would be sent again at once.
    """

    def __init__(self) -> None:
        self.skipped: list[SkippedPublish] = []
        self._buffer = b""
        self._to_skip = 0  # bytes of a packet that is being thrown away

    def feed(self, chunk: bytes) -> tuple[list[tuple[int, int]], bytes]:
        """Take bytes; return the (packet id, reason code) of our PUBACKs and all other packets as they came.

        Raises:
            ValueError: no MQTT packet, or one longer than MAX_INBOUND_BYTES that is no PUBLISH.
        """
        if self._to_skip:
            skipped = min(self._to_skip, len(chunk))
            self._to_skip -= skipped
            if self._to_skip:
                # paho sees nothing of this packet, which may take longer than the keep-alive interval, and the answer
                # to its ping waits behind it: what arrives is as good a sign of life.
                return [], _PINGRESP
            chunk = chunk[skipped:]
        buffer = self._buffer + chunk if self._buffer else chunk
        acks: list[tuple[int, int]] = []
        others: list[bytes] = []
        at, size = 0, len(buffer)
        while at + 2 <= size:
            length = buffer[at + 1]
            start = at + 2
            if length > 127:
                length, start = _long_length(buffer, at)
                if start == 0:
                    break
            end = start + length
            if length > MAX_INBOUND_BYTES and self._skip(buffer[at:], start - at, length):
                self._to_skip = max(0, end - size)
                at = min(end, size)
                continue
            if end > size:
                break
            packet_id = (buffer[start] << 8 | buffer[start + 1]) if buffer[at] == _PUBACK and length >= 2 else 0
            if packet_id >= FIRST_ID:
                acks.append((packet_id, buffer[start + 2] if length > 2 else 0))
            else:
                others.append(buffer[at:end])
            at = end
        self._buffer = buffer[at:]
        return acks, b"".join(others)

    def _skip(self, packet: bytes, start: int, length: int) -> bool:
        """Note a PUBLISH that is too long, once its topic and packet id have come; return whether they have."""
        if packet[0] >> 4 != _PUBLISH_KIND:
            raise ValueError(f"a packet of {length} bytes, expected at most {MAX_INBOUND_BYTES}")
        topic_end = start + 2 + int.from_bytes(packet[start : start + 2], "big")
        if len(packet) < topic_end + 2:
            return False
        has_id = bool(packet[0] & 0b0110)
        packet_id = int.from_bytes(packet[topic_end : topic_end + 2], "big") if has_id else 0
        self.skipped.append(SkippedPublish(packet[start + 2 : topic_end], packet_id, length))
        return True


def puback(packet_id: int) -> bytes:
    """Return the packet that acknowledges a PUBLISH of QoS 1."""
    return b"\x40\x02" + _U16.pack(packet_id)


def varint(value: int) -> bytes:
    """Return MQTT's variable byte integer, 0 to 268,435,455."""
    if value < 128:
        return b"%c" % value
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _long_length(buffer: bytes, at: int) -> tuple[int, int]:
    """Return (length, where the packet's content starts), or (0, 0) when the length itself is not complete."""
    length, shift = 0, 0
    for index in range(at + 1, at + 5):
        if index >= len(buffer):
            return 0, 0
        length |= (buffer[index] & 127) << shift
        shift += 7
        if buffer[index] < 128:
            return length, index + 1
    raise ValueError("a packet length of more than four bytes")


def _join(topic: bytes, packet_id: int, properties: bytes, body: bytes) -> bytes:
    length = len(topic) + 2 + len(properties) + len(body)
    return b"".join((_PUBLISH_QOS1, varint(length), topic, _U16.pack(packet_id), properties, body))


def _common_properties(envelope: Envelope) -> bytes:
    parts = []
    if envelope.content_type:
        parts.append(_CONTENT_TYPE + _text(envelope.content_type))
    pairs = dict(envelope.properties)
    if envelope.content_encoding.lower() not in ("", "utf-8"):
        pairs["microedge-encoding"] = envelope.content_encoding
    parts += [_USER_PROPERTY + _text(key) + _text(value) for key, value in pairs.items()]
    return b"".join(parts)


def _text(text: str) -> bytes:
    encoded = text.encode()
    if len(encoded) > _MAX_TEXT_BYTES:
        raise Oversize(f"a text of {len(encoded)} bytes, expected at most {_MAX_TEXT_BYTES} in an MQTT property")
    return _U16.pack(len(encoded)) + encoded
