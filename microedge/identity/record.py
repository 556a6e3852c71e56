"""One identity as a value, and as the bytes of its file. Pure.

The file is JSON for people to read, with a checksum: an SD card that flips a bit in a key would otherwise leave a
valid file with a key that nobody knows.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field, fields, replace
from typing import Any

KEY_BYTES = 32  # as Azure IoT Hub makes them: the block that HMAC-SHA256 gets the most from
GENERATION_BYTES = 8
MAX_FILE_BYTES = 4_096  # a file has about 600; a larger one is not ours

PRIMARY, SECONDARY = "primary", "secondary"
KEYS = (PRIMARY, SECONDARY)

_CHECKSUM = "crc32"


@dataclass(frozen=True)
class Identity:
    """The device (`module` is "") or one module instance on it. Both keys, base64, are valid at the same time.

    `created`, `rotated` and `removed` are UTC as `2026-11-23T16:18:52Z`; the latter two are "" if it never happened.
    """

    device: str
    module: str
    generation: str
    primary: str = field(repr=False)
    secondary: str = field(repr=False)
    created: str
    rotated: str = ""
    removed: str = ""

    @property
    def path(self) -> str:
        """`/devices/<device>` or `/devices/<device>/modules/<module>`."""
        return identity_path(self.device, self.module)

    def key(self, which: str) -> str:
        """Return the key that is called `which`, "primary" or "secondary"."""
        return self.primary if which == PRIMARY else self.secondary

    def with_key(self, which: str, key: str, now: str) -> Identity:
        """Return this identity with one key replaced; the other one stays valid.

        Raises:
            ValueError: `which` is neither "primary" nor "secondary".
        """
        if which not in KEYS:
            raise ValueError(f"which = {which!r}: expected primary or secondary")
        if which == PRIMARY:
            return replace(self, primary=key, rotated=now)
        return replace(self, secondary=key, rotated=now)


def identity_path(device: str, module: str = "") -> str:
    """Return the path that names an identity."""
    return f"/devices/{device}/modules/{module}" if module else f"/devices/{device}"


def encode(identity: Identity) -> bytes:
    """Return the content of the identity's file."""
    document: dict[str, Any] = {each.name: getattr(identity, each.name) for each in fields(identity)}
    document[_CHECKSUM] = _checksum(document)
    return json.dumps(document, indent=2).encode() + b"\n"


def decode(data: bytes) -> Identity:
    """Return the identity that a file holds. Keys that a later version added are ignored.

    Raises:
        ValueError: it is cut short or damaged; the text says what was found.
    """
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"found {len(data)} bytes: expected at most {MAX_FILE_BYTES}")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"found {len(data)} bytes that are not JSON: it is cut short or damaged") from error
    if not isinstance(document, dict):
        raise ValueError("found JSON that is no object")
    return _identity(document)


def _identity(document: dict[str, Any]) -> Identity:
    written = document.pop(_CHECKSUM, None)
    if written != _checksum(document):
        raise ValueError("its checksum does not match its content: it was damaged or edited")
    values: dict[str, str] = {}
    for each in fields(Identity):
        value = document.get(each.name)
        if not isinstance(value, str):
            raise ValueError(f"found no text under {each.name}")
        values[each.name] = value
    identity = Identity(**values)
    for which in KEYS:
        _check_key(which, identity.key(which))
    if not identity.generation:
        raise ValueError("found no generation id")
    return identity


def _check_key(which: str, key: str) -> None:
    try:
        size_bytes = len(base64.b64decode(key, validate=True))
    except ValueError as error:  # binascii.Error is one
        raise ValueError(f"found a {which} key that is not base64") from error
    if size_bytes != KEY_BYTES:
        raise ValueError(f"found a {which} key of {size_bytes} bytes: expected {KEY_BYTES}")


def _checksum(document: dict[str, Any]) -> str:
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return f"{binascii.crc32(canonical.encode()):08x}"
