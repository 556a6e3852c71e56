"""One message and its envelope: what a module sends, the queue stores, and an upstream or another module gets.

The envelope is everything that a producer says about a message except the message itself: output name, content
type, application properties, time to live, durability. A module that sends a thousand readings sends a thousand
equal envelopes, so an envelope is encoded once by the sender and decoded once by the hub, and both look it up by
its bytes afterwards. The body stays opaque bytes on the whole way.
"""

from __future__ import annotations

import json
import struct

from microedge.names import is_name

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is, without loading typing (0.6 MiB resident)
if TYPE_CHECKING:
    from typing import Any

# IoT Hub and edgeHub take 262,144 bytes of body, property keys and values, and system properties together.
MAX_MESSAGE_BYTES = 262_144
MAX_PROPERTIES = 100
MAX_TTL_S = 4_294_967_295  # timeToLiveSecs of edgeHub is an unsigned 32-bit number

GAP_OUTPUT = "$gap"  # of the records that tell of missing messages: no module has such an output
JSON_TYPE, JSON_ENCODING = "application/json", "utf-8"

BATCHED, IMMEDIATE, VOLATILE = "batched", "immediate", "volatile"
DURABILITIES = (BATCHED, IMMEDIATE, VOLATILE)

SYNCED, CORRECTED, UNSYNCED = "synced", "corrected", "unsynced"
TIME_QUALITIES = (SYNCED, CORRECTED, UNSYNCED)
"""How good `Message.created_ms` is: the clock was right; worked out when it was; it never was, as far as is known."""

Target = tuple[str, int, int]
"""Where the hub sends a message: (endpoint, priority 0-9, TTL in seconds or -1)."""

Ticket = int
"""The queue's name for one leased message: valid until it is acknowledged, set aside or released."""

# Lengths of module, session, envelope and input, time quality; sequence; two times; body length.
_RECORD = struct.Struct("<BBHBBQqQI")
_ELSEWHERE = struct.Struct("<Q")
_HAS_ELSEWHERE = 1 << 31  # in the body length: the number follows the body; hardly any message has one
_NO_PROPERTIES: dict[str, str] = {}


class Envelope:
    """What a producer says about its messages. Immutable; equal envelopes have equal `raw` bytes.

    `ttl_s` is None where the route or the store decides, -1 for never.
    """

    __slots__ = (
        "content_encoding",
        "content_type",
        "durability",
        "output",
        "properties",
        "raw",
        "size_bytes",
        "ttl_s",
    )

    def __init__(
        self,
        output: str,
        *,
        content_type: str = "",
        content_encoding: str = "",
        properties: dict[str, str] | None = None,
        ttl_s: int | None = None,
        durability: str = BATCHED,
    ) -> None:
        """Check and store.

        Raises:
            ValueError: a name, type or limit is wrong; the text says which, what was found and what was expected.
        """
        self.output = output
        self.content_type = content_type
        self.content_encoding = content_encoding
        self.properties = properties or _NO_PROPERTIES
        self.ttl_s = ttl_s
        self.durability = durability
        _check_envelope(self)
        self.size_bytes = _size_bytes(self)
        self.raw = json.dumps(_members(self), separators=(",", ":"), ensure_ascii=False).encode()

    @classmethod
    def decode(cls, raw: bytes) -> Envelope:
        """Return the envelope that `raw` encodes.

        Raises:
            ValueError: `raw` is not an encoded envelope.
        """
        try:
            members: Any = json.loads(raw)
            output = members.pop("output")
            if output == GAP_OUTPUT:
                raise ValueError(f"output = {output!r}: it is the runtime's own")
            return cls(output, **members)
        except (AttributeError, KeyError, TypeError, RecursionError, UnicodeDecodeError) as error:
            raise ValueError(f"not an envelope: {type(error).__name__}: {error}") from error


class Message:
    """One message on its way. `body` is bytes; `json()` decodes it.

    `message_id` is unique for the device and stays the same in every redelivery: `session` names one run of the
    producing instance, `sequence` counts from 1 within it. `elsewhere` is how many messages of that run before this one
    had no route upstream, so `sequence - elsewhere` counts those that had one without gaps. `created_ms` is wall-clock
    milliseconds since the epoch, as good as `time_quality` says; `taken_ms` is the same moment on CLOCK_BOOTTIME, which
    never jumps: below 0 when it was before this boot.
    """

    __slots__ = (
        "body",
        "created_ms",
        "elsewhere",
        "envelope",
        "input",
        "module",
        "sequence",
        "session",
        "taken_ms",
        "time_quality",
        "waiting",
    )

    def __init__(
        self,
        envelope: Envelope,
        body: bytes,
        module: str,
        session: str,
        sequence: int,
        taken_ms: int,
        created_ms: int,
        time_quality: str = SYNCED,
    ) -> None:
        self.envelope = envelope
        self.body = body
        self.module = module
        self.session = session
        self.sequence = sequence
        self.taken_ms = taken_ms
        self.created_ms = created_ms
        self.elsewhere = 0
        self.time_quality = time_quality
        self.input = ""  # the input it was delivered to, in the module that receives it
        self.waiting = 0  # endpoints that neither have it nor have it on disk; the queue counts this down

    @property
    def output(self) -> str:
        return self.envelope.output

    @property
    def properties(self) -> dict[str, str]:
        return self.envelope.properties

    @property
    def content_type(self) -> str:
        return self.envelope.content_type

    @property
    def content_encoding(self) -> str:
        return self.envelope.content_encoding

    @property
    def message_id(self) -> str:
        return f"{self.session}-{self.sequence}"

    @property
    def size_bytes(self) -> int:
        """The size as IoT Edge counts it: body, properties and system properties."""
        return len(self.body) + self.envelope.size_bytes

    def json(self) -> Any:
        """Return the decoded body.

        Raises:
            ValueError: the body is not JSON.
        """
        try:
            return json.loads(self.body)
        except RecursionError as error:  # deep nesting is bad input, not a fault of the reader
            raise ValueError("body is nested too deeply") from error

    def __repr__(self) -> str:
        return f"<Message {self.message_id} {self.module}/{self.output} bytes={len(self.body)}>"


