"""What modules print: bounded in RAM, bounded in what it costs, and safe to show."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
from support.descriptor_reactor import DescriptorReactor

from microedge.supervisor import logs
from microedge.supervisor.logs import LINE_BYTES, Line, LogPipe, LogRing, SupervisorLog


class PipeReactor(DescriptorReactor):
    """Stands in for the time module of logs.py as well."""

    def monotonic(self) -> float:
        return self.time_s

    def time_ns(self) -> int:
        return int(self.time_s * 1e9)


class Pipe:
    """A pipe whose reading end is a LogPipe."""

    def __init__(self, reactor: PipeReactor) -> None:
        self.reactor = reactor
        self.ring = LogRing()
        self.read_fd, self.write_fd = os.pipe()
        os.set_blocking(self.write_fd, False)
        self.log = LogPipe(self.read_fd, self.ring, reactor)
        self.log.open()

    def print(self, data: bytes) -> None:
        os.write(self.write_fd, data)
        self.read()

    def read(self) -> None:
        if self.read_fd in self.reactor.readers:
            self.reactor.readers[self.read_fd]()

    def flood(self) -> int:
        """Write and read until the pipe is full and nobody reads; return how much it was."""
        written = 0
        while True:
            try:
                written += os.write(self.write_fd, b"x" * 100 + b"\n")
            except BlockingIOError:
                if self.read_fd not in self.reactor.readers:
                    return written
                self.read()

    def texts(self) -> list[str]:
        return [line.text for line in self.ring.tail(10_000)]


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipe]:
    reactor = PipeReactor()
    monkeypatch.setattr(logs, "time", reactor)
    one = Pipe(reactor)
    yield one
    one.log.close()
    os.close(one.write_fd)


# --- The ring ---


def line(text: str, level: int = 6) -> Line:
    return Line(0, level, text)


def test_the_ring_keeps_the_last_lines():
    ring = LogRing()
    for number in range(5):
        ring.append(line(str(number)))

    assert [one.text for one in ring.tail(2)] == ["3", "4"]
    assert [one.text for one in ring.tail(100)] == ["0", "1", "2", "3", "4"]
    assert ring.tail(0) == []
    assert ring.tail(-1) == []


@pytest.mark.parametrize("text", ["", "x", "x" * 100, "x" * 4_000])
def test_the_ring_is_bounded_whatever_the_length_of_its_lines(text: str):
    """A line costs some 200 bytes of RAM, even an empty one."""
    ring = LogRing()
    for _ in range(5_000):
        ring.append(line(text))

    kept = ring.tail(10_000)
    assert sum(len(one.text) + 200 for one in kept) <= 65_536
    assert len(kept) >= 10


def test_the_last_error_is_that_of_this_run():
    ring = LogRing()
    assert ring.last_error() == ""
    ring.append(line("old", 3))
    ring.begin_run()
    assert ring.last_error() == ""
    ring.append(line("worse", 2))
    ring.append(line("fine", 6))

    assert ring.last_error() == "worse"
    assert [one.text for one in ring.tail(9)] == ["old", "worse", "fine"]


def test_a_subscriber_gets_every_new_line_until_it_leaves_even_in_the_middle_of_one():
    ring, first, second = LogRing(), [], []

    def once(one: Line) -> None:
        first.append(one.text)
        leave()

    leave = ring.subscribe(once)
    ring.subscribe(lambda one: second.append(one.text))
    ring.append(line("a"))
    ring.append(line("b"))

    assert (first, second) == (["a"], ["a", "b"])


# --- Lines ---


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        (b"plain\n", [(6, "plain")]),
        (b"<3>an error\n", [(3, "an error")]),
        (b"<7>\n", [(7, "")]),
        (b"<8>no level\n", [(6, "<8>no level")]),
        (b"in <3> the middle\n", [(6, "in <3> the middle")]),
        (b"dos\r\n", [(6, "dos")]),
        (b"\n\n", [(6, ""), (6, "")]),
        ("größer\n".encode(), [(6, "größer")]),
        (b"\xff\xfe\n", [(6, "\\xff\\xfe")]),
        (b"\x1b[31mred\x07\n", [(6, "\\x1b[31mred\\x07")]),
        (b"a\tb\n", [(6, "a   b")]),
        (b"a\x00b\n", [(6, "a\\x00b")]),
        (b"x" * LINE_BYTES + b"yz\n", [(6, "x" * LINE_BYTES), (6, "yz")]),
        (b"<3>" + b"x" * LINE_BYTES + b"\n", [(3, "x" * (LINE_BYTES - 3)), (3, "xxx")]),
    ],
)
def test_a_line_is_made_safe_and_gets_its_level(pipe: Pipe, printed: bytes, expected: list[tuple[int, str]]):
    pipe.print(printed)

    assert [(one.level, one.text) for one in pipe.ring.tail(100)] == expected
    assert all(one.time_ms == 1_000_000 for one in pipe.ring.tail(100))


def test_a_line_in_pieces_is_one_line(pipe: Pipe):
    for piece in (b"<4>wa", b"rning", b": hot\nnext"):
        pipe.print(piece)

    assert pipe.texts() == ["warning: hot"]


def test_a_line_without_an_end_is_cut_and_never_kept_whole(pipe: Pipe):
    for _ in range(20):
        pipe.print(b"x" * 10_000)

    assert max(len(text) for text in pipe.texts()) <= LINE_BYTES
    assert sum(len(text) for text in pipe.texts()) > 50_000


def test_what_is_left_when_the_process_ends_is_kept(pipe: Pipe):
    pipe.print(b"half a li")
    os.write(pipe.write_fd, b"ne\nlast words")
    pipe.log.close()

    assert pipe.texts() == ["half a line", "last words"]
    pipe.log.close()


def test_a_pipe_whose_writers_are_gone_is_not_asked_again(pipe: Pipe):
    """Other supervisors spin on a child that has closed its stdout."""
    os.close(pipe.write_fd)
    pipe.read()

    assert pipe.reactor.readers == {}
    pipe.write_fd = os.open(os.devnull, os.O_WRONLY)


# --- The budget ---


def test_a_flood_is_read_up_to_the_burst_and_then_at_the_rate(pipe: Pipe):
    burst = pipe.flood()
    assert pipe.log.is_throttled
    assert 262_144 < burst < 262_144 + 200_000  # the pipe itself holds 64 KiB

    total = 0
    for _ in range(100):
        pipe.reactor.advance(0.1)
        total += pipe.flood()

    assert total <= 10 * 65_536 + 32_768
    assert total >= 10 * 65_536 - 131_072


def test_after_a_quiet_time_the_whole_burst_is_granted_again(pipe: Pipe):
    pipe.flood()
    pipe.reactor.advance(60)
    assert not pipe.log.is_throttled
    pipe.read()

    assert pipe.flood() > 200_000


def test_a_module_that_prints_at_a_moderate_rate_is_never_throttled(pipe: Pipe):
    for _ in range(600):
        pipe.reactor.advance(0.1)
        pipe.print(b"x" * 4_000 + b"\n")
        assert not pipe.log.is_throttled


def test_closing_while_throttled_ends_the_pipe_for_good(pipe: Pipe):
    pipe.flood()
    pipe.log.close()
    pipe.reactor.advance(10)

    assert pipe.reactor.readers == {}


# --- The supervisor's own log ---


@pytest.mark.parametrize(
    ("is_journal", "expected"), [(True, "<4>disk is full: 3 % left\n"), (False, "warning: disk is full: 3 % left\n")]
)
def test_the_supervisors_log_goes_to_the_ring_and_to_stderr(
    capsys: pytest.CaptureFixture[str], is_journal: bool, expected: str
):
    ring = LogRing()
    record = logging.LogRecord("microedge", logging.WARNING, "", 0, "disk is full: %d %% left", (3,), None)
    SupervisorLog(ring, is_journal=is_journal).handle(record)

    assert [(one.level, one.text) for one in ring.tail(9)] == [(4, "disk is full: 3 % left")]
    assert capsys.readouterr().err.endswith(expected)


def test_the_supervisors_log_outlives_its_terminal(monkeypatch: pytest.MonkeyPatch):
    with open(os.devnull) as read_only:
        monkeypatch.setattr("sys.stderr", read_only)
        ring = LogRing()
        record = logging.LogRecord("microedge", logging.INFO, "", 0, "still here", (), None)
        SupervisorLog(ring, is_journal=False).handle(record)

    assert [one.text for one in ring.tail(9)] == ["still here"]
