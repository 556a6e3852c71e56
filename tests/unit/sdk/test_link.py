"""The module's end of the socketpair: the first frames at once, the rest of a burst gathered, nothing kept for long."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from microedge import wire
from microedge.errors import RemoteProtocolError
from microedge.sdk import link as link_module
from microedge.sdk.link import HubGoneError, Link

FRAME = wire.encode(wire.PROGRESS)


class Clock:
    """Stands in for the time module of link.py."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    one = Clock()
    monkeypatch.setattr(link_module, "time", one)
    return one


@pytest.fixture
def ends() -> Iterator[tuple[Link, socket.socket]]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    link = Link(ours)
    link.open()
    yield link, theirs
    ours.close()
    theirs.close()


def arrived(sock: socket.socket) -> int:
    """Return how many frames have arrived."""
    try:
        return len(sock.recv(1 << 20)) // len(FRAME)
    except BlockingIOError:
        return 0


def test_the_first_frames_of_a_burst_go_out_at_once(ends: tuple[Link, socket.socket], clock: Clock):
    link, hub = ends

    for _ in range(5):
        link.put(FRAME)
        assert arrived(hub) == 1


def test_the_rest_of_a_burst_is_gathered_until_somebody_writes(ends: tuple[Link, socket.socket], clock: Clock):
    link, hub = ends
    for _ in range(100):
        link.put(FRAME)
    assert arrived(hub) < 20

    link.write()

    assert arrived(hub) > 80
    assert not link.wants_to_write


def test_a_gathered_burst_goes_out_when_it_is_worth_a_call(ends: tuple[Link, socket.socket], clock: Clock):
    link, hub = ends
    count = 16_384 // len(FRAME) + 20

    for _ in range(count):
        link.put(FRAME)

    assert arrived(hub) > count - 20


def test_after_a_burst_a_single_frame_goes_out_at_once_and_takes_the_rest_along(
    ends: tuple[Link, socket.socket], clock: Clock
):
    """A module that sends a burst and later one reading a minute, and sleeps in its own code, never calls wait."""
    link, hub = ends
    for _ in range(100):
        link.put(FRAME)
    sent = arrived(hub)
    clock.now_s += 60

    link.put(FRAME)

    assert arrived(hub) == 101 - sent
    assert not link.wants_to_write


def test_what_the_socket_does_not_take_stays_and_goes_out_in_order(ends: tuple[Link, socket.socket], clock: Clock):
    link, hub = ends
    numbers = range(1, 2_001)
    for number in numbers:
        link.put(wire.encode(wire.SEND, number, body=b"x" * 1_000))
    link.write()
    assert link.wants_to_write

    decoder = wire.Decoder(wire.FROM_MODULE)
    received: list[int] = []
    while len(received) < len(numbers):
        received += [frame[1] for frame in decoder.feed(hub.recv(1 << 20))]
        link.write()

    assert received == list(numbers)
    assert not link.wants_to_write


def test_drain_gives_up_when_the_time_is_up(ends: tuple[Link, socket.socket]):
    link, _ = ends
    for _ in range(100):
        link.put(b"x" * 65_536)

    assert not link.drain(0.01)


def test_drain_returns_true_when_everything_is_out(ends: tuple[Link, socket.socket]):
    link, _ = ends
    for _ in range(20):
        link.put(FRAME)

    assert link.drain(5)


def test_reading_nothing_gives_nothing(ends: tuple[Link, socket.socket]):
    assert ends[0].read() == []


def test_a_frame_in_two_pieces_is_one_frame(ends: tuple[Link, socket.socket]):
    link, hub = ends
    frame = wire.encode(wire.ACK, 7)
    hub.send(frame[:10])
    assert link.read() == []
    hub.send(frame[10:])

    assert link.read() == [(wire.ACK, 7, 0, b"", b"")]


def test_what_is_not_the_hubs_protocol_is_refused(ends: tuple[Link, socket.socket]):
    link, hub = ends
    hub.send(b"x" * 100)

    with pytest.raises(RemoteProtocolError):
        link.read()


def test_a_closed_hub_raises_hub_gone_error_from_reading_and_writing(ends: tuple[Link, socket.socket]):
    link, hub = ends
    hub.close()

    with pytest.raises(HubGoneError):
        link.read()
    with pytest.raises(HubGoneError):
        link.put(FRAME)
