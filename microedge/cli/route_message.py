"""The message that `microedge route test` is given: what `microedge tail --json` prints, or a shorter one by hand."""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from microedge.cli.failure import USAGE, CommandError
from microedge.cli.terminal import clean
from microedge.message import JSON_ENCODING, JSON_TYPE, MAX_MESSAGE_BYTES, Envelope, Message

MAX_FILE_BYTES = 4 * MAX_MESSAGE_BYTES

_KEYS: dict[str, type | tuple[type, ...]] = {
    "module": str,
    "output": str,
    "properties": dict,
    "content_type": str,
    "content_encoding": str,
    "body": object,
    "body_base64": str,
    "system": dict,
    "origin": str,
    "message_id": str,
    "time_ms": int,
}
_ORIGINS = ("messages", "twin")
_CODECS = {"utf-16": "utf-16-le", "utf-32": "utf-32-le"}
_EXAMPLE = (
    """for example: {"module": "north", "output": "readings", "properties": {"state": "on"}, "body": {"level": 3}}"""
)


@dataclass(frozen=True)
class GivenMessage:
    """A message, whether it says what changed in a twin, and the system properties that it names itself."""

    message: Message
    is_twin_change: bool
    system: Mapping[str, str]


def message_of(text: str) -> GivenMessage:
    """Return the message that a JSON text describes; every key may be left out.

    A body that is no text becomes JSON, and the content type says so unless it is given, as the SDK does; a text is
    the body as it is.

    Raises:
        CommandError: it is no JSON object, or a key or value is wrong; says which.
    """
    fields = _fields(text)
    system = {name.lstrip("$").lower(): value for name, value in _texts(fields, "system").items()}
    if "message_id" in fields:
        system.setdefault("messageid", fields["message_id"])
        system.setdefault("edgemessageid", fields["message_id"])
    return GivenMessage(_message(fields), fields.get("origin") == "twin", system)


def _message(fields: Mapping[str, Any]) -> Message:
    is_json = "body" in fields and not isinstance(fields["body"], str)
    content_type = fields.get("content_type", JSON_TYPE if is_json else "")
    encoding = fields.get("content_encoding", JSON_ENCODING if is_json else "")
    try:
        envelope = Envelope(
            fields.get("output", "output"),
            content_type=content_type,
            content_encoding=encoding,
            properties=_texts(fields, "properties"),
        )
    except ValueError as error:
        raise CommandError(str(error), _EXAMPLE, USAGE) from error
    time_ms = fields.get("time_ms", time.time_ns() // 1_000_000)
    return Message(envelope, _body(fields, encoding), fields.get("module", "module"), "test", 1, 0, time_ms)


def _body(fields: Mapping[str, Any], encoding: str) -> bytes:
    if "body_base64" in fields:
        try:
            return base64.b64decode(fields["body_base64"], validate=True)
        except (binascii.Error, ValueError) as error:
            raise CommandError(
                f"body_base64: {error}", "write the body as base64, or as text in body", USAGE
            ) from error
    body = fields.get("body", "")
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    return text.encode(_CODECS.get(encoding.lower(), "utf-8"), "replace")


def _fields(text: str) -> dict[str, Any]:
    if len(text) > MAX_FILE_BYTES:
        raise CommandError(f"the message is longer than {MAX_FILE_BYTES:,} characters", _EXAMPLE, USAGE)
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"the message is not JSON: {error}", _EXAMPLE, USAGE) from error
    if not isinstance(fields, dict):
        raise CommandError("the message is JSON but no object", _EXAMPLE, USAGE)
    for key, value in fields.items():
        _check(key, value)
    return fields


def _check(key: str, value: object) -> None:
    if key not in _KEYS:
        raise CommandError(f"the message has an unknown key {clean(key)!r}", f"known: {', '.join(_KEYS)}", USAGE)
    if not isinstance(value, _KEYS[key]):
        raise CommandError(f"{key} in the message: found {clean(json.dumps(value), 80)}", _EXAMPLE, USAGE)
    if key == "origin" and value not in _ORIGINS:
        raise CommandError(f"origin in the message: found {value!r}", f"one of: {', '.join(_ORIGINS)}", USAGE)


def _texts(fields: Mapping[str, Any], key: str) -> dict[str, str]:
    """Properties are text wherever they come from; a number is a mistake that would hide one in the route."""
    found: dict[str, Any] = fields.get(key, {})
    wrong = next((name for name, value in found.items() if not isinstance(value, str)), None)
    if wrong is not None:
        value = clean(json.dumps(found[wrong]), 80)
        raise CommandError(f"{key}.{clean(wrong)} = {value}: expected a text", 'properties are text: write "3"', USAGE)
    return found
