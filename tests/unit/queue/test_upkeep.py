"""What a person does to the queue: look, send dead letters again, throw away."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator

import pytest
from support.queue_rig import UPSTREAM, QueueRig, new_message

from microedge.message import VOLATILE, pack
from microedge.queue.letter import Selection
from microedge.queue.upkeep import Outcome

EVERYTHING = Selection()
OTHER = "/modules/a/inputs/b"


@pytest.fixture
def rig(tmp_path) -> Iterator[QueueRig]:
    rig = QueueRig(tmp_path)
    rig.open()
    yield rig
    rig.stop()


def peeked(rig: QueueRig, count: int = 1000, endpoint: str = UPSTREAM) -> list[int]:
    return [one.message.sequence for one in rig.ask(rig.queue.upkeep.peek, endpoint, count)]


def letters(rig: QueueRig, selection: Selection = EVERYTHING) -> list[int]:
    return [one.message.sequence for one in rig.ask(rig.queue.upkeep.peek_dead, selection)]


def dropped(rig: QueueRig) -> dict[str, int]:
    return rig.queue.status()["dropped"]  # type: ignore[return-value]


def database(rig: QueueRig) -> sqlite3.Connection:
    """Return the closed queue's database, to change it behind its back."""
    rig.queue.close(5)
    return sqlite3.connect(rig.file, isolation_level=None)


def reopen(rig: QueueRig) -> None:
    rig.queue = rig.new_queue()
    rig.open()


# --- peek ---


def test_a_look_shows_what_waits_in_the_order_in_which_it_leaves_and_changes_nothing(rig):
    for sequence in range(1, 41):
        rig.put(sequence, priority=9 if sequence % 4 else 0)
    in_flight = [message.sequence for _, message in rig.lease(count=3)]
    rig.advance(6)
    for sequence in range(41, 81):
        rig.put(sequence, priority=9 if sequence % 4 else 0)
    before = rig.queue.status()
    seen = peeked(rig)

    assert rig.queue.status() == before
    assert in_flight + rig.drain() == seen
    assert len(seen) == 80


def test_a_look_says_where_each_message_is_and_since_when(rig):
    rig.put(1, ttl_s=60)
    rig.put(2)
    rig.advance(6)
    rig.lease(count=1)
    rig.put(3)

    found = rig.ask(rig.queue.upkeep.peek, UPSTREAM, 10)

    assert [(one.is_in_flight, one.is_on_disk) for one in found] == [(True, True), (False, True), (False, False)]
    assert [one.expires_in_ms for one in found] == [54_000, None, None]
    assert [one.age_ms for one in found] == [6000, 6000, 0]


def test_a_look_shows_no_more_than_was_asked_for(rig):
    for sequence in range(1, 101):
        rig.put(sequence)
    rig.advance(6)

    assert peeked(rig, 7) == [1, 2, 3, 4, 5, 6, 7]


def test_a_look_at_an_endpoint_that_is_not_known_is_empty(rig):
    assert peeked(rig, endpoint="/modules/x/inputs/y") == []


def test_a_look_leaves_out_what_has_expired(rig):
    rig.put(1, ttl_s=10)
    rig.put(2)
    rig.advance(12)

    assert peeked(rig) == [2]


# --- dead letters ---


def test_a_message_set_aside_settles_within_the_linger_and_survives_a_power_cut_from_then_on(rig):
    rig.queue.set_live(UPSTREAM, True)
    message = rig.put(1)
    rig.advance(2)
    rig.set_aside()
    assert rig.settled == []
    rig.advance(4)
    assert rig.settled == [message]
    rig.crash()

    (letter,) = rig.ask(rig.queue.upkeep.peek_dead, EVERYTHING)
    assert (letter.endpoint, letter.reason, letter.text) == (UPSTREAM, "poison", "ValueError: 1")
    assert (letter.message.message_id, letter.message.body) == (message.message_id, message.body)
    assert dropped(rig) == {"poison": 1}


