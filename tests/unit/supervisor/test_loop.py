"""The event loop: descriptors, timers, threads and signals."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator

import pytest

from microedge.supervisor.loop import Loop, ScheduledCall


@pytest.fixture
def loop() -> Iterator[Loop]:
    one = Loop()
    handlers = {signum: signal.getsignal(signum) for signum in (signal.SIGUSR1, signal.SIGUSR2)}
    one.open()
    yield one
    one.close()
    for signum, handler in handlers.items():
        signal.signal(signum, handler)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def run(loop: Loop, timeout_s: float = 5.0) -> bool:
    """Run until something stops the loop; False when nothing did."""
    is_late: list[bool] = []
    guard = loop.call_later(timeout_s, lambda: (is_late.append(True), loop.stop())[1])
    loop.run()
    guard.cancel()
    return not is_late


def test_timers_run_in_the_order_of_their_time_and_those_of_one_time_too(loop: Loop):
    calls: list[str] = []
    loop.call_later(0.02, lambda: calls.append("late"))
    loop.call_later(0.0, lambda: calls.append("first"))
    loop.call_later(0.01, lambda: calls.append("middle"))
    loop.call_later(0.03, loop.stop)

    assert run(loop)
    assert calls == ["first", "middle", "late"]


def test_a_cancelled_timer_does_not_run_and_cancelling_twice_is_harmless(loop: Loop):
    calls: list[str] = []
    timer = loop.call_later(0.0, lambda: calls.append("cancelled"))
    timer.cancel()
    timer.cancel()
    loop.call_later(0.01, loop.stop)

    assert run(loop)
    timer.cancel()
    assert calls == []


def test_a_timer_may_cancel_one_that_is_due_in_the_same_turn(loop: Loop):
    calls: list[str] = []
    timers: list[ScheduledCall] = []
    loop.call_later(0.0, lambda: [timer.cancel() for timer in timers])
    timers.append(loop.call_later(0.0, lambda: calls.append("cancelled")))
    loop.call_later(0.01, loop.stop)

    assert run(loop)
    assert calls == []


def test_calls_soon_run_in_order_and_what_they_add_runs_in_the_next_turn(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
):
    ours, theirs = pair
    calls: list[str] = []

    def again() -> None:
        calls.append("soon")
        loop.call_soon(again)  # for ever: descriptors must get their turn all the same

    loop.call_soon(lambda: calls.append("first"))
    loop.call_soon(again)
    loop.add_reader(ours.fileno(), loop.stop)
    theirs.send(b"x")

    assert run(loop)
    assert calls[:2] == ["first", "soon"]


def test_a_descriptor_calls_back_for_reading_and_writing_until_it_is_removed(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
):
    ours, theirs = pair
    calls: list[str] = []

    def writable() -> None:
        calls.append("write")
        loop.remove_writer(ours.fileno())
        theirs.send(b"x")

    def readable() -> None:
        calls.append("read")
        ours.recv(1)
        loop.remove_reader(ours.fileno())
        theirs.send(b"y")
        loop.call_later(0.01, loop.stop)

    loop.add_reader(ours.fileno(), readable)
    loop.add_writer(ours.fileno(), writable)

    assert run(loop)
    assert calls == ["write", "read"]


def test_a_descriptor_that_is_removed_in_the_same_turn_is_not_called(loop: Loop):
    pairs = [socket.socketpair() for _ in range(2)]
    calls: list[int] = []

    def readable(mine: int) -> None:
        calls.append(mine)
        loop.remove_reader(pairs[1 - mine][0].fileno())
        loop.stop()

    try:
        for index, (ours, theirs) in enumerate(pairs):
            theirs.send(b"x")
            loop.add_reader(ours.fileno(), lambda index=index: readable(index))
        assert run(loop)
    finally:
        for one in pairs:
            for end in one:
                end.close()

    assert len(calls) == 1


def test_an_event_of_a_closed_descriptor_does_not_reach_the_next_owner_of_its_number(loop: Loop):
    """The successor's callback may read with blocking: the fork server's socket stopped the whole runtime this way."""
    pairs = [socket.socketpair() for _ in range(2)]
    spurious: list[str] = []
    successors: list[tuple[socket.socket, socket.socket]] = []

    def readable(mine: int) -> None:
        other = pairs[1 - mine][0]
        number = other.fileno()
        if number < 0:
            return
        loop.remove_reader(number)
        other.close()
        fresh = socket.socketpair()
        successors.append(fresh)
        assert number in (fresh[0].fileno(), fresh[1].fileno())
        loop.add_reader(number, lambda: spurious.append("called"))
        loop.remove_reader(pairs[mine][0].fileno())
        loop.call_later(0.01, loop.stop)

    try:
        for index, (ours, theirs) in enumerate(pairs):
            theirs.send(b"x")
            loop.add_reader(ours.fileno(), lambda index=index: readable(index))
        assert run(loop)
    finally:
        for one in (*pairs, *successors):
            for end in one:
                end.close()

    assert spurious == []


def test_removing_what_was_never_added_is_harmless(loop: Loop):
    loop.remove_reader(12_345)
    loop.remove_writer(12_345)


def test_calls_from_threads_run_on_the_loop_in_order(loop: Loop):
    calls: list[tuple[int, int]] = []

    def work() -> None:
        for number in range(100):
            loop.call_from_thread(lambda number=number: calls.append((number, threading.get_ident())))
        loop.call_from_thread(loop.stop)

    thread = threading.Thread(target=work)
    thread.start()
    assert run(loop)
    thread.join()

    assert calls == [(number, threading.get_ident()) for number in range(100)]


def test_more_calls_from_a_thread_than_the_wake_up_pipe_holds_all_run(loop: Loop):
    calls: list[int] = []
    for number in range(70_000):
        loop.call_from_thread(lambda number=number: calls.append(number))
    loop.call_from_thread(loop.stop)

    assert run(loop)
    assert len(calls) == 70_000


def test_a_call_from_a_thread_that_is_late_is_ignored_and_writes_to_nobody():
    loop = Loop()
    loop.open()
    loop.close()
    read_end, write_end = os.pipe()  # gets a number that the loop has just given back
    try:
        os.set_blocking(read_end, False)
        loop.call_from_thread(lambda: None)
        with pytest.raises(BlockingIOError):
            os.read(read_end, 1)
    finally:
        os.close(read_end)
        os.close(write_end)


def test_signals_run_on_the_loop_and_each_once_however_often_they_came(loop: Loop):
    calls: list[str] = []
    loop.on_signal(signal.SIGUSR1, lambda: calls.append("one"))
    loop.on_signal(signal.SIGUSR2, lambda: calls.append("two"))
    for _ in range(3):
        os.kill(os.getpid(), signal.SIGUSR1)
    os.kill(os.getpid(), signal.SIGUSR2)
    assert calls == []
    loop.call_later(0.01, loop.stop)

    assert run(loop)
    assert calls == ["one", "two"]


def test_a_signal_wakes_a_loop_that_has_nothing_to_do(loop: Loop):
    loop.on_signal(signal.SIGUSR1, loop.stop)
    thread = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGUSR1))
    thread.start()

    assert run(loop)
    thread.join()


def test_an_exception_of_a_callback_leaves_run(loop: Loop):
    loop.call_soon(lambda: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        loop.run()
