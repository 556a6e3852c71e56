from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

import pytest
from support.queue_rig import UPSTREAM, QueueRig, new_message
from support.virtual_reactor import VirtualReactor

from microedge.message import CORRECTED, IMMEDIATE, SYNCED, UNSYNCED, VOLATILE
from microedge.queue.queue import MessageQueue


@pytest.fixture
def rig(tmp_path) -> Iterator[QueueRig]:
    rig = QueueRig(tmp_path)
    rig.open()
    yield rig
    rig.stop()


def commits(rig: QueueRig) -> object:
    return rig.queue.status()["commits"]


def content(rig: QueueRig) -> list[str]:
    files = sorted(name for name in os.listdir(rig.directory))
    digests = []
    for name in files:
        with open(os.path.join(rig.directory, name), "rb") as file:
            digests.append(f"{name} {hashlib.sha256(file.read()).hexdigest()}")
    return digests


def test_ten_thousand_messages_that_are_acknowledged_promptly_leave_no_byte_on_disk(rig):
    rig.queue.set_live(UPSTREAM, True)
    before = content(rig)

    for sequence in range(1, 10_001):
        rig.put(sequence)
        rig.reactor.advance(0.01)
        if not sequence % 20:  # the oldest is 0.2 s old, and traffic goes on for 100 s
            rig.drain()
    rig.advance(60)

    assert len(rig.settled) == 10_000
    assert content(rig) == before
    assert commits(rig) == 0


def test_a_message_without_acknowledgement_is_committed_after_the_linger(rig):
    rig.queue.set_live(UPSTREAM, True)
    message = rig.put(1)
    rig.lease()
    rig.advance(4.5)
    assert rig.settled == []

    rig.advance(1)

    assert (rig.settled, commits(rig)) == ([message], 1)


def test_the_linger_counts_from_the_oldest_message_that_still_waits(rig):
    rig.queue.set_live(UPSTREAM, True)
    for sequence in range(1, 30):
        rig.put(sequence)
        rig.advance(1)
        if sequence > 3:
            rig.queue.ack([ticket for ticket, _ in rig.lease(count=1)])

    assert commits(rig) == 0


def test_an_immediate_message_is_committed_in_the_same_turn_together_with_all_others(rig):
    rig.queue.append(new_message(1), [(UPSTREAM, 9, -1)])
    rig.queue.append(new_message(2, durability=IMMEDIATE), [(UPSTREAM, 0, -1)])
    rig.queue.append(new_message(3, durability=IMMEDIATE), [("other", 9, -1)])
    rig.pump()

    assert (len(rig.settled), commits(rig)) == (3, 1)


@pytest.mark.parametrize(("count", "size"), [(128, 10), (7, 10_000)])
def test_much_that_waits_for_an_endpoint_that_is_away_is_committed_at_once(rig, count, size):
    for sequence in range(1, count + 1):
        assert rig.settled == []
        rig.queue.append(new_message(sequence, body=b"x" * size), [(UPSTREAM, 9, -1)])
    rig.pump()

    assert len(rig.settled) == count


def test_much_that_waits_for_a_live_endpoint_is_left_in_ram(rig):
    rig.queue.set_live(UPSTREAM, True)
    for sequence in range(1, 256):
        rig.put(sequence)
    rig.advance(4)

    assert commits(rig) == 0


def test_when_an_endpoint_goes_away_what_waits_for_it_is_committed_soon(rig):
    rig.queue.set_live(UPSTREAM, True)
    rig.put(1)
    rig.lease()

    rig.queue.set_live(UPSTREAM, False)
    rig.queue.release(UPSTREAM)
    rig.pump()

    assert len(rig.settled) == 1
    assert rig.drain() == [1]


def test_volatile_messages_settle_at_once_and_never_cause_a_commit(rig):
    for sequence in range(1, 1000):
        rig.queue.append(new_message(sequence, durability=VOLATILE), [(UPSTREAM, 9, -1)])
    rig.advance(120)

    assert (len(rig.settled), commits(rig)) == (999, 0)


def test_volatile_messages_survive_a_restart_in_order(rig):
    rig.queue.append(new_message(1, durability=VOLATILE), [(UPSTREAM, 9, -1)])
    rig.restart()

    assert rig.drain() == [1]


def test_a_message_for_two_endpoints_settles_when_one_has_it_and_the_other_is_on_disk(rig):
    rig.queue.set_live("a", True)
    message = new_message(1)
    rig.queue.append(message, [("a", 9, -1), ("b", 9, -1)])
    rig.queue.ack([ticket for ticket, _ in rig.lease("a")])
    assert message.waiting == 1

    rig.advance(6)

    assert rig.settled == [message]
    assert (rig.drain("a"), rig.drain("b")) == ([], [1])


