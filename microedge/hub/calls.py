"""A direct method call as a value, and the frames it travels in between the hub and modules. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from microedge import wire
from microedge.errors import RemoteProtocolError, printable
from microedge.method import (
    AGENT,
    DEFAULT_RESPONSE_TIMEOUT_S,
    NAME_RULE,
    MethodResponse,
    check_timeouts,
    decode_payload,
    encode_payload,
    is_method_name,
)
from microedge.names import NAME_RULE as MODULE_RULE
from microedge.names import is_name

_STATUS = re.compile(rb"-?[0-9]{1,10}")


@dataclass(frozen=True)
class Invocation:
    """What somebody wants called. Not checked yet: `problem` says what is wrong with it."""

    module: Any
    method: Any
    payload: bytes = b"null"  # JSON
    response_timeout_s: Any = DEFAULT_RESPONSE_TIMEOUT_S
    connect_timeout_s: Any = 0.0

    def problem(self) -> str:
        """Return why this cannot be called whoever asks, "" when it can."""
        if not (isinstance(self.module, str) and (is_name(self.module) or self.module == AGENT)):
            return f"module = {printable(self.module, 80)!r}: expected {MODULE_RULE}, or {AGENT}"
        if not is_method_name(self.method):
            return f"method = {printable(self.method, 80)!r}: expected {NAME_RULE}"
        try:
            check_timeouts(self.response_timeout_s, self.connect_timeout_s)
            decode_payload(self.payload)
        except ValueError as error:
            return printable(error)
        return ""


def read_invocation(head: bytes, body: bytes) -> Invocation:
    """Return what an INVOKE frame asks for.

    Raises:
        RemoteProtocolError: the head is no JSON object that names a module and a method.
    """
    try:
        members = json.loads(head)
        return Invocation(**members, payload=body or b"null")
    except (ValueError, TypeError, RecursionError) as error:
        raise RemoteProtocolError(f"head of INVOKE: {printable(head, 80)}: {printable(error, 80)}") from error


def read_result(head: bytes, body: bytes) -> MethodResponse:
    """Return the answer that a RESULT frame brings.

    Raises:
        RemoteProtocolError: the status is no number of 32 bits, or the payload no JSON of at most 128 KiB.
    """
    if not _STATUS.fullmatch(head):
        raise RemoteProtocolError(f"status of a method: {printable(head, 20)!r}: expected a whole number")
    try:
        payload = decode_payload(body)
        encode_payload(payload)  # it goes on as JSON: half a surrogate pair or 1e999 is what only json.loads takes
        return MethodResponse(int(head), payload)
    except ValueError as error:
        raise RemoteProtocolError(f"answer of a method: {printable(error)}") from error


def method_frame(call: int, method: str, payload: bytes) -> bytes:
    """Return the frame that asks a module to run a method."""
    return wire.encode(wire.METHOD, call, head=method.encode(), body=payload)


def invoked_frame(request: int, response: MethodResponse) -> bytes:
    """Return the frame that brings a module the answer it asked for.

    Raises:
        TypeError, ValueError: the payload is no JSON value of at most 128 KiB.
    """
    return wire.encode(wire.INVOKED, request, head=b"%d" % response.status, body=encode_payload(response.payload))
