from __future__ import annotations

from support.queue_rig import new_message

from microedge.queue.line import NEVER_MS, Endpoint, Entry, Line, Row


def new_line(count: int) -> tuple[Line, list[Entry]]:
    line = Endpoint("$upstream").line(9)
    entries = [Entry(new_message(i), line, 0, NEVER_MS, True) for i in range(1, count + 1)]
    line.fresh.extend(entries)
    return line, entries


def new_row(row_id: int, count: int) -> Row:
    return Row(row_id, count, 100, 0, NEVER_MS)


def test_lines_of_an_endpoint_are_kept_most_urgent_first():
    endpoint = Endpoint("$upstream")
    for priority in (9, 0, 5, 9):
        endpoint.line(priority)

    assert [line.priority for line in endpoint.lines] == [0, 5, 9]


def test_a_written_row_leaves_ram_when_nobody_has_leased_from_it():
    line, entries = new_line(3)
    row = new_row(1, 3)

    line.store(row, entries)

    assert (list(line.backlog), list(line.fresh), row.handed) == ([row], [], 0)


def test_of_a_row_that_was_leased_in_part_only_the_rest_is_loaded_again():
    line, entries = new_line(3)
    row = new_row(1, 3)
    line.fresh.popleft()

    line.store(row, entries)
    line.begin_load()
    line.fill(row, [Entry(new_message(i), line, 0, NEVER_MS, False) for i in (1, 2, 3)])

    assert [entry.message.sequence for entry in line.loaded if entry.message] == [2, 3]


def test_what_was_acknowledged_while_it_was_written_counts_as_done():
    line, entries = new_line(2)
    row = new_row(1, 2)
    line.fresh.popleft().message = None

    line.store(row, entries)

    assert (row.left, row.done, list(line.backlog)) == (1, 1, [row])


def test_a_row_that_is_leased_as_a_whole_does_not_block_what_is_fresh():
    line, entries = new_line(1)
    line.fresh.popleft()

    line.store(new_row(1, 1), entries)

    assert not line.is_blocked


def test_unloading_puts_all_rows_back_in_order_and_makes_running_loads_worthless():
    line, _ = new_line(0)
    old = [new_row(i, 400) for i in (1, 2, 3)]
    line.backlog.put_back(old)
    line.begin_load()
    epoch = line.epoch

    line.unload()

    assert list(line.backlog) == old
    assert line.epoch != epoch


def test_a_message_is_finished_once():
    row = new_row(1, 3)
    row.finish(1)
    row.finish(1)

    assert (row.left, row.done) == (2, 2)