@pytest.mark.parametrize(("count", "size"), [(128, 10), (7, 10_000)])
def test_many_letters_are_written_at_once_whether_somebody_waits_for_them_or_not(rig, count, size):
    rig.queue.set_live(UPSTREAM, True)
    for is_on_disk in (False, True):
        for sequence in range(1, count + 1):
            rig.queue.append(new_message(sequence, body=b"x" * size), [(UPSTREAM, 9, -1)])
        rig.advance(6 if is_on_disk else 0)
        before = rig.queue.status()["dead"]
        rig.set_aside(count)
        rig.pump()

        assert rig.queue.status()["dead"] == before + count


def test_a_letter_is_shown_at_once(rig):
    rig.put(1)
    rig.set_aside()

    assert letters(rig) == [1]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), [1, 2, 3, 4]),
        (Selection(endpoint=OTHER), [3, 4]),
        (Selection(numbers=(1, 4, 9)), [1, 4]),
        (Selection(module="probe", limit=2), [1, 2]),
        (Selection(module="prob"), []),
        (Selection(limit=3, is_newest=True), [2, 3, 4]),
        (Selection(after=1, before=4), [2, 3]),
        (Selection(max_bytes=1), [1]),
    ],
)
def test_letters_are_selected(rig, selection, expected):
    for sequence in range(1, 5):
        rig.put(sequence, endpoint=UPSTREAM if sequence < 3 else OTHER)
    rig.set_aside(2)
    rig.set_aside(2, endpoint=OTHER)

    assert letters(rig, selection) == expected


def test_the_oldest_letters_give_way_to_a_number_of_them_and_are_counted(tmp_path, monkeypatch):
    from microedge.queue.dead import DeadLetters

    monkeypatch.setattr(DeadLetters.__init__, "__defaults__", (3,))
    rig = QueueRig(tmp_path).open()
    for sequence in range(1, 6):
        rig.put(sequence)
    rig.set_aside(5)
    found = letters(rig)
    rig.restart()
    status = rig.queue.status()
    rig.stop()

    assert found == [3, 4, 5]
    assert (status["dead"], status["dead_removed"]) == (3, 2)


def test_no_number_names_two_letters(rig):
    for sequence in range(1, 4):
        rig.put(sequence)
    rig.set_aside(3)
    rig.ask(rig.queue.upkeep.purge_dead, EVERYTHING)
    rig.restart()
    rig.put(4)
    rig.set_aside()

    assert [one.number for one in rig.ask(rig.queue.upkeep.peek_dead, EVERYTHING)] == [4]


def test_a_damaged_letter_is_shown_as_damaged_and_is_neither_sent_nor_in_the_way(rig):
    for sequence in range(1, 4):
        rig.put(sequence)
    rig.set_aside(3)
    rig.advance(31)
    db = database(rig)
    db.execute("UPDATE dead SET data = CAST(zeroblob(99) AS BLOB) WHERE id = 1")
    db.execute("UPDATE dead SET text = CAST(x'ff2e' AS TEXT), data = substr(data, 1, length(data) - 1) WHERE id = 2")
    db.close()
    reopen(rig)

    found = rig.ask(rig.queue.upkeep.peek_dead, EVERYTHING)

    assert [one.message is None for one in found] == [True, True, False]
    assert all(one.damage for one in found[:2])
    assert rig.ask(rig.queue.upkeep.replay, EVERYTHING) == Outcome(1, 2)
    assert rig.drain() == [3]
    assert rig.ask(rig.queue.upkeep.purge_dead, EVERYTHING) == Outcome(2, 0)


def test_a_letter_of_an_earlier_version_is_sent_again(rig):
    db = database(rig)
    row = (1, UPSTREAM, "poison", "bad", 0, pack(new_message(7)))
    db.execute("INSERT INTO dead VALUES (?, ?, ?, ?, ?, ?)", row)
    db.close()
    reopen(rig)

    assert rig.ask(rig.queue.upkeep.replay, EVERYTHING) == Outcome(1, 0)
    assert rig.drain() == [7]


