"""Damage of every kind: what can be read is delivered, in order, and what cannot is counted to the message."""

from __future__ import annotations

import os
import random

import pytest
from support.queue_rig import UPSTREAM, QueueRig, new_message

PAGE = 4096
ENDPOINTS = (UPSTREAM, "/modules/a/inputs/in", "/modules/b/inputs/in")


def filled(rig: QueueRig, count: int = 2000, seed: int = 0) -> QueueRig:
    """A rig with messages of all sizes waiting for three endpoints: rows on one page, and on many."""
    dice = random.Random(seed)
    rig.open()
    for sequence in range(1, count + 1):
        body = dice.randbytes(dice.choice((4, 40, 300, 9000)))
        priority = dice.choice((0, 9))
        rig.queue.append(new_message(sequence, body=body), [(ENDPOINTS[sequence % 3], priority, -1)])
        if not sequence % 20:
            rig.pump()
    rig.advance(6)
    return rig


def closed(rig: QueueRig) -> QueueRig:
    rig.queue.close(5)
    return rig


def reopened(rig: QueueRig) -> QueueRig:
    rig.queue = rig.new_queue()
    return rig.open()


def garbage(file: str, *pages: int, seed: int = 0) -> None:
    dice = random.Random(seed)
    with open(file, "r+b") as stream:
        for page in pages:
            stream.seek((page - 1) * PAGE)
            stream.write(dice.getrandbits(8 * PAGE).to_bytes(PAGE, "big"))


def delivered(rig: QueueRig) -> list[int]:
    return sorted(sequence for endpoint in ENDPOINTS for sequence in rig.drain(endpoint))


def lost(rig: QueueRig) -> int:
    return dict(rig.queue.status()["dropped"]).get("corrupt", 0)


def test_with_its_first_page_destroyed_nothing_is_lost(tmp_path):
    rig = closed(filled(QueueRig(tmp_path)))
    garbage(rig.file, 1)

    reopened(rig)
    reason = rig.queue.status()["reason"]
    found = delivered(rig)
    rig.stop()

    assert found == list(range(1, 2001))
    assert str(reason).startswith("database was damaged: 2,000 of 2,000 messages recovered, 0 lost; set aside as /")


@pytest.mark.parametrize("seed", range(6))
def test_any_pages_destroyed_cost_the_rows_on_them_and_the_count_is_exact(tmp_path, seed):
    rig = closed(filled(QueueRig(tmp_path), seed=seed))
    pages = os.path.getsize(rig.file) // PAGE
    garbage(rig.file, *random.Random(seed).sample(range(1, pages + 1), (1, 1, 3, 10, 20, 40)[seed]), seed=seed)

    reopened(rig)
    found = delivered(rig)
    rig.advance(60)
    missing = lost(rig)
    status = rig.queue.status()
    rig.stop()

    assert (len(found), len(set(found))) == (2000 - missing, 2000 - missing)
    assert (status["messages"], status["disk_messages"]) == (0, 0)
