from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.queue_rig import UPSTREAM, QueueRig, new_message

from microedge.queue.lines import Lines
from microedge.queue.turns import Rule

WEIGHTED, LIVE = Rule(is_weighted=True), Rule(has_live_lane=True)
ALL_WEIGHTS = 1023


def filled(rule: Rule, counts: dict[int, int]) -> Lines:
    """Return lines with so many messages of each priority; a message's sequence is its priority."""
    lines = Lines(rule)
    for priority, count in counts.items():
        for _ in range(count):
            lines.append(new_message(priority), [(UPSTREAM, priority, -1)], 0)
    return lines


def take(lines: Lines, count: int) -> list[int]:
    return [message.sequence for _, message in lines.lease(lines.endpoint(UPSTREAM), count, 1 << 30, 0)]


@pytest.mark.parametrize(
    ("rule", "waiting", "count", "expected"),
    [
        (Rule(), {0: 50, 9: 50}, 40, {0: 40}),
        (WEIGHTED, {8: 50, 9: 50}, 30, {8: 20, 9: 10}),
        (WEIGHTED, {7: 50, 8: 50, 9: 50}, 35, {7: 20, 8: 10, 9: 5}),
        (WEIGHTED, {0: 1000, 9: 1000}, 1026, {0: 1000, 9: 26}),  # once the urgent ones have left, the rest has it all
        (WEIGHTED, {5: 20}, 30, {5: 20}),
    ],
)
def test_turns_are_given_by_the_rule(rule, waiting, count, expected):
    assert Counter(take(filled(rule, waiting), count)) == expected


def test_a_line_that_was_idle_has_saved_nothing_up():
    lines = filled(WEIGHTED, {8: 1, 9: 100})
    take(lines, 101)
    for priority in (8, 9):
        for _ in range(30):
            lines.append(new_message(priority), [(UPSTREAM, priority, -1)], 0)

    assert Counter(take(lines, 30)) == {8: 21, 9: 9}  # one more, because its turn comes first


@settings(max_examples=12, deadline=None)
@given(st.sets(st.integers(0, 9), min_size=2), st.integers(1, 300))
def test_no_line_waits_longer_than_all_weights_together(waiting, at_a_time):
    lines = filled(WEIGHTED, dict.fromkeys(waiting, 1_200))
    left: list[int] = []
    while len(left) < 1_200:
        left += take(lines, at_a_time)

    for priority in waiting:
        places = [-1, *(place for place, one in enumerate(left) if one == priority)]
        assert max(after - before for before, after in zip(places, places[1:])) <= ALL_WEIGHTS


@pytest.fixture
def rig(tmp_path):
    rig = QueueRig(tmp_path, rule=LIVE).open()
    yield rig
    rig.stop()


def put_backlog(rig: QueueRig, count: int) -> None:
    """Have messages on disk that are not loaded: a link that comes back finds them so."""
    for sequence in range(1, count + 1):
        rig.put(sequence)
    rig.advance(6)
    rig.queue.set_live(UPSTREAM, True)


def sequences(leased) -> list[int]:
    return [message.sequence for _, message in leased]


def test_a_fresh_message_overtakes_the_backlog_of_its_line_and_each_lane_keeps_its_order(rig):
    put_backlog(rig, 20)
    for sequence in (101, 102):
        rig.put(sequence)

    assert sequences(rig.lease(count=1)) == [101]
    rig.pump()
    assert sequences(rig.lease(count=4)) == [102, 1, 2, 3]


def test_a_flood_of_fresh_messages_leaves_every_fourth_turn_to_the_backlog(rig):
    put_backlog(rig, 20)
    rig.lease(count=1)
    rig.pump()
    for sequence in range(101, 121):
        rig.put(sequence)

    assert sequences(rig.lease(count=8)) == [101, 102, 103, 2, 104, 105, 106, 3]


def test_the_backlog_keeps_to_its_bound_and_fresh_messages_do_not(rig):
    put_backlog(rig, 20)
    rig.lease(count=1)
    rig.pump()
    for sequence in (101, 102):
        rig.put(sequence)

    leased = rig.queue.lease(UPSTREAM, 10, 1 << 20, max_backlog=1)

    assert sequences(leased) == [101, 102, 2]


def test_what_left_by_the_live_lane_and_was_lost_comes_again_also_from_disk(rig):
    put_backlog(rig, 3)
    rig.put(101)
    rig.put(102)
    assert sequences(rig.queue.lease(UPSTREAM, 1, 1 << 20)) == [101]
    rig.advance(6)  # committed while it is under way
    rig.queue.release(UPSTREAM)

    assert rig.drain() == [1, 2, 3, 101, 102]


def test_without_a_live_lane_nothing_overtakes(tmp_path):
    rig = QueueRig(tmp_path).open()
    put_backlog(rig, 3)
    rig.put(101)

    assert rig.queue.lease(UPSTREAM, 10, 1 << 20) == []
    rig.pump()
    assert rig.drain() == [1, 2, 3, 101]
    rig.stop()
