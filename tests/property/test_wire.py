"""Whatever the cuts, the frames are the same; whatever the bytes, the answer is frames or RemoteProtocolError."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from microedge.errors import RemoteProtocolError
from microedge.wire import FROM_HUB, FROM_MODULE, HEADER, Decoder, encode

numbers = st.integers(0, 2**64 - 1)
frames = st.tuples(
    st.sampled_from(sorted(FROM_MODULE)), numbers, numbers, st.binary(max_size=40), st.binary(max_size=200)
)


def encoded(frame: tuple[int, int, int, bytes, bytes]) -> bytes:
    kind, number, time_ms, head, body = frame
    return encode(kind, number, time_ms=time_ms, head=head, body=body)


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    borders = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[start:end] for start, end in zip(borders, borders[1:])]


@given(st.lists(frames, max_size=8), st.lists(st.integers(0, 10_000), max_size=20))
def test_any_chunking_of_a_stream_gives_the_same_frames(sent, cuts):
    decoder = Decoder(FROM_MODULE)

    received = [
        frame for piece in pieces(b"".join(encoded(frame) for frame in sent), cuts) for frame in decoder.feed(piece)
    ]

    assert received == sent
    assert not decoder.is_mid_frame


@given(st.lists(frames, min_size=1, max_size=4), st.integers(1, 10_000))
def test_a_stream_that_was_cut_is_noticed(sent, lost):
    stream = b"".join(encoded(frame) for frame in sent)
    last = len(encoded(sent[-1]))
    decoder = Decoder(FROM_MODULE)

    received = decoder.feed(stream[: len(stream) - 1 - lost % (last - 1)])

    assert received == sent[:-1]
    assert decoder.is_mid_frame


@given(st.lists(st.binary(max_size=100), max_size=10), st.sampled_from([FROM_HUB, FROM_MODULE]))
def test_garbage_gives_frames_or_a_remote_protocol_error_and_nothing_else(stream, allowed):
    decoder = Decoder(allowed)
    try:
        received = [frame for piece in stream for frame in decoder.feed(piece)]
    except RemoteProtocolError:
        return

    assert all(frame[0] in allowed for frame in received)


@given(st.lists(frames, min_size=1, max_size=3), st.integers(0, HEADER.size - 1), st.integers(1, 255))
def test_a_damaged_header_never_gives_a_frame_of_a_type_that_is_not_allowed(sent, at, flip):
    stream = bytearray(b"".join(encoded(frame) for frame in sent))
    stream[at] ^= flip
    try:
        received = Decoder(FROM_MODULE).feed(bytes(stream))
    except RemoteProtocolError:
        return

    assert all(frame[0] in FROM_MODULE for frame in received)
