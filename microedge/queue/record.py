"""A batch row as bytes: what the queue writes into one BLOB, and reads back; pure.

    head      magic "meqB", version, flags, priority, 0, CRC-32, row id, number of messages, boot, time,
              lengths of endpoint, raw payload and stored payload, messages on disk after its commit
    endpoint  UTF-8
    payload   per message: i64 expiry (CLOCK_BOOTTIME ms of that boot, -1 never) and a microedge.message record

The head repeats what the table's columns say, so that a scan over the pages of a damaged database can recognise a row
and check it without the schema; how many messages waited says how many are missing there. The CRC covers everything
else in the row. The payload is compressed where that helps: zlib level 1 shrinks batches of JSON telemetry to a third,
a better level or library gains under 5 % more.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import NamedTuple

from microedge.message import Envelope, Message, unpack

MAGIC = b"meqB"
VERSION = 2
NEVER_MS = -1  # an expiry that never comes

UNKNOWN = -1  # messages on disk, where nobody has counted them

_HEAD = struct.Struct("<4sBBBxIQIIQHIIq")
_EXPIRY = struct.Struct("<q")
_PRIORITY_AT, _CRC_AT = 6, 8  # offsets in the head
_IS_COMPRESSED = 1
_COMPRESS_FROM_BYTES = 256  # a single short reading does not shrink, it only costs time


class RowHead(NamedTuple):
    """What identifies a row: `row_id` orders it, `boot` and `at_ms` (CLOCK_BOOTTIME) say when it began to wait.

    `waiting` counts the messages on disk after the commit that wrote it.
    """

    row_id: int
    endpoint: str
    priority: int
    messages: int
    boot: int
    at_ms: int
    waiting: int = UNKNOWN


def encode(head: RowHead, records: Iterable[tuple[int, bytes]]) -> bytes:
    """Return the bytes of a row; `records` are (expiry in ms or NEVER_MS, packed message)."""
    raw = b"".join(part for expires_ms, record in records for part in (_EXPIRY.pack(expires_ms), record))
    payload, flags = raw, 0
    if len(raw) > _COMPRESS_FROM_BYTES:
        packed = zlib.compress(raw, 1)
        if len(packed) < len(raw):
            payload, flags = packed, _IS_COMPRESSED
    endpoint = head.endpoint.encode()
    fields = (head.row_id, head.messages, head.boot, head.at_ms, len(endpoint), len(raw), len(payload), head.waiting)
    blank = _HEAD.pack(MAGIC, VERSION, flags, head.priority, 0, *fields)
    crc = zlib.crc32(payload, zlib.crc32(endpoint, zlib.crc32(blank)))
    return _HEAD.pack(MAGIC, VERSION, flags, head.priority, crc, *fields) + endpoint + payload


def decode(data: bytes) -> tuple[RowHead, list[tuple[int, Message]]]:
    """Return the head of a row and its (expiry in ms or NEVER_MS, message) in order.

    Raises:
        ValueError: the bytes are no row, or are damaged; the text says where.
    """
    head = read_head(data)
    fields = _HEAD.unpack_from(data)
    raw = _raw(data[_HEAD.size + fields[9] :], fields[2], fields[10])
    return head, _records(raw, head.messages)


def read_head(data: bytes) -> RowHead:
    """Return the head of a row whose bytes are all as they were written.

    Raises:
        ValueError: the bytes are no row, or are damaged; the text says where.
    """
    row_id, count, boot, at_ms, endpoint_len, _, stored_len, waiting = _fields(data)
    payload_at = _HEAD.size + endpoint_len
    if len(data) != payload_at + stored_len:
        raise ValueError(f"row {row_id} has {len(data)} bytes: expected {payload_at + stored_len}")
    blank = data[:_CRC_AT] + bytes(4) + data[_CRC_AT + 4 :]
    found, crc = zlib.crc32(blank), _HEAD.unpack_from(data)[4]
    if found != crc:
        raise ValueError(f"row {row_id}: checksum {found:08x}: expected {crc:08x}")
    endpoint = data[_HEAD.size : payload_at].decode()
    return RowHead(row_id, endpoint, data[_PRIORITY_AT], count, boot, at_ms, waiting)


def announced_bytes(data: bytes) -> int:
    """Return how long the row that begins here says it is; nothing was checked but that it begins like one.

    Raises:
        ValueError: no row begins here.
    """
    *_, endpoint_len, _, stored_len, _ = _fields(data)
    return _HEAD.size + int(endpoint_len) + int(stored_len)


def _fields(data: bytes) -> tuple[int, ...]:
    try:
        magic, version, _, _, _, *fields = _HEAD.unpack_from(data)
    except struct.error as error:
        raise ValueError(f"row of {len(data)} bytes: expected at least {_HEAD.size}") from error
    if magic != MAGIC or version != VERSION:
        raise ValueError(f"row begins with {magic!r} version {version}: expected {MAGIC!r} version {VERSION}")
    return tuple(fields)


def _raw(payload: bytes, flags: int, raw_len: int) -> bytes:
    if not flags & _IS_COMPRESSED:
        return payload
    try:
        return zlib.decompressobj().decompress(payload, raw_len + 1)  # never more than was announced
    except zlib.error as error:
        raise ValueError(f"compressed payload of {len(payload)} bytes: {error}") from error


def _records(raw: bytes, count: int) -> list[tuple[int, Message]]:
    records: list[tuple[int, Message]] = []
    envelopes: dict[bytes, Envelope] = {}
    at = 0
    while at + _EXPIRY.size <= len(raw):
        expires_ms = _EXPIRY.unpack_from(raw, at)[0]
        message, at = unpack(raw, at + _EXPIRY.size, envelopes)
        records.append((expires_ms, message))
    if len(records) != count or at != len(raw):
        raise ValueError(f"row holds {len(records)} messages in {at} of {len(raw)} bytes: expected {count} messages")
    return records