def test_order_and_priority_hold_across_disk_and_ram(rig):
    for sequence in range(1, 601):
        rig.put(sequence, priority=9 if sequence % 3 else 0)
    rig.advance(6)
    for sequence in range(601, 701):
        rig.put(sequence, priority=9 if sequence % 3 else 0)

    urgent = [n for n in range(1, 701) if n % 3 == 0]
    assert rig.drain() == urgent + [n for n in range(1, 701) if n % 3]


def test_what_was_released_is_leased_again_in_order_whatever_was_acknowledged_or_committed(rig):
    for sequence in range(1, 11):
        rig.put(sequence)
    tickets = [ticket for ticket, _ in rig.lease(count=6)]
    rig.advance(6)
    rig.queue.ack(tickets[1:3])

    rig.queue.release(UPSTREAM)

    assert rig.drain() == [1, 4, 5, 6, 7, 8, 9, 10]


def test_a_crash_repeats_at_most_what_no_commit_knows_of(rig):
    for sequence in range(1, 201):
        rig.put(sequence)
    rig.advance(6)
    rig.queue.ack([ticket for ticket, _ in rig.lease(count=100)])
    rig.advance(31)
    rig.queue.ack([ticket for ticket, _ in rig.lease(count=50)])
    rig.crash()

    assert rig.drain() == list(range(101, 201))


def test_acknowledgements_of_what_was_never_written_are_not_written(rig):
    rig.put(1)
    rig.drain()
    rig.advance(60)

    assert commits(rig) == 0


def test_a_thousand_acknowledgements_are_written_at_once(rig):
    for sequence in range(1, 1025):
        rig.put(sequence)
        rig.pump()
    before = commits(rig)
    rig.drain()
    rig.pump()

    assert commits(rig) == before + 1


def test_expired_messages_leave_the_disk_without_anybody_asking(rig):
    for sequence in range(1, 101):
        rig.put(sequence, ttl_s=20)
    rig.advance(100)

    status = rig.queue.status()
    assert (status["disk_messages"], status["dropped"]) == (0, {"ttl": 100})


def test_time_to_live_counts_uptime_across_boots_and_not_the_time_that_the_device_was_off(rig):
    rig.put(1, ttl_s=60)
    rig.put(2, ttl_s=40)
    rig.advance(30)
    rig.boot_id = "boot-2"
    rig.reactor.time_s = 5.0  # a new boot starts to count anew; nobody knows how long it was off
    rig.crash()
    rig.advance(36)  # certain: 5 s until the commit, 5 s and 36 s of the new boot

    assert rig.drain() == [1]
    assert rig.queue.status()["dropped"] == {"ttl": 1}


def test_drops_are_counted_across_restarts(rig):
    rig.put(1, ttl_s=1)
    rig.advance(10)
    rig.restart()

    assert rig.queue.status()["dropped"] == {"ttl": 1}


def test_dead_letters_are_kept_on_disk_and_bounded(tmp_path):
    rig = QueueRig(tmp_path, max_bytes=1 << 20).open()
    for sequence in range(1, 101):
        rig.queue.append(new_message(sequence, body=os.urandom(3000)), [(UPSTREAM, 9, -1)])
        rig.queue.set_aside(rig.lease()[0][0], "poison", "not JSON")
    rig.advance(31)
    status = rig.queue.status()
    rig.stop()

    assert (status["dropped"], len(rig.settled)) == ({"poison": 100}, 100)
    assert 20 <= int(str(status["dead"])) <= 35
    assert int(str(status["dead"])) + int(str(status["dead_removed"])) == 100


def test_over_the_cap_the_oldest_of_the_lowest_priority_give_way_and_the_cap_holds(tmp_path):
    rig = QueueRig(tmp_path, max_bytes=2 << 20).open()
    for sequence in range(1, 2001):
        body = os.urandom(2000)
        rig.queue.append(new_message(sequence, body=body), [(UPSTREAM, 0 if sequence <= 100 else 9, -1)])
        rig.pump()
        assert disk_bytes(rig) <= 2 << 20
    kept = rig.drain()
    dropped = rig.queue.status()["dropped"]
    rig.stop()

    assert kept[:100] == list(range(1, 101))
    assert kept[100:] == list(range(2000 - len(kept) + 101, 2001))
    assert dropped == {"evicted": 2000 - len(kept)}
    assert len(kept) > 500


