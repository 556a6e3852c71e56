"""Line framing: which bytes become lines, and which are thrown away."""

from __future__ import annotations

import pytest

from microedge.serial.framing import LineFramer


def synced(eol: str = "any", max_bytes: int = 1024) -> LineFramer:
    framer = LineFramer(eol, max_bytes=max_bytes)
    framer.reset(is_synced=True)
    return framer


@pytest.mark.parametrize(
    ("eol", "data", "lines"),
    [
        ("any", b"a\nb\r\nc\rd\n", [b"a", b"b", b"c", b"d"]),
        ("any", b"\n\r\n\ra\n", [b"a"]),
        ("lf", b"a\nb\r\nc", [b"a", b"b\r"]),
        ("cr", b"a\rb\n\r", [b"a", b"b\n"]),
        ("crlf", b"a\r\nb\nc\rd\r\n", [b"a", b"b\nc\rd"]),
    ],
)
def test_a_line_ends_where_its_eol_says(eol: str, data: bytes, lines: list[bytes]) -> None:
    assert synced(eol).feed(data) == lines


def test_what_was_under_way_when_the_port_was_opened_is_never_a_line() -> None:
    framer = LineFramer()

    assert framer.feed(b"3.5}\n") == []
    assert framer.feed(b"whole\n") == [b"whole"]
    assert framer.discarded_bytes == 4


def test_a_long_first_fragment_is_forgotten_and_not_counted_as_too_long() -> None:
    framer = LineFramer(max_bytes=4)

    framer.feed(b"x" * 1_000)

    assert framer.feed(b"y\nok\n") == [b"ok"]
    assert framer.too_long == 0


def test_the_first_line_counts_when_the_device_was_silent() -> None:
    assert synced().feed(b"whole\n") == [b"whole"]


def test_what_was_cut_by_unplugging_never_joins_what_comes_after() -> None:
    framer = synced()
    framer.feed(b'{"celsius": 2')

    framer.reset()

    assert framer.feed(b'1}\n{"celsius": 3}\n') == [b'{"celsius": 3}']
    assert framer.discarded_bytes == 15


@pytest.mark.parametrize("eol", ["any", "lf", "cr", "crlf"])
def test_a_line_of_exactly_the_limit_is_a_line_and_one_byte_more_is_not(eol: str) -> None:
    end = {"any": b"\n", "lf": b"\n", "cr": b"\r", "crlf": b"\r\n"}[eol]
    framer = synced(eol, max_bytes=5)

    assert framer.feed(b"12345" + end + b"123456" + end + b"ok" + end) == [b"12345", b"ok"]
    assert framer.too_long == 1


def test_a_line_that_grows_too_long_is_dropped_up_to_its_end_and_counted_once() -> None:
    framer = synced(max_bytes=5)

    lines = [line for _ in range(100) for line in framer.feed(b"abc")]
    lines += framer.feed(b"def\nok\n")

    assert lines == [b"ok"]
    assert framer.too_long == 1


def test_a_two_byte_end_is_found_when_it_comes_in_two_pieces_after_a_long_line() -> None:
    framer = synced("crlf", max_bytes=5)

    assert framer.feed(b"x" * 100 + b"\r") == []
    assert framer.feed(b"\nok\r\n") == [b"ok"]


@pytest.mark.parametrize(("eol", "max_bytes"), [("LF", 10), ("", 10), ("lf", 0)])
def test_wrong_settings_are_refused(eol: str, max_bytes: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        LineFramer(eol, max_bytes=max_bytes)
