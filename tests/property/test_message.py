"""A message survives its record and an envelope its bytes; garbage is a ValueError and nothing else."""

from __future__ import annotations

import contextlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microedge.message import DURABILITIES, MAX_TTL_S, TIME_QUALITIES, Envelope, Message, pack, unpack

letters = string.ascii_letters + string.digits
names = st.builds(str.__add__, st.sampled_from(letters), st.text(letters + "_-", max_size=63))
words = st.text(max_size=20).filter(str.isprintable)
numbers = st.integers(0, 2**64 - 1)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)

envelopes = st.builds(
    Envelope,
    names,
    content_type=words,
    content_encoding=words,
    properties=st.dictionaries(words.filter(bool), words, max_size=4),
    ttl_s=st.none() | st.integers(-1, MAX_TTL_S),
    durability=st.sampled_from(DURABILITIES),
)
times, qualities = st.integers(-(1 << 62), 1 << 62), st.sampled_from(TIME_QUALITIES)
messages = st.builds(Message, envelopes, st.binary(max_size=300), names, names, numbers, times, numbers, qualities)


@given(envelopes)
def test_an_envelope_survives_its_bytes(envelope):
    again = Envelope.decode(envelope.raw)

    assert [getattr(again, name) for name in Envelope.__slots__] == [
        getattr(envelope, name) for name in Envelope.__slots__
    ]


@given(st.lists(st.tuples(messages, st.just("") | names, st.just(0) | numbers), max_size=4), st.binary(max_size=9))
def test_messages_survive_their_records_side_by_side(sent, before):
    for message, target, elsewhere in sent:
        message.input, message.elsewhere = target, elsewhere
    record = before + b"".join(pack(message) for message, *_ in sent)

    received, at, cache = [], len(before), {}
    for _ in sent:
        message, at = unpack(record, at, cache)
        received.append(message)

    assert at == len(record)
    assert [pack(message) for message in received] == [pack(message) for message, *_ in sent]
    assert [message.message_id for message in received] == [message.message_id for message, *_ in sent]
    assert [message.elsewhere for message in received] == [elsewhere for *_, elsewhere in sent]


@given(messages, st.integers(0, 10_000))
def test_a_record_that_was_cut_is_a_value_error(message, kept):
    record = pack(message)

    with pytest.raises(ValueError, match=r"."):
        unpack(record[: kept % len(record)], 0, {})


@given(st.binary(max_size=200) | messages.map(pack), st.integers(0, 60), st.integers(0, 255))
def test_a_damaged_record_is_a_message_or_a_value_error(record, at, flip):
    damaged = bytearray(record)
    if at < len(damaged):
        damaged[at] ^= flip

    with contextlib.suppress(ValueError):
        unpack(bytes(damaged), 0, {})


@given(
    st.dictionaries(
        st.sampled_from(["output", "content_type", "content_encoding", "properties", "ttl_s", "durability", "self"]),
        json_values | names,
    )
)
def test_any_json_is_an_envelope_or_a_value_error(members):
    import json

    with contextlib.suppress(ValueError):
        Envelope.decode(json.dumps(members).encode())
