"""Frames between a module and the hub: bytes in, frames out; pure.

One frame is a 24-byte little-endian header, a head and a body:

    u32 length     bytes behind the header: head and body together
    u8  type       one of the constants below
    u8  flags      0; a receiver refuses anything else, so that a later version can give it a meaning
    u16 head       length of the head, the part that the hub reads on the hot path
    u64 number     sequence, cumulative acknowledgement or delivery id, by type
    u64 time_ms    CLOCK_BOOTTIME of the sender in milliseconds, 0 where it says nothing

    type      from     number            head               body
    READY     module   0                 -                  -
    PROGRESS  module   0                 -                  -
    SEND      module   sequence from 1   envelope           the message body, opaque
    DONE      module   delivery id       "" or the error    -
    RESULT    module   call id           status             JSON: what the method returned
    INVOKE    module   request id        JSON: whom, what   JSON: the payload
    REPORT    module   request id        -                  JSON: a patch of the reported properties
    BEGUN     module   delivery id       -                  -      the handler of a SUSPECT runs from now on
    START     hub      0                 -                  JSON: who the module is, its window and its twin
    ACK       hub      sequence          -                  -      everything up to it is acknowledged
    DELIVER   hub      delivery id       input name         a message record (microedge.message.pack)
    SUSPECT   hub      delivery id       as DELIVER         as DELIVER; the answer is BEGUN, then DONE
    STOP      hub      0                 -                  -      please return from main
    METHOD    hub      call id           method name        JSON: the payload
    INVOKED   hub      request id        status             JSON: the answer
    REPORTED  hub      request id        "200" or "400"     JSON: the new version, or what was wrong with the patch
    DESIRED   hub      $version          "patch" or "whole" JSON: a patch of the desired properties, or all of them

Credit: START grants a window of messages and bytes; the module has at most that much unacknowledged (a single
message may be larger than the bytes granted, when nothing else is under way). One message is at most 256 KiB as IoT
Edge counts it, so a frame is at most that plus the largest head; a longer length is refused before anything is
allocated for it. A stream socket has no borders to resynchronise on: after garbage the connection is closed.
"""

from __future__ import annotations

import struct

from microedge.errors import LocalProtocolError, RemoteProtocolError
from microedge.message import MAX_MESSAGE_BYTES

READY, PROGRESS, SEND, DONE, RESULT, INVOKE, REPORT, BEGUN = 1, 2, 3, 4, 5, 6, 7, 8
START, ACK, DELIVER, STOP, METHOD, INVOKED, REPORTED, DESIRED, SUSPECT = 65, 66, 67, 68, 69, 70, 71, 72, 73

FROM_MODULE = frozenset((READY, PROGRESS, SEND, DONE, RESULT, INVOKE, REPORT, BEGUN))
FROM_HUB = frozenset((START, ACK, DELIVER, STOP, METHOD, INVOKED, REPORTED, DESIRED, SUSPECT))

HEADER = struct.Struct("<IBBHQQ")
MAX_HEAD_BYTES = 65_535
MAX_FRAME_BYTES = HEADER.size + MAX_HEAD_BYTES + MAX_MESSAGE_BYTES + 1_024  # a record adds its own small header

Frame = tuple[int, int, int, bytes, bytes]
"""(type, number, time_ms, head, body): a plain tuple, because a named one doubles the cost of decoding."""


def encode(kind: int, number: int = 0, *, time_ms: int = 0, head: bytes = b"", body: bytes = b"") -> bytes:
    """Return one frame as bytes.

    Raises:
        LocalProtocolError: head or body is too long for a frame.
    """
    head_len, length = len(head), len(head) + len(body)
    if head_len > MAX_HEAD_BYTES or length > MAX_FRAME_BYTES - HEADER.size:
        raise LocalProtocolError(
            f"frame of head_bytes={head_len} body_bytes={len(body)}: expected at most {MAX_HEAD_BYTES} and "
            f"{MAX_FRAME_BYTES - HEADER.size} together"
        )
    return HEADER.pack(length, kind, 0, head_len, number, time_ms) + head + body


class Decoder:
    """Cuts a byte stream into frames. Holds at most one incomplete frame, never more than MAX_FRAME_BYTES of it."""

    def __init__(self, allowed: frozenset[int]) -> None:
        """`allowed` is the set of types that the other side may send: FROM_MODULE or FROM_HUB."""
        self._allowed = allowed
        self._rest = bytearray()
        self._needed = 0  # bytes that `_rest` must reach before looking again: one byte at a time stays linear

    @property
    def is_mid_frame(self) -> bool:
        """True while a frame has begun and not ended: at the end of the stream, something was cut off."""
        return bool(self._rest)

    @property
    def missing_bytes(self) -> int:
        """How many bytes the next frame still needs, as far as is known: at least the rest of its header."""
        return max(self._needed, HEADER.size) - len(self._rest)

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that `data` completes, in order.

        Raises:
            RemoteProtocolError: the stream is not ours; which byte and why. Nothing of `data` is returned, and the
                decoder must not be used again.
        """
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return []
            data = bytes(self._rest)
        frames: list[Frame] = []
        at, end = 0, len(data)
        self._needed = HEADER.size
        unpack, header_size, allowed = HEADER.unpack_from, HEADER.size, self._allowed
        while end - at >= header_size:
            length, kind, flags, head_len, number, time_ms = unpack(data, at)
            if kind not in allowed or flags or head_len > length or length > MAX_FRAME_BYTES - header_size:
                raise _refusal(data[at : at + header_size])
            body_at = at + header_size + head_len
            frame_end = at + header_size + length
            if frame_end > end:
                self._needed = frame_end - at
                break
            frames.append((kind, number, time_ms, data[at + header_size : body_at], data[body_at:frame_end]))
            at = frame_end
        self._rest = bytearray(data[at:])
        return frames


def _refusal(header: bytes) -> RemoteProtocolError:
    length, kind, flags, head_len, _, _ = HEADER.unpack(header)
    return RemoteProtocolError(
        f"frame header {header.hex()}: type={kind} flags={flags} head_bytes={head_len} length_bytes={length}: expected "
        f"a known type, flags 0, and at most {MAX_FRAME_BYTES - HEADER.size} bytes"
    )
