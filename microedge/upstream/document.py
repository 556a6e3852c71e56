"""A message as JSON: the line in a file, and the envelope for brokers that know no MQTT 5 properties. Pure."""

from __future__ import annotations

import json
import time
from base64 import b64encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from microedge.message import Message


_LAST_MS = 253_402_300_799_999


def iso8601(epoch_ms: int) -> str:
    """Return a time as 2024-05-17T09:30:00.250Z: UTC, always 24 characters, so never beyond the year 9999."""
    seconds, milliseconds = divmod(min(epoch_ms, _LAST_MS), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{milliseconds:03d}Z"


def encode_line(message: Message) -> bytes:
    """Return the JSON line of a message, newline included."""
    members: dict[str, object] = {
        "message_id": message.message_id,
        "module": message.module,
        "output": message.output,
        **_elsewhere(message),
        "created": iso8601(message.created_ms),
        "time_quality": message.time_quality,
        "content_type": message.content_type,
        "properties": message.properties,
    }
    return _dump(members, message) + b"\n"


def encode_envelope(message: Message) -> bytes:
    """Return the JSON document that stands for a message where the protocol has no room for its properties."""
    members: dict[str, object] = {
        "id": message.message_id,
        "sequence": message.sequence,
        **_elsewhere(message),
        "created": iso8601(message.created_ms),
        "time_quality": message.time_quality,
        "content_type": message.content_type,
        "properties": message.properties,
    }
    return _dump(members, message)


def _elsewhere(message: Message) -> dict[str, int]:
    return {"elsewhere": message.elsewhere} if message.elsewhere else {}


def _dump(members: dict[str, object], message: Message) -> bytes:
    head = json.dumps(members, separators=(",", ":"), ensure_ascii=False).encode()
    return b'%b,"%b}' % (head[:-1], _body(message))


def _body(message: Message) -> bytes:
    media_type = message.content_type.partition(";")[0].strip().lower()
    try:
        text = message.body.decode()
    except UnicodeDecodeError:
        return b'body_base64":"%b"' % b64encode(message.body)
    if (media_type == "application/json" or media_type.endswith("+json")) and _is_json(text):
        # As it is, so that no number loses a digit; a line break can only stand between the values.
        return b'body":' + message.body.replace(b"\n", b" ").replace(b"\r", b" ")
    return b'body":' + json.dumps(text, ensure_ascii=False).encode()


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):  # deep nesting counts as text: it would break readers of the line
        return False
    return True


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")  # json.loads takes NaN, which readers of our line would not
