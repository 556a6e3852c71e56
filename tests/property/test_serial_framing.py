"""Framing for all inputs: chunking changes nothing, and a fragment is never a line."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from microedge.serial.framing import EOLS, LineFramer

EOL = st.sampled_from(sorted(EOLS))
STREAM = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"bc", b"{}", b"\x00", b"\xff", b"x" * 9])).map(
    b"".join
)


def framed(framer: LineFramer, data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [line for start, end in zip(edges, edges[1:]) for line in framer.feed(data[start:end])]


@given(EOL, STREAM, st.lists(st.integers(0, 10_000)), st.integers(1, 12), st.booleans())
def test_any_chunking_gives_the_same_lines_and_counters(
    eol: str, data: bytes, cuts: list[int], max_bytes: int, is_synced: bool
) -> None:
    whole, cut = LineFramer(eol, max_bytes=max_bytes), LineFramer(eol, max_bytes=max_bytes)
    for framer in (whole, cut):
        framer.reset(is_synced=is_synced)

    assert framed(whole, data, []) == framed(cut, data, cuts)
    assert (whole.frames, whole.too_long, whole.discarded_bytes) == (cut.frames, cut.too_long, cut.discarded_bytes)


@given(EOL, st.lists(st.binary(min_size=1, max_size=20).filter(lambda line: not set(line) & set(b"\r\n")), min_size=1))
def test_every_line_that_fits_comes_out_as_it_went_in(eol: str, lines: list[bytes]) -> None:
    framer = LineFramer(eol, max_bytes=20)
    framer.reset(is_synced=True)

    assert framer.feed(b"".join(line + EOLS[eol] for line in lines)) == lines


@given(STREAM, st.integers(0, 10_000), st.lists(st.integers(0, 10_000)))
def test_opening_in_the_middle_gives_only_lines_that_are_whole(data: bytes, start: int, cuts: list[int]) -> None:
    whole = [line for line in data.replace(b"\r", b"\n").split(b"\n") if line]
    framer = LineFramer()

    lines = framed(framer, data[start % (len(data) + 1) :], cuts)

    assert lines == whole[len(whole) - len(lines) - (not data.endswith((b"\r", b"\n")) and bool(whole)) :][: len(lines)]


@given(EOL, st.lists(st.binary(max_size=200)), st.integers(1, 50))
def test_memory_stays_below_the_limit_whatever_arrives(eol: str, chunks: list[bytes], max_bytes: int) -> None:
    framer = LineFramer(eol, max_bytes=max_bytes)
    for chunk in chunks:
        for line in framer.feed(chunk):
            assert 0 < len(line) <= max_bytes
        assert len(framer._rest) <= max_bytes + 1