# --- replay ---


def test_letters_are_sent_again_behind_what_waits_in_their_line_with_their_ids(rig):
    first = rig.put(1)
    rig.put(2)
    rig.set_aside(2)
    rig.put(3)
    rig.advance(6)
    rig.put(4)
    rig.put(5, priority=0)

    outcome = rig.ask(rig.queue.upkeep.replay, EVERYTHING)
    leased = rig.lease()

    assert outcome == Outcome(2, 0)
    assert [message.sequence for _, message in leased] == [5, 3, 4, 1, 2]
    assert leased[3][1].message_id == first.message_id


def test_a_letter_that_was_sent_again_is_none_any_more_and_not_counted_as_dropped(rig):
    rig.put(1)
    rig.set_aside()
    rig.ask(rig.queue.upkeep.replay, EVERYTHING)
    status = rig.queue.status()
    rig.crash()

    assert (status["dead"], status["dropped"], status["replayed"], status["messages"]) == (0, {}, 1, 1)
    assert letters(rig) == []
    assert (dropped(rig), rig.queue.status()["replayed"]) == ({}, 1)
    assert rig.drain() == [1]


def test_the_time_to_live_of_a_letter_starts_anew(rig):
    rig.put(1, ttl_s=60)
    rig.set_aside()
    rig.advance(100)
    rig.ask(rig.queue.upkeep.replay, EVERYTHING)
    rig.advance(50)
    assert peeked(rig) == [1]
    rig.advance(20)

    assert peeked(rig) == []
    assert rig.drain() == []
    assert dropped(rig) == {"ttl": 1}


def test_of_what_fails_again_while_letters_are_sent_none_is_sent_twice(rig):
    for sequence in range(1, 601):
        rig.put(sequence)
    rig.set_aside(600)

    def fail(endpoint: str) -> None:
        rig.set_aside(1000)

    rig.queue_available = fail  # type: ignore[method-assign]
    outcome = rig.ask(rig.queue.upkeep.replay, EVERYTHING)

    assert outcome == Outcome(600, 0)
    assert len(letters(rig, Selection(limit=10_000))) == 600
    assert dropped(rig) == {"poison": 600}


def test_what_was_delivered_before_it_was_written_leaves_no_letter_behind(rig):
    rig.put(1)
    rig.set_aside()
    rig.advance(6)
    rig.queue.upkeep.replay(EVERYTHING, lambda *answer: None)
    while not (leased := rig.lease()):
        rig.reactor.turn()
    rig.queue.ack([leased[0][0]])
    rig.advance(31)

    assert (letters(rig), rig.queue.status()["messages"], dropped(rig)) == ([], 0, {})


def test_a_volatile_message_is_sent_again_and_then_on_disk(rig):
    rig.queue.append(new_message(1, durability=VOLATILE), [(UPSTREAM, 9, -1)])
    rig.set_aside()
    rig.ask(rig.queue.upkeep.replay, EVERYTHING)
    rig.crash()

    assert rig.drain() == [1]


def test_a_letter_for_which_there_is_no_room_stays_a_letter(tmp_path):
    rig = QueueRig(tmp_path, max_bytes=1 << 20).open()
    rig.queue.append(new_message(1, body=os.urandom(90_000)), [(UPSTREAM, 9, -1)])
    rig.set_aside()
    rig.advance(31)
    further = 20  # an eviction makes room for some 30 of them
    while further:
        rig.queue.append(new_message(2, body=os.urandom(3000)), [(UPSTREAM, 0, -1)])
        rig.advance(6)
        further -= "evicted" in dropped(rig)
    before = dropped(rig)["poison"]
    outcome = rig.ask(rig.queue.upkeep.replay, EVERYTHING)
    found, after = letters(rig), dropped(rig)["poison"]
    rig.stop()

    assert (outcome, found, before, after) == (Outcome(0, 1), [1], 1, 1)


