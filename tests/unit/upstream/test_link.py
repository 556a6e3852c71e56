from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from microedge.upstream.link import Link


@pytest.fixture
def ends() -> Iterator[tuple[Link, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    link = Link(ours)
    yield link, theirs
    link.close()
    theirs.close()


def test_sends_leave_together_when_flushed(ends):
    link, peer = ends

    assert [link.send(b"one"), link.send(b"two")] == [3, 3]
    with pytest.raises(BlockingIOError):
        peer.recv(100)
    assert link.flush()

    assert peer.recv(100) == b"onetwo"


def test_a_full_socket_keeps_the_rest_for_later(ends):
    link, peer = ends
    link.send(b"x" * 3_000_000)

    assert not link.flush()
    received = 0
    while received < 3_000_000:
        received += len(peer.recv(1 << 20))
        link.flush()

    assert link.flush()


def test_acknowledgements_are_ours_and_the_rest_is_for_paho(ends):
    link, peer = ends
    peer.send(b"\x40\x02\x80\x05\xd0\x00\x40\x02\x80\x06\x40\x02\x00\x01")

    assert link.read() == [(0x8005, 0), (0x8006, 0)]

    assert link.recv(1) == b"\xd0"
    assert link.recv(100) == b"\x00\x40\x02\x00\x01"
    assert not link.has_packets
    with pytest.raises(BlockingIOError):
        link.recv(1)


def test_nothing_to_read_is_no_end_and_an_end_is_none(ends):
    link, peer = ends

    assert link.read() == []
    peer.close()

    assert link.read() is None


def test_closing_sends_what_goes_at_once(ends):
    link, peer = ends
    link.send(b"\xe0\x00")

    link.close()
    link.close()

    assert peer.recv(100) == b"\xe0\x00"