def test_a_newcomer_never_pushes_out_what_is_more_urgent(tmp_path):
    rig = QueueRig(tmp_path, max_bytes=1 << 20).open()
    for sequence in range(1, 281):
        rig.queue.append(new_message(sequence, body=os.urandom(2000)), [(UPSTREAM, 0, -1)])
    rig.advance(6)
    for sequence in range(281, 581):
        rig.queue.append(new_message(sequence, body=os.urandom(2000)), [(UPSTREAM, 9, -1)])
        rig.pump()
    rig.advance(6)
    kept, status = rig.drain(), rig.queue.status()
    rig.stop()

    assert kept[:280] == list(range(1, 281))
    assert sum(status["dropped"].values()) == 580 - len(kept)
    assert status["dropped"]["rejected"] > 0
    assert len(rig.settled) == 580


def disk_bytes(rig: QueueRig) -> int:
    return sum(os.path.getsize(rig.file + suffix) for suffix in ("", "-wal") if os.path.exists(rig.file + suffix))


def test_an_owner_is_told_of_a_backlog_when_the_queue_opens(rig):
    rig.put(1)
    rig.restart()

    assert rig.available[-1] == UPSTREAM


def test_a_second_opener_is_refused(rig):
    with pytest.raises(Exception, match="locked"):
        rig.new_queue().open()


def test_a_closed_queue_leaves_nothing_uncommitted(rig):
    rig.put(1)
    rig.queue.close(5)

    assert len(rig.settled) == 1


def test_building_a_queue_touches_no_file(tmp_path):
    rig = QueueRig(tmp_path)

    assert isinstance(rig.queue, MessageQueue)
    assert os.listdir(rig.directory) == []


def take_over(rig: QueueRig, *, boot_id: str = "boot-2"):
    """Boot again with a clock that starts anew, and return the message that waited."""
    rig.boot_id = boot_id
    rig.crash()
    ((_, message),) = rig.lease()
    return message


def put_of_1970(rig: QueueRig) -> None:
    message = new_message(1)
    message.taken_ms, message.created_ms, message.time_quality = 5_000, 5_000, UNSYNCED
    rig.queue.append(message, [(UPSTREAM, 9, -1)])
    rig.advance(6)


def test_a_message_that_outlives_its_boot_is_put_right_by_what_was_learnt_later_in_that_boot(rig):
    put_of_1970(rig)
    rig.advance(3_600)
    rig.queue.clock_is_right(1_800_000_000_000)
    rig.pump()

    message = take_over(rig)

    assert (message.created_ms, message.time_quality) == (1_800_000_005_000, CORRECTED)
    assert message.taken_ms < 0


def test_a_message_of_a_boot_in_which_the_time_was_never_known_says_so_and_stays_of_that_boot(rig):
    put_of_1970(rig)

    message = take_over(rig)

    assert (message.created_ms, message.time_quality) == (5_000, UNSYNCED)
    assert message.taken_ms < 0


def test_a_message_that_was_taken_at_a_good_time_keeps_it_whatever_the_ledger_says(rig):
    message = new_message(1)
    message.taken_ms, message.created_ms = 5_000, 1_700_000_000_000
    rig.queue.append(message, [(UPSTREAM, 9, -1)])
    rig.queue.clock_is_right(1_800_000_000_000)
    rig.advance(6)

    message = take_over(rig)

    assert (message.created_ms, message.time_quality) == (1_700_000_000_000, SYNCED)


def test_a_restart_in_the_same_boot_leaves_the_time_to_the_clock_of_that_boot(rig):
    put_of_1970(rig)

    message = take_over(rig, boot_id="boot-1")

    assert (message.taken_ms, message.time_quality) == (5_000, UNSYNCED)


def test_learning_the_time_with_nothing_on_disk_writes_nothing(rig):
    rig.queue.clock_is_right(1_800_000_000_000)
    rig.advance(60)

    assert commits(rig) == 0


def test_the_offset_that_was_learnt_is_kept_by_an_orderly_stop(rig):
    put_of_1970(rig)
    rig.queue.clock_is_right(1_800_000_000_000)
    rig.boot_id = "boot-1"
    rig.restart()
    rig.queue.clock_is_right(1_800_000_000_000)
    rig.pump()

    assert take_over(rig).time_quality == CORRECTED


def test_the_age_of_a_message_goes_on_over_boots_as_far_as_it_is_known(rig):
    put_of_1970(rig)
    rig.advance(1_200)
    up_ms = int(rig.reactor.now_s() * 1000)
    rig.queue.close(5)
    rig.boot_id = "boot-2"
    rig.reactor = VirtualReactor()
    rig.queue = rig.new_queue()
    rig.open()
    ((_, message),) = rig.lease()

    assert message.taken_ms == 5_000 - up_ms


def test_a_message_is_committed_after_the_linger_although_acknowledgements_wait_longer(rig):
    rig.put(1)
    rig.advance(6)
    rig.queue.set_live(UPSTREAM, True)
    rig.drain()
    rig.put(2)
    rig.advance(6)

    assert [message.sequence for message in rig.settled] == [1, 2]
