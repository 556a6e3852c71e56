from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.upstream_owner import make_message

from microedge.upstream.packets import (
    FIRST_ID,
    MAX_INBOUND_BYTES,
    Oversize,
    PacketSplitter,
    PublishEncoder,
    SkippedPublish,
    varint,
)
from microedge.upstream.settings import UpstreamSettings

HOUR_MS = 3_600_000
PINGRESP = b"\xd0\x00"


def encoder(*, wall_ms: int = 0, boot_ms: int = 0, **settings) -> PublishEncoder:
    return PublishEncoder(UpstreamSettings(type="mqtt", device="d", **settings), lambda: (wall_ms, boot_ms))


def expiry_s(message, *, wall_ms: int, boot_ms: int) -> int:
    packet = encoder(wall_ms=wall_ms, boot_ms=boot_ms).encode(FIRST_ID, message)
    at = packet.index(b"synced\x02") + 7  # right behind microedge-time-quality
    return int.from_bytes(packet[at : at + 4], "big")


def test_a_311_publish_is_the_one_of_the_specification():
    packet = encoder(protocol=311, topic="a/{output}").encode(0x8001, make_message(1, b"hi"))

    assert packet == b"\x32\x10\x00\x0aa/readings\x80\x01hi"


def test_an_mqtt_5_publish_carries_the_properties():
    message = make_message(12, b"hi", content_type="t", content_encoding="gzip", properties={"k": "v"})

    packet = encoder(topic="a").encode(0x8001, message)

    properties = (
        b"\x03\x00\x01t"
        b"\x26\x00\x01k\x00\x01v"
        b"\x26\x00\x12microedge-encoding\x00\x04gzip"
        b"\x26\x00\x0cmicroedge-id\x00\x05s1-12"
        b"\x26\x00\x12microedge-sequence\x00\x0212"
        b"\x26\x00\x11microedge-created\x00\x182024-05-17T09:30:00.250Z"
        b"\x26\x00\x16microedge-time-quality\x00\x06synced"
    )
    rest = b"\x00\x01a\x80\x01" + varint(len(properties)) + properties + b"hi"
    assert packet == b"\x32" + varint(len(rest)) + rest


def test_an_mqtt_5_publish_says_how_many_messages_were_not_for_upstream_if_there_were_any():
    message = make_message(12)
    message.elsewhere = 3

    assert b"&\x00\x13microedge-elsewhere\x00\x013" in encoder().encode(FIRST_ID, message)
    assert b"elsewhere" not in encoder().encode(FIRST_ID, make_message(12))


def test_a_time_that_was_never_right_does_not_shorten_the_expiry():
    message = make_message(1, ttl_s=7_200)
    message.created_ms, message.taken_ms, message.time_quality = 60_000, -HOUR_MS, "unsynced"

    assert expiry_s(message, wall_ms=1_715_938_200_250, boot_ms=0) == 3_600


def test_equal_envelopes_of_two_modules_go_to_two_topics():
    encode = encoder(protocol=311, topic="{module}").encode
    first, second = make_message(1), make_message(2)
    second.module = "other"

    packets = [encode(FIRST_ID, message) for message in (first, second, first)]

    assert [packet[4:9] for packet in packets] == [b"probe", b"other", b"probe"]


def test_more_envelopes_than_the_cache_holds_are_encoded_all_the_same():
    encode = encoder().encode

    packets = [encode(FIRST_ID, make_message(number, properties={"n": str(number)})) for number in range(1_200)]

    assert all(b"\x26\x00\x01n\x00" in packet for packet in packets)


@pytest.mark.parametrize(
    ("wall_ms", "boot_ms", "expected"),
    [
        (1_715_938_200_250 + HOUR_MS, 1_000 + HOUR_MS, 3_600),
        (1_715_938_200_250 + HOUR_MS, 500, 3_600),  # the device has booted since: only the wall clock knows
        (1_000, 1_000 + HOUR_MS, 3_600),  # the wall clock fell back to 1970
        (1_715_938_200_250 + 100 * HOUR_MS, 1_000 + HOUR_MS, 3_600),  # the wall clock jumped ahead
        (0, 0, 7_200),
        (1_715_938_200_250 + 9 * HOUR_MS, 1_000 + 9 * HOUR_MS, 1),  # 0 would mean "drop it at once"
    ],
)
def test_the_expiry_is_what_remains_by_the_clock_that_can_be_right(wall_ms, boot_ms, expected):
    assert expiry_s(make_message(1, ttl_s=7_200), wall_ms=wall_ms, boot_ms=boot_ms) == expected


def test_no_time_to_live_means_no_expiry():
    packets = [encoder().encode(FIRST_ID, make_message(1, ttl_s=ttl_s)) for ttl_s in (None, -1)]

    assert packets[0] == packets[1]


