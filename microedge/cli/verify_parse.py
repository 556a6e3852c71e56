"""From what a recording holds, or MQTT carries, to a sighting. Pure.

Known are the lines of `[upstream] type = "file"`, the objects that `mosquitto_sub -F %j` and `-F %J` print, bare
envelopes, and the user properties and bodies of MQTT messages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any

from microedge.cli.verify_analysis import NO_TIME_MS, Sighting

DEFAULT_TOPIC = "microedge/{device}/{module}/{output}"
TWIN_CHANGES = "(twin changes)"  # the supervisor numbers them all together, whichever module they are about

_TWIN_SESSION = "twins-"
_MAX_NUMBER = 2**62  # beyond it is no sequence but garbage, and the arrays end somewhere
_MAX_TOPICS = 4_096  # remembered
_ID = re.compile(r"([\w$-]{1,128})-([1-9][0-9]{0,18})", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,19}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", re.ASCII)
_PLACEHOLDER = re.compile(r"\{(device|module|output)\}")


class Topics:
    """Which device and module a topic names, by the template that the device publishes with."""

    def __init__(self, template: str = DEFAULT_TOPIC, device: str = "") -> None:
        """`device` is the one there is, where the template does not say."""
        self._pattern = re.compile(_pattern_of(template), re.DOTALL)
        self._device = device
        self._known: dict[str, tuple[str, str]] = {}

    def names_in(self, topic: str) -> tuple[str, str]:
        """Return (device, module); a topic of another shape stands for the module itself."""
        known = self._known.get(topic)
        if known is None:
            if len(self._known) >= _MAX_TOPICS:
                self._known.clear()
            known = self._known[topic] = self._match(topic)
        return known

    def _match(self, topic: str) -> tuple[str, str]:
        found = self._pattern.fullmatch(topic)
        names = found.groupdict() if found else {}
        return names.get("device", self._device), names.get("module", topic)


def filter_of(template: str, device: str = "") -> str:
    """Return the topic filter for everything that is published with a template, by one device or by all."""
    if device:
        template = template.replace("{device}", device)
    return "/".join("+" if _PLACEHOLDER.search(level) else level for level in template.split("/"))


def read_line(line: bytes, topics: Topics) -> Sighting | None:
    """Return what a line of a recording says; None if it is a message, but none of microedge's.

    Raises:
        ValueError: it is no JSON object, or its message id or number is none; the text says which.
    """
    try:
        members = json.loads(str(line, "utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise ValueError("no JSON") from error
    if not isinstance(members, dict):
        raise ValueError("no JSON object")
    if "message_id" in members:
        module = members.get("module")
        return _sighting("", module if isinstance(module, str) else "?", members["message_id"], members)
    topic = members.get("topic")
    if isinstance(topic, str) and "payload" in members:
        return _of_mosquitto(topic, members, topics)
    if "id" in members and "sequence" in members:
        return _sighting("", "?", members["id"], members)
    return None


def read_message(topic: str, properties: Mapping[str, Any], body: object, topics: Topics) -> Sighting | None:
    """Return what an MQTT message says: by its user properties, or else by the envelope that its body is.

    `body` is text, bytes, or JSON that is decoded already. None if it is none of microedge's.

    Raises:
        ValueError: its message id or a number is none; the text says which.
    """
    device, module = topics.names_in(topic)
    message_id = properties.get("microedge-id")
    if message_id is not None:
        names = {"elsewhere": "microedge-elsewhere", "created": "microedge-created"}
        members = {name: properties[key] for name, key in names.items() if key in properties}
        return _sighting(device, module, message_id, members)
    envelope = _envelope(body)
    return _sighting(device, module, envelope["id"], envelope) if envelope else None


def _of_mosquitto(topic: str, members: Mapping[str, Any], topics: Topics) -> Sighting | None:
    properties = members.get("properties")
    pairs = properties.get("user-properties") if isinstance(properties, dict) else None
    return read_message(topic, pairs if isinstance(pairs, dict) else {}, members["payload"], topics)


def _envelope(body: object) -> dict[str, Any]:
    """Return the envelope that a body is, {} if it is none."""
    try:
        if isinstance(body, (bytes, bytearray)):
            body = json.loads(body) if body[:1] == b"{" else None
        elif isinstance(body, str):
            body = json.loads(body) if body[:1] == "{" else None
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) and "id" in body and "sequence" in body else {}


def _sighting(device: str, module: str, message_id: object, members: Mapping[str, Any]) -> Sighting:
    found = _ID.fullmatch(message_id) if isinstance(message_id, str) else None
    if found is None:
        raise ValueError(f"{message_id!r:.80} is no message id")
    session, sequence = found[1], int(found[2])
    elsewhere = members.get("elsewhere", 0)
    if isinstance(elsewhere, str) and _NUMBER.fullmatch(elsewhere):
        elsewhere = int(elsewhere)
    if type(elsewhere) is not int or not 0 <= elsewhere < sequence <= _MAX_NUMBER:
        raise ValueError(f"message {message_id!r:.80} with elsewhere {elsewhere!r:.40}: expected 0 to {sequence - 1}")
    if session.startswith(_TWIN_SESSION):
        module = TWIN_CHANGES
    return Sighting(device, module, session, sequence, elsewhere, _epoch_ms(members.get("created")))


def _epoch_ms(text: object) -> int:
    if not isinstance(text, str) or len(text) != 24 or not text[20:23].isdecimal():
        return NO_TIME_MS
    seconds = _epoch_s(text[:19])
    return seconds * 1000 + int(text[20:23]) if seconds >= 0 else NO_TIME_MS


@lru_cache(maxsize=64)  # many messages share a second
def _epoch_s(text: str) -> int:
    if not _TIME.fullmatch(text):
        return -1
    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp())
    except (ValueError, OverflowError):
        return -1


def _pattern_of(template: str) -> str:
    parts: list[str] = []
    for n, part in enumerate(_PLACEHOLDER.split(template)):
        if n % 2 == 0:
            parts.append(re.escape(part))
        elif f"(?P<{part}>[^/]+)" in parts:
            parts.append(f"(?P={part})")
        else:
            parts.append(f"(?P<{part}>[^/]+)")
    return "".join(parts)
