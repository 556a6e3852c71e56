"""Who lost what and why, and what the upstream is told of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.queue_rig import UPSTREAM, QueueRig, new_message

from microedge.message import GAP_OUTPUT, Envelope, Message, Ticket
from microedge.queue.losses import Gap, Gone, Losses


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[QueueRig]:
    one = QueueRig(tmp_path).open()
    yield one
    one.stop()


def put(rig: QueueRig, module: str, sequences: range, *, ttl_s: int = -1, endpoint: str = UPSTREAM) -> None:
    for sequence in sequences:
        message = new_message(sequence, module=module, session=f"{module}-1", created_ms=1000 + sequence)
        rig.queue.append(message, [(endpoint, 9, ttl_s)])


def lost(rig: QueueRig) -> Any:
    return rig.queue.status()["dropped_by_module"]


def lease_gaps(rig: QueueRig) -> list[tuple[Ticket, Message]]:
    leased = rig.queue.lease(UPSTREAM, 100, 100_000)
    return [(ticket, message) for ticket, message in leased if message.output == GAP_OUTPUT]


def expire_two_modules(rig: QueueRig) -> None:
    """Lose three messages of one module and two of another, mixed in one row on disk."""
    put(rig, "probe", range(1, 3), ttl_s=60)
    put(rig, "valve", range(7, 9), ttl_s=60)
    put(rig, "probe", range(3, 4), ttl_s=60)
    rig.advance(6)
    assert rig.queue.status()["disk_messages"] == 5
    rig.advance(160)


PROBE = {"module": "probe", "reason": "ttl", "count": 3, "from_ms": 1001, "to_ms": 1003}
PROBE_ENDS = {"first": {"session": "probe-1", "sequence": 1}, "last": {"session": "probe-1", "sequence": 3}}


def test_what_goes_with_a_row_is_counted_under_the_modules_that_it_belonged_to(rig: QueueRig):
    expire_two_modules(rig)

    assert lost(rig) == {"probe": {"ttl": 3}, "valve": {"ttl": 2}}
    assert rig.queue.status()["dropped"] == {"ttl": 5}
    assert rig.queue.dropped_of("valve") == {"ttl": 2}


def test_counts_by_module_survive_a_crash_once_their_rows_are_deleted(rig: QueueRig):
    expire_two_modules(rig)
    rig.crash()

    assert lost(rig) == {"probe": {"ttl": 3}, "valve": {"ttl": 2}}
    rig.advance(160)
    assert lost(rig) == {"probe": {"ttl": 3}, "valve": {"ttl": 2}}


def test_a_part_of_a_row_that_was_delivered_is_not_counted(rig: QueueRig):
    put(rig, "probe", range(1, 4), ttl_s=60)
    put(rig, "valve", range(1, 4), ttl_s=60)
    rig.advance(6)
    leased = rig.lease(count=4)
    rig.queue.ack([ticket for ticket, _ in leased])
    rig.queue.release(UPSTREAM)
    rig.advance(160)

    assert lost(rig) == {"valve": {"ttl": 2}}


def test_purged_messages_are_counted_by_module_whoever_they_belong_to(rig: QueueRig):
    put(rig, "probe", range(1, 4))
    put(rig, "valve", range(1, 3))
    rig.advance(6)
    put(rig, "valve", range(3, 4))

    assert rig.ask(rig.queue.upkeep.purge, UPSTREAM, "valve") == 3
    assert lost(rig) == {"valve": {"purged": 3}}
    assert rig.ask(rig.queue.upkeep.purge, UPSTREAM, "") == 3
    assert lost(rig) == {"probe": {"purged": 3}, "valve": {"purged": 3}}


def test_a_row_that_cannot_be_read_is_counted_without_a_module(rig: QueueRig):
    put(rig, "probe", range(1, 4))
    rig.advance(6)
    rig.queue._writer.stop(5)  # type: ignore[union-attr]
    db = rig.queue._store._connection()  # type: ignore[union-attr]
    db.execute("UPDATE batch SET data = zeroblob(40)")
    rig.crash()
    rig.lease()
    rig.advance(31)

    assert lost(rig) == {"": {"corrupt": 3}}


def test_a_replayed_letter_leaves_the_count_of_its_module(rig: QueueRig):
    put(rig, "probe", range(1, 3))
    rig.set_aside(2)
    rig.advance(6)
    assert lost(rig) == {"probe": {"poison": 2}}
    from microedge.queue.letter import Selection

    rig.ask(rig.queue.upkeep.replay, Selection())
    assert lost(rig) == {}
    rig.restart()
    assert lost(rig) == {}


def test_counters_alone_are_written_after_ten_minutes_and_not_before(rig: QueueRig):
    rig.queue.drop("probe", "no_route")
    rig.advance(590)
    assert rig.queue.status()["commits"] == 0
    rig.queue.drop("probe", "no_route")
    rig.advance(20)
    assert rig.queue.status()["commits"] == 1
    rig.crash()
    assert lost(rig) == {"probe": {"no_route": 2}}
    rig.advance(1300)
    assert rig.queue.status()["commits"] == 0


def test_counters_are_written_at_a_regular_stop(rig: QueueRig):
    rig.queue.drop("probe", "no_upstream")
    rig.restart()

    assert lost(rig) == {"probe": {"no_upstream": 1}}


def test_counters_ride_with_the_next_commit(rig: QueueRig):
    rig.queue.drop("probe", "no_route")
    put(rig, "valve", range(1, 2))
    rig.advance(6)
    rig.crash()

    assert lost(rig) == {"probe": {"no_route": 1}}


def test_the_upstream_is_told_of_each_gap_when_it_is_there_again(rig: QueueRig):
    expire_two_modules(rig)
    assert lease_gaps(rig) == []  # it is away
    rig.queue.set_live(UPSTREAM, True)
    rig.advance(6)

    records = [message for _, message in lease_gaps(rig)]
    assert [message.module for message in records] == ["probe", "valve"]
    assert records[0].json() == {**PROBE, **PROBE_ENDS}
    assert records[1].json()["count"] == 2
    assert UPSTREAM in rig.available


def test_a_gap_is_told_until_the_upstream_has_it_and_then_never_again(rig: QueueRig):
    expire_two_modules(rig)
    rig.crash()
    rig.queue.set_live(UPSTREAM, True)
    rig.advance(6)
    first = lease_gaps(rig)
    rig.queue.release(UPSTREAM)
    again = lease_gaps(rig)
    assert [message.message_id for _, message in again] == [message.message_id for _, message in first]

    rig.queue.ack([ticket for ticket, _ in again])
    rig.advance(70)
    assert lease_gaps(rig) == []
    rig.restart()
    rig.queue.set_live(UPSTREAM, True)
    rig.advance(70)
    assert lease_gaps(rig) == []
    assert rig.queue.status()["gaps"] == 0


def test_what_is_lost_while_a_record_is_under_way_is_told_in_the_next_one(rig: QueueRig):
    rig.queue.set_live(UPSTREAM, True)
    put(rig, "probe", range(1, 3), ttl_s=1)
    rig.advance(8)
    rig.lease()  # drops them
    rig.advance(6)
    ((ticket, record),) = lease_gaps(rig)
    put(rig, "probe", range(3, 4), ttl_s=1)
    rig.advance(2)
    rig.lease()
    rig.advance(30)
    assert lease_gaps(rig) == []
    rig.queue.ack([ticket])
    rig.advance(60)

    ((_, second),) = lease_gaps(rig)
    assert (record.json()["count"], second.json()["count"], second.json()["first"]["sequence"]) == (2, 1, 3)
    assert record.message_id != second.message_id


def test_a_gap_that_was_under_way_at_a_crash_is_told_again(rig: QueueRig):
    expire_two_modules(rig)
    rig.queue.set_live(UPSTREAM, True)
    rig.advance(6)
    assert len(lease_gaps(rig)) == 2
    rig.crash()
    rig.queue.set_live(UPSTREAM, True)
    rig.advance(6)

    assert [message.json()["count"] for _, message in lease_gaps(rig)] == [3, 2]


def test_nobody_is_told_of_what_an_input_missed(rig: QueueRig):
    put(rig, "probe", range(1, 3), ttl_s=60, endpoint="/modules/a/inputs/b")
    rig.advance(6)
    rig.advance(160)
    rig.queue.set_live(UPSTREAM, True)
    rig.advance(70)

    assert (lost(rig), rig.queue.status()["gaps"]) == ({"probe": {"ttl": 2}}, 0)


def test_a_module_cannot_send_gap_records():
    with pytest.raises(ValueError, match="the runtime's own"):
        Envelope.decode(b'{"output":"$gap"}')


def test_gaps_in_any_order_become_one_from_the_earliest_to_the_latest():
    early, late = Gap(2, 10, 20, ("a", 1), ("a", 2)), Gap(1, 30, 30, ("b", 1), ("b", 1))

    assert early.plus(late) == late.plus(early) == Gap(3, 10, 30, ("a", 1), ("b", 1))
    assert early.plus(Gap(5)) == Gap(5).plus(early) == Gap(7, 10, 20, ("a", 1), ("a", 2))


def test_only_the_messages_of_the_mask_are_lost():
    messages = [new_message(n, module="ab"[n % 2]) for n in range(4)]

    assert [(loss.module, loss.gap.n) for loss in Gone(1, "ttl", 0b0111, True).losses(messages)] == [("a", 2), ("b", 1)]


@pytest.mark.parametrize("text", ["", "x", "[1]", "[1,2,3,4,5]", "null", '[1,2,3,["a"],["b",2]]'])
def test_a_damaged_gap_on_disk_is_ignored(text: str):
    losses = Losses()
    losses.take_over({"gap.ttl.probe": text, "dropped.ttl.probe": 3})

    assert (losses.due, losses.by_reason()) == ({}, {"ttl": 3})