def encode_body(body: object) -> tuple[bytes, str, str]:
    """Return (bytes, content type, content encoding) of a body as modules give it: bytes, str, or a JSON value.

    Raises:
        TypeError: the body is none of these, or holds something that JSON cannot express.
        ValueError: a number is not finite: JSON has no NaN, and most readers refuse it.
    """
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body), "", ""
    if isinstance(body, str):
        return body.encode(), "text/plain", "utf-8"
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode(), JSON_TYPE, JSON_ENCODING


def pack(message: Message) -> bytes:
    """Return the self-describing record of a message: what the queue stores and a module input receives."""
    module, session, target = message.module.encode(), message.session.encode(), message.input.encode()
    envelope, body = message.envelope.raw, message.body
    sizes = len(module), len(session), len(envelope), len(target), TIME_QUALITIES.index(message.time_quality)
    times = message.taken_ms, message.created_ms
    if message.elsewhere:
        header = _RECORD.pack(*sizes, message.sequence, *times, len(body) | _HAS_ELSEWHERE)
        return b"".join((header, module, session, envelope, target, body, _ELSEWHERE.pack(message.elsewhere)))
    header = _RECORD.pack(*sizes, message.sequence, *times, len(body))
    return b"".join((header, module, session, envelope, target, body))


def unpack(record: bytes, offset: int, envelopes: dict[bytes, Envelope]) -> tuple[Message, int]:
    """Return the message that starts at `offset` and the offset behind it; `envelopes` caches decoded envelopes.

    Raises:
        ValueError: the bytes are no record, or end too early.
    """
    try:
        header = _RECORD.unpack_from(record, offset)
        module_len, session_len, envelope_len, input_len, quality, sequence, taken_ms, created_ms, body_len = header
        at = offset + _RECORD.size
        module = record[at : at + module_len].decode()
        at += module_len
        session = record[at : at + session_len].decode()
        at += session_len
        raw = bytes(record[at : at + envelope_len])
        at += envelope_len
        target = record[at : at + input_len].decode()
        at += input_len
        time_quality = TIME_QUALITIES[quality]
    except (struct.error, UnicodeDecodeError, IndexError) as error:
        raise ValueError(f"not a message record at byte {offset}: {error}") from error
    has_elsewhere = body_len & _HAS_ELSEWHERE
    body_end = end = at + (body_len ^ has_elsewhere)
    if has_elsewhere:
        end += _ELSEWHERE.size
    if end > len(record):
        raise ValueError(f"message record at byte {offset} is cut: {end - len(record)} bytes missing")
    envelope = envelopes.get(raw)
    if envelope is None:
        envelope = envelopes[raw] = Envelope.decode(raw)
    body = bytes(record[at:body_end])
    message = Message(envelope, body, module, session, sequence, taken_ms, created_ms, time_quality)
    message.input = target
    if has_elsewhere:
        message.elsewhere = _ELSEWHERE.unpack_from(record, body_end)[0]
    return message, end


def _members(envelope: Envelope) -> dict[str, object]:
    members: dict[str, object] = {"output": envelope.output}
    if envelope.content_type:
        members["content_type"] = envelope.content_type
    if envelope.content_encoding:
        members["content_encoding"] = envelope.content_encoding
    if envelope.properties:
        members["properties"] = envelope.properties
    if envelope.ttl_s is not None:
        members["ttl_s"] = envelope.ttl_s
    if envelope.durability != BATCHED:
        members["durability"] = envelope.durability
    return members


def _size_bytes(envelope: Envelope) -> int:
    texts = [envelope.output, envelope.content_type, envelope.content_encoding]
    for key, value in envelope.properties.items():
        texts += (key, value)
    return sum(len(text.encode()) for text in texts)


def _check_envelope(envelope: Envelope) -> None:
    if not isinstance(envelope.output, str) or not (is_name(envelope.output) or envelope.output == GAP_OUTPUT):
        raise ValueError(f"output = {envelope.output!r}: expected a port name: letters, digits, _ and -, at most 64")
    for key, text in (
        ("content_type", envelope.content_type),
        ("content_encoding", envelope.content_encoding),
    ):
        if not isinstance(text, str) or len(text) > 128 or not text.isprintable():
            raise ValueError(f"{key} = {text!r}: expected a string of at most 128 printable characters")
    ttl_s = envelope.ttl_s
    if ttl_s is not None and (type(ttl_s) is not int or not -1 <= ttl_s <= MAX_TTL_S):
        raise ValueError(f"ttl_s = {ttl_s!r}: expected a whole number of seconds, or -1 for never")
    if envelope.durability not in DURABILITIES:
        raise ValueError(f"durability = {envelope.durability!r}: expected one of {', '.join(DURABILITIES)}")
    _check_properties(envelope.properties)


def _check_properties(properties: object) -> None:
    if not isinstance(properties, dict) or len(properties) > MAX_PROPERTIES:
        raise ValueError(f"properties: expected a dict of at most {MAX_PROPERTIES} strings")
    for key, value in properties.items():
        if not (isinstance(key, str) and isinstance(value, str) and key):
            raise ValueError(f"property {key!r} = {value!r}: expected strings, and a key that is not empty")
        if not (key.isprintable() and value.isprintable()):
            raise ValueError(f"property {key!r}: expected no control characters")
