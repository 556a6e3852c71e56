from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microedge.message import CORRECTED, SYNCED, UNSYNCED, Envelope, Message
from microedge.supervisor.wall_clock import EARLIEST_MS, WallClock, is_synchronized, is_trusted

HOUR_MS = 3_600_000
NOW_MS = 1_800_000_000_000


class Board:
    """A board whose clocks a test moves; its wall clock starts in 1970 unless told otherwise."""

    def __init__(self, wall_ms: int = 0, *, is_synced: bool | None = False) -> None:
        self.boot_ms = 0
        self.offset_ms = wall_ms
        self.is_synced = is_synced
        self.learnt: list[int] = []
        self.clock = WallClock(
            wall=lambda: self.boot_ms + self.offset_ms, boot=lambda: self.boot_ms, synchronized=lambda: self.is_synced
        )
        self.clock.learnt = self.learnt.append

    def take(self) -> Message:
        offset_ms, quality = self.clock.look()
        return Message(Envelope("o"), b"", "m", "s", 1, self.boot_ms, self.boot_ms + offset_ms, quality)

    def send(self, message: Message) -> tuple[int, str]:
        self.clock.stamp([(1, message)])
        return message.created_ms, message.time_quality


@pytest.mark.parametrize(
    ("is_synced", "wall_ms", "was_trusted", "jumped_ms", "expected"),
    [
        (True, NOW_MS, False, 0, True),
        (True, NOW_MS, True, 10_000, True),  # NTP sets it, back or ahead
        (True, EARLIEST_MS - 1, False, 0, False),  # nobody who knows the time says that
        (False, NOW_MS, False, 0, False),
        (None, NOW_MS, False, 0, False),
        (False, NOW_MS, True, 0, True),  # the network has been away for hours
        (False, NOW_MS, True, 1_000, False),  # somebody has set it by hand
        (None, EARLIEST_MS - 1, True, 0, False),
    ],
)
def test_a_clock_is_trusted_while_it_is_disciplined_and_until_it_jumps(
    is_synced, wall_ms, was_trusted, jumped_ms, expected
):
    assert is_trusted(is_synced, wall_ms, was_trusted=was_trusted, jumped_ms=jumped_ms) is expected


def test_the_kernel_is_asked_without_setting_anything():
    assert is_synchronized() in (True, False, None)


def test_a_message_of_1970_is_put_right_when_ntp_sets_the_clock_an_hour_later():
    board = Board()
    early = board.take()
    board.boot_ms = HOUR_MS
    board.offset_ms, board.is_synced = NOW_MS, True

    assert board.send(early) == (NOW_MS, CORRECTED)
    assert board.send(board.take()) == (NOW_MS + HOUR_MS, SYNCED)


def test_a_clock_that_was_ahead_and_is_set_back_puts_right_what_was_taken_before():
    board = Board(NOW_MS + 24 * HOUR_MS)
    early = board.take()
    board.boot_ms = 60_000
    board.offset_ms, board.is_synced = NOW_MS, True

    assert board.send(early) == (NOW_MS, CORRECTED)


def test_while_nobody_knows_the_time_a_message_says_so():
    board = Board(NOW_MS)

    assert board.send(board.take()) == (NOW_MS, UNSYNCED)


def test_a_message_of_an_earlier_boot_is_not_put_right_by_the_clock_of_this_one():
    board = Board(NOW_MS, is_synced=True)
    message = Message(Envelope("o"), b"", "m", "s", 1, -5_000, 17_000, UNSYNCED)

    assert board.send(message) == (17_000, UNSYNCED)


def test_what_was_taken_with_a_good_clock_keeps_its_time_in_every_redelivery():
    board = Board(NOW_MS, is_synced=True)
    message = board.take()
    board.boot_ms, board.offset_ms = HOUR_MS, NOW_MS + 300

    assert board.send(message) == (NOW_MS, SYNCED)


def test_the_offset_is_told_once_when_it_is_learnt_and_again_when_the_clock_is_set():
    board = Board()
    for is_synced, offset_ms in [
        (False, 0),
        (True, NOW_MS),
        (True, NOW_MS + 1),
        (False, NOW_MS),
        (True, NOW_MS - 9999),
    ]:
        board.boot_ms += 1_000
        board.is_synced, board.offset_ms = is_synced, offset_ms
        board.clock.look()

    assert board.learnt == [NOW_MS, NOW_MS - 9999]


def test_a_clock_that_ntp_slews_for_a_day_without_a_message_did_not_jump():
    board = Board(NOW_MS, is_synced=True)
    board.clock.look()
    board.boot_ms, board.is_synced = 24 * HOUR_MS, False
    board.offset_ms += 24 * HOUR_MS // 2_000

    assert board.clock.look()[1] == SYNCED


def test_the_kernel_is_asked_once_a_second_at_most():
    asked: list[int] = []
    clock = WallClock(wall=lambda: NOW_MS, boot=lambda: 500, synchronized=lambda: asked.append(1) or True)

    for _ in range(100):
        clock.look()

    assert len(asked) == 1


@given(st.lists(st.tuples(st.integers(0, 10**7), st.integers(-(10**12), 2 * 10**12), st.booleans())), st.booleans())
def test_whatever_the_clock_did_what_is_not_unsynced_is_right_by_the_clock_that_was_trusted(moves, is_final):
    board = Board()
    taken = [board.take()]
    for passed_ms, offset_ms, is_synced in moves:
        board.boot_ms += passed_ms
        board.offset_ms, board.is_synced = offset_ms, is_synced
        taken.append(board.take())
    board.boot_ms += 1_000
    board.offset_ms, board.is_synced = NOW_MS, is_final
    true_offsets = {offset_ms for _, offset_ms, is_synced in moves if is_synced} | {NOW_MS}

    for message in taken:
        created_ms, quality = board.send(message)
        offset_ms = created_ms - message.taken_ms
        assert quality == UNSYNCED or any(abs(offset_ms - one) < 12_000 for one in true_offsets)
        assert quality != UNSYNCED or not is_final
