"""What a condition may ask of one message: its properties, what the hub knows of it, and its body.

The body is decoded at most once, and only when a condition asks. It can be read when the message says that it is JSON
(content type application/json) and in which encoding (utf-8, utf-16 or utf-32), and when it holds an object; else
everything in it is undefined and `problem` says why.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microedge.hub.values import NULL, Value
from microedge.message import JSON_TYPE, Message

if TYPE_CHECKING:
    from microedge.hub.expression import Path

# Without a byte order mark, little endian as in .NET; Python would take that of the machine. Each encoding: the mark
# that is skipped, what to decode without a mark and with one.
_ENCODINGS = {
    "utf-8": ((b"\xef\xbb\xbf",), "utf-8", "utf-8-sig"),
    "utf-16": ((b"\xff\xfe", b"\xfe\xff"), "utf-16-le", "utf-16"),
    "utf-32": ((b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff"), "utf-32-le", "utf-32"),
}

# The system properties that a change of a twin has besides, as in edgeHub.
TWIN_CHANGE = dict.fromkeys(("messageschema", "messagetype"), "twinChangeNotification")


@dataclass(frozen=True)
class Problem:
    """Why a body is undefined: "content_type", "content_encoding", "malformed" or "no_object", and a sentence."""

    code: str
    text: str


class Facts:
    """One message and the device it is on.

    `names` is `names_of` the message's properties, for callers that keep it. `system` replaces system properties, by
    their name in lower case. `is_read` and `decoded` are the body as far as anybody has asked: use `body`.
    """

    __slots__ = ("decoded", "device", "is_read", "message", "names", "problem", "system")

    def __init__(
        self,
        message: Message,
        device: str,
        *,
        names: Mapping[str, str] | None = None,
        system: Mapping[str, str] | None = None,
    ) -> None:
        self.message = message
        self.device = device
        self.names = names_of(message.envelope.properties) if names is None else names
        self.system = system
        self.problem: Problem | None = None
        self.is_read = False
        self.decoded: dict[str, Any] | None = None

    def body(self) -> dict[str, Any] | None:
        """Return the decoded body, None when it cannot be read; `problem` then says why."""
        if not self.is_read:
            self.is_read = True
            result = read_body(self.message)
            if isinstance(result, Problem):
                self.problem = result
            else:
                self.decoded = result
        return self.decoded

    def property(self, name: str, lowered: str) -> str | None:
        """Return an application property; `lowered` is its name in lower case: case does not count."""
        value = self.names.get(name)
        return self.names.get(lowered) if value is None else value

    def system_property(self, lowered: str) -> str | None:
        """Return a system property by its name in lower case, without the $; None for one that is not known."""
        if self.system is not None and lowered in self.system:
            return self.system[lowered]
        getter = _SYSTEM.get(lowered)
        return getter(self) or None if getter is not None else None


def names_of(properties: Mapping[str, str]) -> dict[str, str]:
    """Return properties by their names and by their names in lower case; an exact name goes first."""
    names = {name.lower(): value for name, value in properties.items()}
    names.update(properties)
    return names


def read_body(message: Message) -> dict[str, Any] | Problem:
    """Return the JSON object that the body of a message is, every number in it a float; or why there is none."""
    envelope = message.envelope
    if envelope.content_type.lower() != JSON_TYPE:
        return Problem("content_type", f"content type is {envelope.content_type!r}, expected '{JSON_TYPE}'")
    encoding = _ENCODINGS.get(envelope.content_encoding.lower())
    if encoding is None:
        found = envelope.content_encoding
        return Problem("content_encoding", f"content encoding is {found!r}, expected 'utf-8', 'utf-16' or 'utf-32'")
    body, (marks, plain, with_mark) = message.body, encoding
    try:
        value = _decode(body.decode(with_mark if body.startswith(marks) else plain))
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        return Problem("malformed", f"the body is no JSON: {reason}")
    if not isinstance(value, dict):
        return Problem("no_object", "the body is JSON but no object")
    return value


def member(value: Any, path: Path) -> Any:
    """Return what is at `path` in decoded JSON, None where there is nothing."""
    for step in path:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        else:
            value = value[step] if isinstance(value, list) and step < len(value) else None
    return value


def value_at(body: dict[str, Any], path: Path) -> Value:
    """Return a value of a decoded body: null where there is none, undefined for an object or an array."""
    value: Value | dict[str, Any] | list[Any] = member(body, path)
    if value is None:
        return NULL
    return None if isinstance(value, (dict, list)) else value


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number of JSON")


# Integers straight to floats: Python's own take quadratic time, 256 KiB of digits would stop the hub for a second.
_decode = json.JSONDecoder(parse_int=float, parse_constant=_refuse).decode


def _creation_time(facts: Facts) -> str:
    from datetime import datetime, timezone  # only a route that asks pays for it

    try:
        time = datetime.fromtimestamp(facts.message.created_ms / 1000, timezone.utc)
    except (ValueError, OverflowError, OSError):  # a clock that says year 10,000
        return ""
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{facts.message.created_ms % 1000:03}Z"


_SYSTEM: dict[str, Callable[[Facts], str]] = {
    "connectiondeviceid": lambda facts: facts.device,
    "connectionmoduleid": lambda facts: facts.message.module,
    "contentencoding": lambda facts: facts.message.content_encoding,
    "contenttype": lambda facts: facts.message.content_type,
    "creationtime": _creation_time,
    "edgemessageid": lambda facts: facts.message.message_id,
    "inputname": lambda facts: facts.message.input,
    "messageid": lambda facts: facts.message.message_id,
    "outputname": lambda facts: facts.message.output,
}
SYSTEM_PROPERTIES = tuple(sorted(_SYSTEM))
