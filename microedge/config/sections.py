"""The tables that a manifest and an instance share: [limits], [supervision], [permissions] and [desired].

The first two give only the keys that are written, so that the same reader serves a manifest (on top of the
defaults) and an operator's override (on top of the manifest).
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Mapping
from typing import Any

from microedge.config.document import Document, Words
from microedge.config.lines import KeyPath
from microedge.config.model import ALWAYS, RESTART_POLICIES, Permissions
from microedge.config.reader import Range, TableReader

# 24 MiB: below it an interpreter with the SDK does not get as far as the module's own code.
LIMIT_RANGES = {
    "memory_mib": Range(24, 65_536, "MiB"),
    "processes": Range(1, 4_096),
    "open_files": Range(16, 65_536),
    "cpu_weight": Range(1, 10_000),  # what cgroups take; 100 is the usual share
}
TIMEOUT_RANGES = {
    "ready_timeout_s": Range(1, 3_600, "seconds"),
    "stop_timeout_s": Range(1, 600, "seconds"),
    "hang_timeout_s": Range(0, 86_400, "seconds"),
}
INPUT_WINDOWS = Range(1, 256, "messages")
START_ORDERS = Range(0, 1_000_000)
PERMISSION_KEYS = ("network", "groups", "read")
GROUP_RULE = "names of groups of this system"

# The limits of a desired document in Azure IoT Hub, so that a twin can move there and back.
MAX_DESIRED_BYTES = 32 * 1024
MAX_DESIRED_DEPTH = 10
_MAX_KEY_BYTES = 1024
_MAX_TEXT_BYTES = 4096
_INTEGERS = range(-(1 << 52), 1 << 52)

_GROUP = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_BAD_KEY = re.compile(r"[.$#\s\x00-\x1f\x7f-\x9f]")
_KEY_RULE = f"a key of 1 to {_MAX_KEY_BYTES} bytes without . $ # and blanks"


def read_limits(table: TableReader) -> dict[str, int]:
    """Return the limits that are written.

    Raises:
        ConfigError: a key is unknown or a value out of its range.
    """
    table.only(*LIMIT_RANGES)
    return {key: table.integer(key, None, span) for key, span in LIMIT_RANGES.items() if key in table}


def read_supervision(table: TableReader) -> dict[str, Any]:
    """Return the rules of supervision that are written.

    Raises:
        ConfigError: a key is unknown or a value out of its range.
    """
    table.only("restart", "start_order", *TIMEOUT_RANGES)
    rules: dict[str, Any] = {}
    if "restart" in table:
        rules["restart"] = table.choice("restart", ALWAYS, RESTART_POLICIES)
    if "start_order" in table:
        rules["start_order"] = table.integer("start_order", None, START_ORDERS)
    for key, span in TIMEOUT_RANGES.items():
        if key in table:
            rules[key] = table.number(key, None, span)
    return rules


def read_permissions(table: TableReader) -> Permissions:
    """Return what is asked for or granted; what is not written is not.

    Raises:
        ConfigError: a key is unknown, a group's name cannot be one, or a path is not absolute.
    """
    table.only(*PERMISSION_KEYS)
    return Permissions(
        network=table.boolean("network", False),
        groups=table.strings("groups", lambda text: _GROUP.fullmatch(text) is not None, GROUP_RULE),
        read=table.strings("read", _is_plain_path, 'absolute paths without "..", for example "/sys/bus/w1"'),
    )


def read_desired(table: TableReader) -> dict[str, Any]:
    """Return a desired document within the limits of a twin: 32 KiB, 10 levels, numbers of 53 bits, JSON types only.

    Raises:
        ConfigError: a key or value is outside of them; the error names it.
    """
    document = {key: table.value(key) for key in table.keys()}  # noqa: SIM118 (no mapping)
    size = _checked_size(table.document, table.path, document, 0)
    if size > MAX_DESIRED_BYTES:
        expected = f"a document of at most {MAX_DESIRED_BYTES} bytes"
        raise table.document.wrong(table.path, Words(f"(a table of {size} bytes)"), expected)
    return document


def _is_plain_path(text: str) -> bool:
    return text.startswith("/") and ".." not in text.split("/")


def _checked_size(document: Document, path: KeyPath, value: object, depth: int) -> int:
    """Return the size of `value` as IoT Hub counts it; recursion is bounded by `MAX_DESIRED_DEPTH`."""
    if isinstance(value, (Mapping, list)) and depth >= MAX_DESIRED_DEPTH and value:
        raise document.wrong(path, Words("(nested too deeply)"), f"at most {MAX_DESIRED_DEPTH} levels")
    if isinstance(value, list):
        return sum(_checked_size(document, path, item, depth + 1) for item in value)
    if isinstance(value, Mapping):
        return sum(
            _key_size(document, (*path, key)) + _checked_size(document, (*path, key), item, depth + 1)
            for key, item in value.items()
        )
    return _scalar_size(document, path, value)


def _key_size(document: Document, path: KeyPath) -> int:
    key = str(path[-1])
    size = len(key.encode())
    if not 0 < size <= _MAX_KEY_BYTES or _BAD_KEY.search(key):
        raise document.wrong(path, Words("…"), _KEY_RULE)
    return size


def _scalar_size(document: Document, path: KeyPath, value: object) -> int:
    if isinstance(value, (datetime.date, datetime.time)):
        raise document.wrong(path, value, "a JSON value", "write a date or time as text, in quotes")
    if isinstance(value, bool):
        return 4
    if isinstance(value, int) and value not in _INTEGERS:
        raise document.wrong(path, value, "a whole number of at most 53 bits", "write a longer one as text, in quotes")
    if isinstance(value, float) and not math.isfinite(value):
        raise document.wrong(path, value, "a finite number", "JSON has no nan and no inf")
    if isinstance(value, str):
        return _text_size(document, path, value)
    return 8


def _text_size(document: Document, path: KeyPath, text: str) -> int:
    size = len(text.encode())
    if size > _MAX_TEXT_BYTES:
        raise document.wrong(path, Words(f"(a string of {size} bytes)"), f"at most {_MAX_TEXT_BYTES} bytes")
    return size
