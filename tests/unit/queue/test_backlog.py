from __future__ import annotations

import tracemalloc
from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from microedge.queue.backlog import Backlog, Row

MANY = 3000


def new_row(row_id: int) -> Row:
    return Row(row_id, 1 + row_id % 7, 100 + row_id, row_id * 5000, 1 << 62)


def facts(row: Row) -> tuple[int, ...]:
    return row.id, row.n, row.left, row.size, row.at_ms, row.expires_ms, row.done, row.handed


def test_rows_leave_as_they_came():
    backlog = Backlog(map(new_row, range(MANY)))

    assert [facts(backlog.popleft()) for _ in range(len(backlog))] == [facts(new_row(at)) for at in range(MANY)]
    assert not backlog


def test_what_was_finished_in_a_row_is_not_forgotten():
    backlog = Backlog(map(new_row, range(MANY)))
    before = backlog.messages
    for row in backlog:
        if row.id % 1000 == 6:
            row.finish(3)
            backlog.change(row)

    assert [row.id for row in backlog if row.done == 8] == [6, 1006, 2006]
    assert backlog.messages == before - 3
    assert [row.done for row in (backlog.popleft() for _ in range(1007)) if row.done] == [8, 8]


def test_nothing_is_leased_any_more_when_all_was_taken_back():
    row = new_row(MANY)
    row.handed = 2
    backlog = Backlog([*map(new_row, range(MANY)), row])

    backlog.take_back()

    assert not any(row.handed for row in backlog)


def test_rows_that_were_salvaged_stand_where_they_belong():
    backlog = Backlog(map(new_row, (2, 5, 9)))

    backlog.put_back(map(new_row, (7, 1)))

    assert [row.id for row in backlog] == [1, 2, 5, 7, 9]


def test_a_row_that_waits_takes_little_memory():
    tracemalloc.start()
    try:
        backlog = Backlog(map(new_row, range(100_000)))
        used_bytes = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    assert len(backlog) == 100_000
    assert used_bytes < 40 * 100_000


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(1, 300)),
            st.tuples(st.just("popleft"), st.integers(1, 300)),
            st.tuples(st.just("put_back"), st.integers(0, 3)),
            st.tuples(st.just("remove"), st.integers(2, 9)),
            st.tuples(st.just("finish"), st.integers(2, 9)),
        ),
        max_size=12,
    )
)
def test_it_is_a_deque_in_the_order_of_ids_whatever_is_done(steps):
    backlog, model = Backlog(), deque()
    taken: list[Row] = []
    next_id = 1
    for step, number in steps:
        if step == "append":
            rows = [new_row(row_id) for row_id in range(next_id, next_id + number)]
            next_id += number
            for row in rows:
                backlog.append(row)
            model.extend(map(facts, rows))
        elif step == "popleft":
            popped = [backlog.popleft() for _ in range(min(number, len(backlog)))]
            assert [facts(row) for row in popped] == [model.popleft() for _ in popped]
            taken += popped
        elif step == "put_back":
            backlog.put_back(taken[number:])
            model = deque(sorted((*model, *map(facts, taken[number:]))))
            del taken[number:]
        elif step == "remove":
            gone = {row.id for row in backlog if row.id % number == 0}
            backlog.remove(gone)
            model = deque(each for each in model if each[0] not in gone)
        else:
            for row in backlog:
                if row.id % number == 0 and row.left > 1:
                    row.finish(row.n - 1)
                    backlog.change(row)
            model = deque(each if each[0] % number or each[2] == 1 else facts(finished(each)) for each in model)
        assert [facts(row) for row in backlog] == list(model)
        assert len(backlog) == len(model)
        assert backlog.messages == sum(each[2] for each in model)


def finished(each: tuple[int, ...]) -> Row:
    row = new_row(each[0])
    row.done, row.left = each[6], each[2]
    row.finish(row.n - 1)
    return row
