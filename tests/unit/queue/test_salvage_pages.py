from __future__ import annotations

import contextlib
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microedge.queue import schema
from microedge.queue.record import NEVER_MS, RowHead, encode, read_head
from microedge.queue.salvage_pages import (
    INDEX_LEAF,
    PAGE_BYTES,
    TABLE_INTERIOR,
    TABLE_LEAF,
    carve,
    children,
    columns,
    frames,
    leaf_cells,
    wal_checksum,
)

KINDS = st.sampled_from((TABLE_LEAF, TABLE_INTERIOR, INDEX_LEAF))
GARBAGE = st.builds(
    lambda kind, head, body: (bytes([kind]) + head + body * PAGE_BYTES)[:PAGE_BYTES],
    KINDS,
    st.binary(max_size=64),
    st.binary(min_size=1, max_size=64),
)


def row(row_id: int = 7, body: bytes = b"x" * 100) -> bytes:
    return encode(RowHead(row_id, "$upstream", 9, 1, 1, 5, 12), [(NEVER_MS, body)])


def database(path: str, sizes: list[int]) -> bytes:
    with contextlib.closing(schema.connect(path, 0)) as db:
        for row_id, size in enumerate(sizes, 1):
            values = (row_id, "$upstream", 9, 1, -1, 1, 300 * row_id, bytes([row_id % 251]) * size)
            db.execute("INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
    with open(path, "rb") as file:
        return file.read()


def test_pages_are_as_large_as_those_of_the_database():
    assert PAGE_BYTES == schema.PAGE_BYTES


@pytest.mark.parametrize("size", [0, 1, 400, 4000, 4005, 4010, 4015, 4020, 4025, 4030, 5000, 9000, 70_000])
def test_a_row_of_any_size_is_read_as_sqlite_wrote_it(tmp_path, size):
    data = database(str(tmp_path / "queue.db"), [size])
    pages = [data[at : at + PAGE_BYTES] for at in range(0, len(data), PAGE_BYTES)]

    (cell,) = leaf_cells(pages[schema.roots()["batch"] - 1])
    assert cell is not None
    payload, number = cell.local, cell.overflow
    while len(payload) < cell.size:
        page = pages[number - 1]
        payload += page[4 : 4 + cell.size - len(payload)]
        number = int.from_bytes(page[:4], "big")

    assert (cell.key, number) == (1, 0)
    assert columns(payload, cell.size) == [None, "$upstream", 9, 1, -1, 1, 300, b"\1" * size]


def test_an_interior_page_leads_to_its_leaves(tmp_path):
    data = database(str(tmp_path / "queue.db"), [1000] * 40)
    root = schema.roots()["batch"] - 1
    page = data[root * PAGE_BYTES : (root + 1) * PAGE_BYTES]

    below = children(page, 0, 1 << 62)
    keys = []
    for child in below:
        leaf = data[(child.page - 1) * PAGE_BYTES : child.page * PAGE_BYTES]
        keys += [cell.key for cell in leaf_cells(leaf) if cell is not None]

    assert keys == list(range(1, 41))
    assert below[-1].key == 1 << 62


@given(GARBAGE)
def test_any_page_gives_cells_or_a_value_error_and_nothing_else(page):
    for kind in (TABLE_LEAF, INDEX_LEAF):
        with contextlib.suppress(ValueError):
            for cell in leaf_cells(page, kind):
                if cell is not None:
                    assert len(cell.local) <= cell.size
                    with contextlib.suppress(ValueError):
                        columns(cell.local, cell.size)
    with contextlib.suppress(ValueError):
        children(page, 0, 1 << 62)
    list(carve(page))


@given(st.binary(max_size=200), st.integers(-5, 300))
def test_any_record_gives_columns_or_a_value_error_and_nothing_else(payload, size):
    with contextlib.suppress(ValueError):
        columns(payload, size)


@given(st.binary(max_size=300), st.binary(max_size=300), st.integers(1, 1000))
def test_a_row_is_carved_out_of_whatever_surrounds_it(before, after, row_id):
    found = []
    for data in carve(before + row(row_id) + after):
        with contextlib.suppress(ValueError):
            found.append(read_head(data).row_id)

    assert row_id in found


@given(st.binary(max_size=20_000))
def test_any_wal_gives_frames_that_are_not_sound_and_nothing_else(garbage):
    found = list(frames(lambda at, n: garbage[at : at + n], len(garbage)))

    assert len(found) == max(0, len(garbage) - 32) // 4120


def test_every_frame_of_a_wal_is_sound_and_a_bad_one_spoils_only_the_next(tmp_path):
    file = str(tmp_path / "queue.db")
    with contextlib.closing(schema.connect(file, 0)) as db:
        for row_id in range(1, 9):
            db.execute("INSERT INTO boots VALUES (?, 'a', 1, NULL)", (row_id,))
        with open(file + "-wal", "rb") as stream:
            wal = bytearray(stream.read())

    found = list(frames(lambda at, n: bytes(wal[at : at + n]), len(wal)))
    assert len(found) >= 8
    assert all(frame.is_sound and frame.is_current for frame in found)
    assert sum(frame.is_last for frame in found) >= 8

    third = found[3].at
    wal[third : third + 4120] = bytes(4120)
    after = list(frames(lambda at, n: bytes(wal[at : at + n]), len(wal)))
    assert [index for index, frame in enumerate(after) if not frame.is_sound] == [3, 4]

    wal[:32] = bytes(32)  # the header too: what can be checked against its neighbour says which frames are current
    after = list(frames(lambda at, n: bytes(wal[at : at + n]), len(wal)))
    assert [index for index, frame in enumerate(after) if not frame.is_sound] == [0, 3, 4]
    assert all(frame.is_current for frame in after[5:])


def test_the_checksum_is_that_of_sqlite():
    assert wal_checksum(bytes(range(16)), (0, 0), "<") == wal_checksum(
        b"".join(bytes(range(at, at + 4))[::-1] for at in (0, 4, 8, 12)), (0, 0), ">"
    )
    assert sqlite3.sqlite_version_info >= (3, 22)
