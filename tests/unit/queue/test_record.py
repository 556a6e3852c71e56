from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.queue_rig import new_message

from microedge.message import pack
from microedge.queue.record import NEVER_MS, RowHead, decode, encode


def row(bodies: list[bytes]) -> bytes:
    records = [(NEVER_MS, pack(new_message(i, body=body))) for i, body in enumerate(bodies, 1)]
    return encode(RowHead(7, "$upstream", 3, len(bodies), 2, 1234), records)


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=20))
def test_a_row_comes_back_as_it_was_written(bodies):
    head, messages = decode(row(bodies))

    assert head == RowHead(7, "$upstream", 3, len(bodies), 2, 1234)
    assert [(expires, m.sequence, m.body) for expires, m in messages] == [
        (NEVER_MS, i, body) for i, body in enumerate(bodies, 1)
    ]


def test_a_batch_of_alike_readings_is_compressed_and_a_single_one_is_not():
    assert len(row([b'{"celsius": 21.5}'] * 100)) < 1500
    assert b'{"celsius": 21.5}' in row([b'{"celsius": 21.5}'])


@given(st.data())
def test_any_changed_byte_is_noticed(data):
    good = row([b"a", b"b" * 400])
    at = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[at] ^= data.draw(st.integers(1, 255))

    with pytest.raises(ValueError, match=r"row|record|payload"):
        decode(bytes(bad))


@given(st.integers(1, 110))
def test_a_cut_row_is_noticed(missing):
    with pytest.raises(ValueError, match="expected"):
        decode(row([b"x" * 200])[:-missing])


@given(st.binary(max_size=200))
def test_garbage_is_refused_and_nothing_else_happens(garbage):
    with pytest.raises(ValueError, match="row"):
        decode(garbage)
