from __future__ import annotations

from support.queue_rig import UPSTREAM, new_message

from microedge.message import VOLATILE
from microedge.queue.line import NEVER_MS, Row
from microedge.queue.lines import Lines


def new_lines(*priorities: int) -> Lines:
    lines = Lines()
    for sequence, priority in enumerate(priorities, 1):
        lines.append(new_message(sequence), [(UPSTREAM, priority, -1)], 0)
    return lines


def sequences(lines: Lines, count: int = 100, room: int = 1 << 20) -> list[int]:
    return [m.sequence for _, m in lines.lease(lines.endpoint(UPSTREAM), count, room, 0)]


def test_the_most_urgent_line_goes_first_and_each_line_in_order():
    assert sequences(new_lines(9, 0, 9, 5, 0)) == [2, 5, 4, 1, 3]


def test_a_lease_ends_at_its_number_of_messages():
    lines = new_lines(9, 9, 9)

    assert (sequences(lines, 2), sequences(lines, 2)) == ([1, 2], [3])


def test_a_lease_ends_at_its_bytes_but_one_message_always_fits():
    lines = new_lines(9, 9, 9)
    size = new_message(1).size_bytes

    assert (sequences(lines, room=2 * size), sequences(lines, room=1)) == ([1, 2], [3])


def test_a_message_settles_when_its_last_endpoint_has_acknowledged_it():
    lines = Lines()
    message = new_message(1)
    lines.append(message, [("a", 9, -1), ("b", 9, -1)], 0)
    for name, waiting in (("a", 1), ("b", 0)):
        tickets = [ticket for ticket, _ in lines.lease(lines.endpoint(name), 9, 999, 0)]
        lines.ack(tickets)
        lines.ack(tickets)

        assert message.waiting == waiting
    assert lines.settled == [message]


def test_released_messages_return_to_their_place():
    lines = new_lines(9, 9, 9, 9)
    tickets = [ticket for ticket, _ in lines.lease(lines.endpoint(UPSTREAM), 3, 999, 0)]
    lines.ack(tickets[1:2])

    lines.release(lines.endpoint(UPSTREAM))

    assert sequences(lines) == [1, 3, 4]


def test_a_ticket_ends_with_its_release():
    lines = new_lines(9)
    tickets = [ticket for ticket, _ in lines.lease(lines.endpoint(UPSTREAM), 3, 999, 0)]
    lines.release(lines.endpoint(UPSTREAM))

    lines.ack(tickets)

    assert sequences(lines) == [1]


def test_an_expired_message_is_skipped_counted_and_settled():
    lines = Lines()
    message = new_message(1)
    lines.append(message, [(UPSTREAM, 9, 2)], 1000)

    assert lines.lease(lines.endpoint(UPSTREAM), 9, 999, 3000) == []
    assert (lines.dropped, lines.settled) == ({"ttl": 1}, [message])


def test_a_message_set_aside_is_counted_by_reason_and_kept_as_a_letter():
    lines = new_lines(9)
    ticket = lines.lease(lines.endpoint(UPSTREAM), 9, 999, 0)[0][0]

    lines.set_aside(ticket, "poison", "bad JSON")

    assert (lines.dropped, lines.dead[0].text) == ({"poison": 1}, "bad JSON")


def test_a_message_set_aside_settles_when_its_letter_is_on_disk():
    lines = new_lines(9)
    lines.set_aside(lines.lease(lines.endpoint(UPSTREAM), 9, 999, 0)[0][0], "poison", "bad JSON")
    assert lines.settled == []

    lines.kept(lines.dead)

    assert len(lines.settled) == 1


def test_volatile_messages_settle_at_once_and_give_way_when_there_are_too_many():
    lines = Lines()
    for sequence in range(1, 1001):
        lines.append(new_message(sequence, body=b"x" * 10_000, durability=VOLATILE), [(UPSTREAM, 9, -1)], 0)

    kept = sequences(lines, 1000, 1 << 30)

    assert len(lines.settled) == 1000
    assert kept == list(range(1000 - len(kept) + 1, 1001))
    assert lines.dropped == {"evicted": 1000 - len(kept)}
    assert 3_500_000 < len(kept) * 10_000 < 4 << 20


def test_an_owner_is_told_once_until_it_has_looked():
    lines = new_lines(9, 9)
    assert lines.notices == [UPSTREAM]
    sequences(lines)
    lines.append(new_message(3), [(UPSTREAM, 9, -1)], 0)

    assert lines.notices == [UPSTREAM, UPSTREAM]


def test_a_message_that_is_on_disk_for_one_endpoint_and_then_acknowledged_counts_once():
    lines = Lines()
    message = new_message(1)
    lines.append(message, [("a", 9, -1), ("b", 9, -1)], 0)
    tickets = [ticket for ticket, _ in lines.lease(lines.endpoint("a"), 9, 999, 0)]
    line, entries = next(iter(lines.unsaved(0).items()))

    lines.saved(line, Row(1, 1, 100, 0, NEVER_MS), entries)
    lines.ack(tickets)

    assert (line.endpoint.name, message.waiting, lines.settled) == ("a", 1, [])
