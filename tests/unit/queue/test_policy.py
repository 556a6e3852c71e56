from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microedge.queue import policy
from microedge.queue.line import NEVER_MS, Row
from microedge.queue.policy import Limits, Newcomer, Pressure, Usage

QUIET = Pressure(False, None, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("pressure", "now_ms", "expected"),
    [
        (QUIET, 10**9, False),
        (QUIET._replace(oldest_ms=1000), 5999, False),
        (QUIET._replace(oldest_ms=1000), 6000, True),
        (QUIET._replace(oldest_ms=1000, is_urgent=True), 1000, True),
        (QUIET._replace(is_urgent=True), 1000, False),
        (QUIET._replace(oldest_ms=1000, away_bytes=policy.AWAY_BYTES), 1000, True),
        (QUIET._replace(oldest_ms=1000, away_bytes=policy.AWAY_BYTES - 1), 1000, False),
        (QUIET._replace(oldest_ms=1000, away_messages=128), 1000, True),
        (QUIET._replace(oldest_ms=1000, away_messages=127), 1000, False),
        (QUIET._replace(acks=999, acks_since_ms=1000), 30_999, False),
        (QUIET._replace(acks=1, acks_since_ms=1000), 31_000, True),
        (QUIET._replace(acks=1000, acks_since_ms=1000), 1000, True),
    ],
)
def test_a_commit_is_due_when(pressure, now_ms, expected):
    assert policy.is_commit_due(pressure, 5000, now_ms) is expected


def test_the_next_look_is_at_the_earlier_of_linger_and_acknowledgements():
    assert policy.next_look_ms(QUIET, 5000) is None
    assert policy.next_look_ms(QUIET._replace(oldest_ms=100), 5000) == 5100
    assert policy.next_look_ms(QUIET._replace(acks=1, acks_since_ms=7), 5000) == 30_007


def test_retries_slow_down_to_half_a_minute():
    assert [policy.retry_delay_s(n) for n in (1, 2, 3, 5, 6, 1000)] == [1, 2, 4, 16, 30, 30]


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (Usage(wal=2 << 20), 100 << 20),
        (Usage(wal=2 << 20, aside=30 << 20), 70 << 20),
        (Usage(wal=2 << 20, aside=99 << 20), 25 << 20),
        (Usage(file=5 << 20, free=60 << 20), 15 << 20),
        (Usage(free=0), 1 << 20),
    ],
)
def test_the_cap_shrinks_with_what_else_is_on_the_disk(usage, expected):
    assert policy.cap_bytes(usage, Limits(100 << 20, 50 << 20)) == expected


@pytest.mark.parametrize("mib", [1, 8, 256])
def test_rows_leave_room_for_the_write_ahead_log_before_it_has_grown(mib):
    limits = Limits(mib << 20, 0)
    full_bytes = policy.wal_bytes(limits)

    assert policy.cap_bytes(Usage(), limits) == limits.max_bytes - full_bytes
    assert policy.cap_bytes(Usage(wal=full_bytes), limits) == limits.max_bytes
    assert full_bytes <= limits.max_bytes * 3 // 8


def rows(*facts: tuple[int, int, int]) -> list[Row]:
    return [Row(row_id, 1, size, 0, expires_ms) for row_id, size, expires_ms in facts]


def room(lines, newcomers, used, limit=1000):
    found = policy.make_room(lines, newcomers, used_bytes=used, limit_bytes=limit, now_ms=500)
    return [row.id for row in found.expired], [row.id for row in found.evicted], found.rejected


NEVER = NEVER_MS


@pytest.mark.parametrize(
    ("lines", "newcomers", "used", "expected"),
    [
        ([(9, rows((1, 100, 1)))], [Newcomer(9, 100)], 900, ([], [], set())),
        ([(9, rows((1, 100, NEVER), (2, 100, 1)))], [Newcomer(9, 100)], 1000, ([2], [], set())),
        (
            [(9, rows((1, 100, NEVER), (2, 100, NEVER), (3, 100, NEVER)))],
            [Newcomer(9, 100)],
            1000,
            ([], [1, 2], set()),
        ),
        (
            [(0, rows((1, 300, NEVER))), (9, rows((2, 300, NEVER)))],
            [Newcomer(5, 100)],
            1000,
            ([], [2], set()),
        ),
        (
            [(9, rows((1, 300, NEVER))), (9, rows((2, 300, NEVER)))],
            [Newcomer(9, 100)],
            1000,
            ([], [1], set()),
        ),
        ([(0, rows((1, 300, NEVER)))], [Newcomer(9, 100)], 1000, ([], [], {0})),
        ([(5, rows((1, 900, NEVER)))], [Newcomer(9, 50), Newcomer(0, 50)], 1000, ([], [1], {0})),
        ([], [Newcomer(9, 2000)], 0, ([], [], {0})),
    ],
)
def test_room_is_made_by_expiry_then_priority_then_age(lines, newcomers, used, expected):
    assert room(lines, newcomers, used) == expected


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 400), st.booleans()), max_size=20),
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 400)), max_size=6),
)
def test_what_stays_fits_and_nothing_more_urgent_than_a_newcomer_is_evicted(old, new):
    lines = [(priority, rows((i, size, 1 if dead else NEVER))) for i, (priority, size, dead) in enumerate(old)]
    newcomers = [Newcomer(priority, size) for priority, size in new]
    used = sum(size for _, size, _ in old)

    found = policy.make_room(lines, newcomers, used_bytes=used, limit_bytes=1000, now_ms=500)

    kept = [n for i, n in enumerate(newcomers) if i not in found.rejected]
    freed = sum(row.size for row in (*found.expired, *found.evicted))
    assert not kept or used - freed + sum(n.size for n in kept) <= 1000
    priorities = {row.id: priority for priority, line in lines for row in line}
    assert all(priorities[row.id] >= min(n.priority for n in newcomers) for row in found.evicted)
