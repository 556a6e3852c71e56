from __future__ import annotations

import pytest

from microedge.errors import LocalProtocolError, RemoteProtocolError
from microedge.message import MAX_MESSAGE_BYTES
from microedge.wire import (
    ACK,
    FROM_HUB,
    FROM_MODULE,
    HEADER,
    MAX_FRAME_BYTES,
    MAX_HEAD_BYTES,
    READY,
    SEND,
    START,
    STOP,
    Decoder,
    encode,
)


def test_a_frame_is_a_24_byte_little_endian_header_a_head_and_a_body():
    frame = encode(SEND, 5, time_ms=9, head=b"ab", body=b"xyz")

    assert frame == (
        b"\x05\0\0\0" + b"\x03" + b"\0" + b"\x02\0" + b"\x05\0\0\0\0\0\0\0" + b"\x09\0\0\0\0\0\0\0" + b"ab" + b"xyz"
    )


def test_a_frame_is_decoded_into_its_parts():
    assert Decoder(FROM_MODULE).feed(encode(SEND, 5, time_ms=9, head=b"ab", body=b"xyz")) == [
        (SEND, 5, 9, b"ab", b"xyz")
    ]


def test_frames_come_out_in_order():
    stream = encode(READY) + encode(SEND, 1, body=b"a") + encode(SEND, 2, body=b"b")

    assert [frame[:2] for frame in Decoder(FROM_MODULE).feed(stream)] == [(READY, 0), (SEND, 1), (SEND, 2)]


def test_one_byte_at_a_time_gives_the_same_frames():
    stream = encode(SEND, 1, head=b"h", body=b"body") + encode(READY)
    decoder = Decoder(FROM_MODULE)

    frames = [frame for at in range(len(stream)) for frame in decoder.feed(stream[at : at + 1])]

    assert frames == [(SEND, 1, 0, b"h", b"body"), (READY, 0, 0, b"", b"")]


def test_the_decoder_knows_whether_the_stream_ended_inside_a_frame():
    decoder, frame = Decoder(FROM_MODULE), encode(SEND, 1, body=b"body")

    seen = [decoder.is_mid_frame]
    for part in (frame[:3], frame[3:30] if len(frame) > 30 else frame[3:-1], frame[-1:]):
        decoder.feed(part)
        seen.append(decoder.is_mid_frame)

    assert seen == [False, True, True, False]


def test_both_directions_have_their_own_types():
    assert FROM_HUB.isdisjoint(FROM_MODULE)
    assert [frame[0] for frame in Decoder(FROM_HUB).feed(encode(START) + encode(ACK, 3) + encode(STOP))] == [
        START,
        ACK,
        STOP,
    ]


def header(length: int = 0, kind: int = SEND, flags: int = 0, head: int = 0) -> bytes:
    return HEADER.pack(length, kind, flags, head, 1, 0)


@pytest.mark.parametrize(
    ("stream", "fact"),
    [
        (header(kind=0), "type=0"),
        (header(kind=200), "type=200"),
        (header(kind=ACK), f"type={ACK}"),  # the hub's, not a module's
        (header(flags=1), "flags=1"),
        (header(length=3, head=4), "head_bytes=4"),
        (header(length=MAX_FRAME_BYTES - HEADER.size + 1), f"length_bytes={MAX_FRAME_BYTES - HEADER.size + 1}"),
        (header(length=2**32 - 1), "length_bytes=4294967295"),
        (b"GET / HTTP/1.1\r\nHost: hub\r\n", "474554202f"),
    ],
)
def test_a_stream_that_is_not_ours_is_refused_with_its_header(stream, fact):
    with pytest.raises(RemoteProtocolError, match=fact):
        Decoder(FROM_MODULE).feed(stream)


def test_a_refused_length_is_refused_before_its_body_arrives():
    decoder = Decoder(FROM_MODULE)
    decoder.feed(header(length=2**31)[:-1])

    with pytest.raises(RemoteProtocolError):
        decoder.feed(header(length=2**31)[-1:])


def test_the_largest_message_fits_into_one_frame():
    body, head = bytes(MAX_MESSAGE_BYTES), b"h" * MAX_HEAD_BYTES

    ((kind, number, _, again_head, again_body),) = Decoder(FROM_MODULE).feed(encode(SEND, 1, head=head, body=body))

    assert (kind, number, len(again_head), len(again_body)) == (SEND, 1, MAX_HEAD_BYTES, MAX_MESSAGE_BYTES)


@pytest.mark.parametrize(("head", "body"), [(MAX_HEAD_BYTES + 1, 0), (0, MAX_FRAME_BYTES), (MAX_HEAD_BYTES, 300_000)])
def test_a_frame_that_is_too_long_is_refused_by_the_sender(head, body):
    with pytest.raises(LocalProtocolError, match=f"head_bytes={head} body_bytes={body}"):
        encode(SEND, 1, head=bytes(head), body=bytes(body))
