from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microedge.cli.lines import LineBuffer


class Closable:
    def close(self) -> None:
        raise NotImplementedError

    def fileno(self) -> int:
        raise NotImplementedError


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    for descriptor in (reader, writer):
        try:
            os.close(descriptor)
        except OSError:
            continue


def test_half_a_line_waits_for_the_rest(pipe):
    buffer = LineBuffer(pipe[0], Closable())

    os.write(pipe[1], b"one\ntw")
    first = buffer.read_lines()
    os.write(pipe[1], b"o\n")

    assert first == [b"one"]
    assert buffer.read_lines() == [b"two"]


def test_nothing_to_read_is_no_line_and_not_the_end(pipe):
    buffer = LineBuffer(pipe[0], Closable())

    assert buffer.read_lines() == []
    assert not buffer.is_at_end


def test_the_last_line_needs_no_newline(pipe):
    buffer = LineBuffer(pipe[0], Closable())
    os.write(pipe[1], b"Traceback")
    os.close(pipe[1])

    assert buffer.read_lines() == []
    assert buffer.read_lines() == [b"Traceback"]
    assert buffer.is_at_end


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=20))
def test_any_chunking_gives_the_same_lines(chunks):
    reader, writer = os.pipe()
    buffer = LineBuffer(reader, Closable())
    lines = []
    for chunk in chunks:
        os.write(writer, chunk)
        lines += buffer.read_lines()
    os.close(writer)
    lines += buffer.read_lines()
    os.close(reader)

    whole = b"".join(chunks)
    assert lines == (whole[:-1] if whole.endswith(b"\n") else whole).split(b"\n")[: len(lines)]
    assert b"\n".join(lines) == (whole[:-1] if whole.endswith(b"\n") else whole)