def test_a_property_longer_than_mqtt_can_carry_is_oversize():
    with pytest.raises(Oversize, match="70000 bytes, expected at most 65535"):
        encoder().encode(FIRST_ID, make_message(1, properties={"k": "v" * 70_000}))


@pytest.mark.parametrize(
    ("value", "encoded"),
    [(0, b"\0"), (127, b"\x7f"), (128, b"\x80\x01"), (16_384, b"\x80\x80\x01"), (268_435_455, b"\xff\xff\xff\x7f")],
)
def test_a_variable_byte_integer_is_the_one_of_the_specification(value, encoded):
    assert varint(value) == encoded


ACK = st.tuples(st.integers(FIRST_ID, 0xFFFF), st.sampled_from([0, 0x10, 0x87, 0x97]))
OTHER = st.one_of(
    st.sampled_from([b"\xd0\x00", b"\x40\x02\x00\x01", b"\xe0\x02\x8e\x00"]),
    st.binary(max_size=300).map(lambda content: b"\x30" + varint(len(content)) + content),
)


def encode_ack(ack: tuple[int, int]) -> bytes:
    packet_id, code = ack
    return (
        b"\x40\x02" + packet_id.to_bytes(2, "big")
        if code == 0
        else b"\x40\x04%b%c\0"
        % (
            packet_id.to_bytes(2, "big"),
            code,
        )
    )


@given(st.lists(st.one_of(ACK, OTHER), max_size=20), st.lists(st.integers(1, 40), min_size=1))
def test_any_cutting_of_the_stream_gives_the_same_packets(packets, sizes):
    stream = b"".join(packet if isinstance(packet, bytes) else encode_ack(packet) for packet in packets)
    splitter, acks, others = PacketSplitter(), [], b""

    at = turn = 0
    while at < len(stream):
        size = sizes[turn % len(sizes)]
        more, rest = splitter.feed(stream[at : at + size])
        acks, others = acks + more, others + rest
        at, turn = at + size, turn + 1

    assert acks == [packet for packet in packets if not isinstance(packet, bytes)]
    assert others == b"".join(packet for packet in packets if isinstance(packet, bytes))


@given(st.binary(max_size=200))
def test_garbage_gives_packets_or_a_value_error(garbage):
    with contextlib.suppress(ValueError):
        acks, others = PacketSplitter().feed(garbage)
        assert 4 * len(acks) + len(others) <= len(garbage)


def giant(length: int, *, qos: int = 1, topic: bytes = b"a/b") -> bytes:
    """Return the beginning of a PUBLISH whose length is `length`."""
    return bytes((0x30 | qos << 1,)) + varint(length) + len(topic).to_bytes(2, "big") + topic + b"\x00\x07"


def test_a_packet_that_would_fill_the_memory_is_refused():
    with pytest.raises(ValueError, match="expected at most 1048576"):
        PacketSplitter().feed(b"\x90\xff\xff\xff\x7f")


@pytest.mark.parametrize("chunk_bytes", [1, 7, 16_384, 5_000_000])
@pytest.mark.parametrize(("qos", "packet_id"), [(0, 0), (1, 7)])
def test_a_publication_that_would_fill_the_memory_is_thrown_away_and_the_next_packet_is_not(
    chunk_bytes, qos, packet_id
):
    length = MAX_INBOUND_BYTES + 1
    head = giant(length, qos=qos)
    filler = length - (len(head) - 4)
    # Bytes one by one only where the packet begins and ends: a million of them take a second.
    pieces = [head, bytes(filler - 20), bytes(20) + b"\x40\x02\x80\x01" + b"\x30\x02\x00\x00"]
    splitter, acks, others = PacketSplitter(), [], b""

    for index, piece in enumerate(pieces):
        size = len(piece) if index == 1 else chunk_bytes
        for at in range(0, len(piece), size):
            more, rest = splitter.feed(piece[at : at + size])
            acks, others = acks + more, others + rest
            assert len(splitter._buffer) < 100

    assert splitter.skipped == [SkippedPublish(b"a/b", packet_id, length)]
    assert acks == [(0x8001, 0)]
    assert others.replace(PINGRESP, b"") == b"\x30\x02\x00\x00"


def test_a_long_packet_that_comes_slowly_passes_for_a_sign_of_life():
    splitter = PacketSplitter()
    splitter.feed(giant(5_000_000))

    assert splitter.feed(bytes(100)) == ([], PINGRESP)


def test_the_largest_packet_that_is_kept_is_kept():
    packet = b"\x30" + varint(MAX_INBOUND_BYTES) + bytes(MAX_INBOUND_BYTES)

    assert PacketSplitter().feed(packet) == ([], packet)