# --- purge ---


def test_a_purge_drops_what_waits_counted_and_settled_and_leaves_what_is_in_flight(rig):
    for sequence in range(1, 601):
        rig.put(sequence)
    rig.advance(6)
    held = rig.lease(count=5)
    for sequence in range(601, 701):
        rig.put(sequence)
    count = rig.ask(rig.queue.upkeep.purge, UPSTREAM, "")

    assert (count, dropped(rig)) == (695, {"purged": 695})
    assert len(rig.settled) == 700
    rig.queue.release(UPSTREAM)
    assert rig.drain() == [message.sequence for _, message in held]


def test_a_purge_of_one_module_leaves_the_others_in_order(rig):
    for sequence in range(1, 401):
        message = new_message(sequence)
        message.module = "probe" if sequence % 3 else "other"
        rig.queue.append(message, [(UPSTREAM, 9, -1)])
        if sequence == 300:
            rig.advance(6)
    rig.lease(count=1)
    count = rig.ask(rig.queue.upkeep.purge, UPSTREAM, "probe")
    rig.crash()

    assert rig.drain() == [1, *range(3, 401, 3)]
    assert dropped(rig) == {"purged": count}
    assert count == 400 - 133 - 1


def test_what_was_purged_does_not_come_again_after_a_power_cut(rig):
    for sequence in range(1, 101):
        rig.put(sequence)
    rig.advance(6)
    rig.ask(rig.queue.upkeep.purge, UPSTREAM, "")
    rig.crash()

    assert rig.drain() == []
    assert dropped(rig) == {"purged": 100}


def test_what_is_being_written_while_it_is_purged_does_not_come_again(rig):
    rig.put(1)
    rig.queue._committer.start(rig.queue._now_ms())
    rig.ask(rig.queue.upkeep.purge, UPSTREAM, "")
    rig.crash()

    assert (rig.drain(), dropped(rig)) == ([], {"purged": 1})


def test_a_purge_while_rows_are_being_read_takes_them_too(rig):
    for sequence in range(1, 2001):
        rig.put(sequence)
        if not sequence % 200:
            rig.advance(6)
    rig.queue.lease(UPSTREAM, 1, 1 << 20)  # begins to read
    rig.ask(rig.queue.upkeep.purge, UPSTREAM, "")
    rig.pump()

    assert rig.drain() == []
    assert dropped(rig) == {"purged": 2000}


def test_a_purge_of_an_endpoint_that_is_not_known_does_nothing(rig):
    assert rig.ask(rig.queue.upkeep.purge, "/modules/x/inputs/y", "") == 0


def test_a_purge_of_letters_counts_nothing_twice(rig):
    for sequence in range(1, 4):
        rig.put(sequence, endpoint=UPSTREAM if sequence < 3 else OTHER)
    rig.set_aside(2)
    rig.set_aside(endpoint=OTHER)
    outcome = rig.ask(rig.queue.upkeep.purge_dead, Selection(endpoint=UPSTREAM))
    rig.crash()

    assert outcome == Outcome(2, 0)
    assert (letters(rig), dropped(rig)) == ([3], {"poison": 3})


def test_a_disk_that_does_not_answer_is_trouble_and_no_answer(tmp_path):
    rig = QueueRig(tmp_path).open()
    rig.put(1)
    rig.set_aside()
    answers: list[tuple[object, str]] = []
    rig.queue._store._connection().execute("PRAGMA query_only = ON")  # type: ignore[union-attr]
    rig.queue.upkeep.replay(EVERYTHING, lambda *answer: answers.append(answer))
    rig.pump()
    rig.stop()

    ((outcome, trouble),) = answers
    assert outcome == Outcome(0, 0)
    assert "readonly" in trouble
