"""The frames that carry a twin between the hub and a module. Pure; what a twin may hold is its own business."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from microedge import wire
from microedge.errors import RemoteProtocolError, TwinError, printable
from microedge.method import decode_payload

_OK, _REFUSED = b"200", b"400"
_PATCH, _WHOLE = b"patch", b"whole"
_SHOWN_BYTES = 1_024  # of a refused value that is not one of JSON's scalars: the module has it anyway


def read_report(body: bytes) -> object:
    """Return the JSON value of a REPORT frame, whatever it is.

    Raises:
        RemoteProtocolError: it is no JSON, too deep, or longer than 128 KiB, which no twin can hold.
    """
    try:
        return decode_payload(body)
    except ValueError as error:
        raise RemoteProtocolError(f"report of bytes={len(body)}: {printable(error)}") from error


def reported_frame(request: int, version: int) -> bytes:
    """Return the answer to a report that was taken: the version of the reported properties from now on."""
    return wire.encode(wire.REPORTED, request, head=_OK, body=_json({"version": version}))


def report_refused_frame(request: int, error: TwinError) -> bytes:
    """Return the answer to a report that was refused: what the module raises as the same TwinError."""
    members = {"path": error.path, "got": _shown(error.got), "expected": error.expected, "message": str(error)}
    return wire.encode(wire.REPORTED, request, head=_REFUSED, body=_json(members))


def desired_frame(version: int, document: Mapping[str, Any], is_whole: bool) -> bytes:
    """Return the frame that tells a module a change of its desired properties, or the whole document.

    `document` comes without `$version`; a patch keeps its nulls, which delete.
    """
    return wire.encode(wire.DESIRED, version, head=_WHOLE if is_whole else _PATCH, body=_json(document))


def _shown(value: object) -> object:
    """Return a value that was refused if it is small JSON, its beginning as a text otherwise."""
    try:
        is_small = len(json.dumps(value, allow_nan=False)) <= _SHOWN_BYTES
    except (TypeError, ValueError, RecursionError):
        is_small = False
    return value if is_small else printable(value)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
