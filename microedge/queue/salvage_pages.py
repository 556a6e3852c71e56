"""Pages of a SQLite file and frames of its WAL, read without SQLite; pure, and safe with any garbage.

A damaged database refuses whole queries where most of its pages are as they were. What is read here needs no more than
the page itself: the cells of a leaf, and the columns of a record (https://sqlite.org/fileformat2.html).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple, Union

from microedge.queue.record import MAGIC, announced_bytes

PAGE_BYTES = 4096
FRAME_HEAD_BYTES, WAL_HEAD_BYTES = 24, 32
TABLE_LEAF, TABLE_INTERIOR, INDEX_LEAF = 0x0D, 0x05, 0x0A

_MAX_LOCAL = {TABLE_LEAF: PAGE_BYTES - 35, INDEX_LEAF: (PAGE_BYTES - 12) * 64 // 255 - 23}
_MIN_LOCAL = (PAGE_BYTES - 12) * 32 // 255 - 23
_MAX_PAYLOAD = 1 << 24  # far beyond any row of ours
_INT_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_WAL_MAGIC = {0x377F0682: "<", 0x377F0683: ">"}

Value = Union[int, str, bytes, None]


class Cell(NamedTuple):
    """One row as its leaf has it: `local` is the beginning of `size` bytes, the rest begins at page `overflow`."""

    key: int
    size: int
    local: bytes
    overflow: int


class Child(NamedTuple):
    """A page below an interior one: it has the keys up to `key`."""

    page: int
    key: int


def leaf_cells(page: bytes, kind: int = TABLE_LEAF) -> list[Cell | None]:
    """Return the rows of a leaf, None for each that does not fit into its page.

    Raises:
        ValueError: it is no such leaf.
    """
    if len(page) != PAGE_BYTES or page[0] != kind:
        raise ValueError(f"page of {len(page)} bytes, kind {page[:1]!r}: expected a leaf of kind {kind:#x}")
    count = int.from_bytes(page[3:5], "big")
    if 8 + 2 * count > PAGE_BYTES:
        raise ValueError(f"leaf of {count} cells: more than a page takes")
    return [_cell(page, at, kind) for (at,) in struct.iter_unpack(">H", page[8 : 8 + 2 * count])]


def children(page: bytes, low: int, high: int) -> list[Child]:
    """Return the pages below an interior page of a table that has the keys above `low` up to `high`, in order.

    Raises:
        ValueError: it is no such page.
    """
    if len(page) != PAGE_BYTES or page[0] != TABLE_INTERIOR:
        raise ValueError(f"page of {len(page)} bytes, kind {page[:1]!r}: expected an interior one")
    count = int.from_bytes(page[3:5], "big")
    found: list[Child] = []
    try:
        for (at,) in struct.iter_unpack(">H", page[12 : 12 + 2 * count]):
            found.append(Child(int.from_bytes(page[at : at + 4], "big"), _varint(page, at + 4)[0]))
    except (IndexError, struct.error) as error:
        raise ValueError(f"interior page of {count} cells: {error}") from error
    found.append(Child(int.from_bytes(page[8:12], "big"), high))
    keys = [low, *(child.key for child in found)]
    if len(found) != count + 1 or any(after < before for before, after in zip(keys, keys[1:])):
        raise ValueError(f"interior page of {count} cells: its keys are not in order")
    return found


def columns(payload: bytes, size: int) -> list[Value]:
    """Return the columns of a record of `size` bytes, as far as `payload` has them whole.

    Raises:
        ValueError: it is no record, or holds what no table of ours does.
    """
    try:
        head_bytes, at = _varint(payload, 0)
        kinds: list[int] = []
        while at < head_bytes:
            kind, at = _varint(payload, at)
            kinds.append(kind)
        lengths = [_INT_BYTES.get(kind, (kind - 12) // 2 if kind >= 12 else 0) for kind in kinds]
        if at != head_bytes or head_bytes + sum(lengths) != size or any(kind in (7, 10, 11) for kind in kinds):
            raise ValueError(f"record of {size} bytes: its header does not fit it")
        found: list[Value] = []
        for kind, length in zip(kinds, lengths):
            if at + length > len(payload):
                break
            found.append(_value(kind, payload[at : at + length]))
            at += length
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"record of {size} bytes: {error}") from error
    return found


def carve(page: bytes) -> Iterator[bytes]:
    """Yield what looks like a whole batch row within one page, wherever it stands; the caller checks it."""
    at = page.find(MAGIC)
    while at >= 0:
        try:
            end = at + announced_bytes(page[at:])
        except ValueError:
            end = len(page) + 1
        if end <= len(page):
            yield page[at:end]
        at = page.find(MAGIC, at + 1)


class Frame(NamedTuple):
    """One page in a WAL, at byte `at` of it. `is_sound`: its checksum is right.

    `is_current`: since the WAL was begun anew the last time; what was there before is in the database. `is_last`: of
    its transaction.
    """

    page: int
    at: int
    is_sound: bool
    is_current: bool
    is_last: bool


def frames(read: Callable[[int, int], bytes], size: int) -> Iterator[Frame]:
    """Yield every frame of a WAL of `size` bytes; `read(at, n)` gives its bytes, fewer where it cannot.

    A checksum goes on from that of the frame before. So it is checked against what stands there, not against what it
    should be: a bad frame then spoils no more than the next one.
    """
    head = read(0, WAL_HEAD_BYTES).ljust(WAL_HEAD_BYTES, b"\0")
    magic = int.from_bytes(head[:4], "big")
    order = _WAL_MAGIC.get(magic, "<")
    before = struct.unpack(">II", head[24:32])
    salts = head[16:24] if magic in _WAL_MAGIC and wal_checksum(head[:24], (0, 0), order) == before else b""
    for at in range(WAL_HEAD_BYTES, size - PAGE_BYTES - FRAME_HEAD_BYTES + 1, PAGE_BYTES + FRAME_HEAD_BYTES):
        frame = read(at, FRAME_HEAD_BYTES + PAGE_BYTES).ljust(FRAME_HEAD_BYTES + PAGE_BYTES, b"\0")
        page, pages_after = struct.unpack(">II", frame[:8])
        stored = struct.unpack(">II", frame[16:24])
        is_sound = page > 0 and wal_checksum(frame[:8] + frame[24:], before, order) == stored
        if is_sound and not salts:
            salts = frame[8:16]  # the header is lost: the first frame that can be trusted says which are current
        yield Frame(page, at, is_sound, frame[8:16] == salts, pages_after > 0)
        before = stored


def wal_checksum(data: bytes, start: tuple[int, ...], order: str) -> tuple[int, ...]:
    """Return the checksum of a WAL over `data`, going on from `start`."""
    one, two = start
    for first, second in struct.iter_unpack(f"{order}II", data):
        one = (one + first + two) & 0xFFFFFFFF
        two = (two + second + one) & 0xFFFFFFFF
    return one, two


def _cell(page: bytes, at: int, kind: int) -> Cell | None:
    try:
        size, at = _varint(page, at)
        key, at = _varint(page, at) if kind == TABLE_LEAF else (0, at)
    except IndexError:
        return None
    if not 0 < size <= _MAX_PAYLOAD:
        return None
    if size <= _MAX_LOCAL[kind]:
        return Cell(key, size, page[at : at + size], 0) if at + size <= PAGE_BYTES else None
    local = _MIN_LOCAL + (size - _MIN_LOCAL) % (PAGE_BYTES - 4)
    local = local if local <= _MAX_LOCAL[kind] else _MIN_LOCAL
    if at + local + 4 > PAGE_BYTES:
        return None
    return Cell(key, size, page[at : at + local], int.from_bytes(page[at + local : at + local + 4], "big"))


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(8):
        byte = data[at + index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + index + 1
    value = value << 8 | data[at + 8]
    return (value - (1 << 64) if value >> 63 else value), at + 9


def _value(kind: int, data: bytes) -> Value:
    if kind >= 12:
        return data.decode() if kind % 2 else data
    if kind in (8, 9):
        return kind - 8
    return int.from_bytes(data, "big", signed=True) if kind else None
