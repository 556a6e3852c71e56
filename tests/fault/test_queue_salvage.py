"""Damage of every kind: what can be read is delivered, in order, and what cannot is counted to the message."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import sqlite3

import pytest
from support.queue_rig import UPSTREAM, QueueRig, new_message

from microedge.message import CORRECTED, UNSYNCED
from microedge.queue.jobs import Loaded
from microedge.queue.line import Row
from microedge.queue.salvage_image import Image
from microedge.queue.salvage_pages import Frame, frames
from microedge.queue.salvage_survey import rows_of, stored_row
from microedge.queue.schema import roots
from microedge.queue.store import Store

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


@pytest.mark.parametrize("kind", ["database", "WAL"])
def test_a_power_cut_and_damage_together_cost_what_is_destroyed(tmp_path, kind):
    """A crash leaves a WAL with the newest commits; SQLite would drop all that comes after its first bad frame."""
    rig = cut_off(filled(QueueRig(tmp_path), 600))
    if kind == "WAL":
        current = current_frames(rig.file + "-wal")
        assert len(current) > 20
        garbage(rig.file + "-wal", current[len(current) // 2].at // PAGE + 1)
    else:
        garbage(rig.file, 4, 10, 30)

    reopened(rig)
    reason = str(rig.queue.status()["reason"])
    found = delivered(rig)
    missing = lost(rig)
    rig.stop()

    assert "database was damaged" in reason
    assert len(found) == len(set(found)) == 600 - missing
    assert missing < 60


def cut_off(rig: QueueRig) -> QueueRig:
    """End as a power cut does: the files stay as they are, the WAL among them."""
    writer, store = rig.queue._writer, rig.queue._store
    assert writer is not None
    assert store is not None
    assert writer.stop(5)
    rig.generation += 1
    after = os.path.join(rig.root, str(rig.generation))
    shutil.copytree(rig.directory, after)
    store.close()
    rig.directory = after
    rig.reactor = type(rig.reactor)(rig.reactor.time_s)
    return rig


def current_frames(wal: str) -> list[Frame]:
    with open(wal, "rb") as file:
        data = file.read()
    return [frame for frame in frames(lambda at, n: data[at : at + n], len(data)) if frame.is_current]


def test_a_salvage_that_is_interrupted_goes_on_where_it_was(tmp_path):
    rig = closed(filled(QueueRig(tmp_path)))
    garbage(rig.file, 1, 2, 9, 20)
    got: list[int] = []

    for _ in range(4):  # each time a power cut after some steps, with some of it delivered
        rig.queue = rig.new_queue()
        rig.queue.open()
        for _ in range(4):
            assert rig.reactor.run_thread_call(5)
        assert rig.queue.status()["salvaging"]
        for endpoint in ENDPOINTS:
            leased = rig.queue.lease(endpoint, 10, 1 << 20)
            got += [message.sequence for _, message in leased]
            rig.queue.ack([ticket for ticket, _ in leased])
        cut_off(rig)
    reopened(rig)
    rest = delivered(rig)
    rig.advance(60)
    missing = lost(rig)
    rig.stop()

    assert len(rest) == len(set(rest))
    assert len({*got, *rest}) == 2000 - missing


def test_what_is_damaged_while_running_is_salvaged_and_counted_to_the_message(tmp_path):
    rig = closed(filled(QueueRig(tmp_path)))
    reopened(rig)
    pages = os.path.getsize(rig.file) // PAGE
    first = [message.sequence for _, message in rig.lease(UPSTREAM, 5)]  # in flight meanwhile
    garbage(rig.file, *random.Random(1).sample(range(7, pages), 30))

    got = delivered(rig)
    rig.put(2001)
    rig.advance(60)
    rig.queue.release(UPSTREAM)
    got += delivered(rig)
    rig.advance(60)
    missing, status = lost(rig), rig.queue.status()
    rig.stop()

    assert {2001, *first} <= set(got)
    assert len(got) == len(set(got)) == 2001 - missing
    assert missing > 0
    assert (status["state"], status["messages"], status["disk_messages"]) == ("ok", 0, 0)


def test_salvaged_messages_stand_in_front_of_newer_ones_in_order(tmp_path):
    rig = closed(filled(QueueRig(tmp_path)))
    garbage(rig.file, 1)
    rig.queue = rig.new_queue()
    rig.queue.open()
    rig.put(2001)
    rig.pump()

    got = rig.drain(UPSTREAM)
    rig.stop()

    assert got[-1] == 2001
    falls = sum(1 for before, after in zip(got, got[1:]) if after < before)
    assert falls <= 1  # priority 0, then priority 9


def test_dead_letters_and_counters_survive(tmp_path):
    rig = filled(QueueRig(tmp_path), 300)
    rig.set_aside(5)
    rig.advance(60)
    closed(rig)
    garbage(rig.file, 1)

    reopened(rig)
    status = rig.queue.status()
    rig.stop()

    assert (status["dead"], status["dropped"]) == (5, {"poison": 5})


def test_what_is_known_of_the_clocks_of_earlier_boots_survives(tmp_path):
    rig = QueueRig(tmp_path).open()
    message = new_message(1)
    message.taken_ms, message.created_ms, message.time_quality = 5_000, 5_000, UNSYNCED
    rig.queue.append(message, [(UPSTREAM, 9, -1)])
    rig.advance(6)
    rig.queue.clock_is_right(1_800_000_000_000)
    closed(rig)
    garbage(rig.file, 1)
    rig.boot_id = "boot-2"

    reopened(rig)
    rig.pump()
    ((_, salvaged),) = rig.lease()
    rig.stop()

    assert (salvaged.created_ms, salvaged.time_quality) == (1_800_000_005_000, CORRECTED)


def test_what_is_left_says_what_came_of_it(tmp_path):
    rig = closed(filled(QueueRig(tmp_path), 300))
    garbage(rig.file, 1)

    reopened(rig)
    rig.stop()
    directory = os.path.join(rig.directory, "quarantine", "queue-1")

    assert sorted(os.listdir(directory)) == ["queue.db", "salvage.json"]
    with open(os.path.join(directory, "salvage.json"), encoding="ascii") as file:
        outcome = json.load(file)
    assert (outcome["recovered"], outcome["lost"], outcome["is_exact"]) == (300, 0, True)


def test_a_bad_sector_costs_the_rows_on_it_and_the_database_moves(tmp_path, monkeypatch):
    rig = closed(filled(QueueRig(tmp_path)))
    reopened(rig)
    bad = next(row for line in rig.queue._lines.lines() for row in line.backlog if row.size > 3 * PAGE)
    image = Image(rig.file + ".copy")
    shutil.copy(rig.file, rig.file + ".copy")  # closing the file itself would give up the locks of SQLite
    image.open()
    cells = [cell for _, _, cell in rows_of(image, roots()["batch"]) if cell is not None]
    image.close()
    (bad_page,) = [cell.overflow - 1 for cell in cells if cell.key == bad.id]
    load, pread = Store.load, os.pread

    def load_around(self: Store, rows: list[Row]) -> list[Loaded]:
        if bad.id in {row.id for row in rows} and not os.path.exists(os.path.join(rig.directory, "quarantine")):
            raise sqlite3.OperationalError("disk I/O error")
        return load(self, rows)

    def read_around(fd: int, count: int, at: int) -> bytes:
        if at == bad_page * PAGE:
            raise OSError(errno.EIO, "Input/output error")
        return pread(fd, count, at)

    monkeypatch.setattr(Store, "load", load_around)
    monkeypatch.setattr(os, "pread", read_around)
    found = delivered(rig)
    rig.advance(20)
    found += delivered(rig)
    rig.advance(60)
    missing, status = lost(rig), rig.queue.status()
    rig.stop()

    assert bad.n <= missing < 200
    assert len(found) == len(set(found)) == 2000 - missing
    assert (status["state"], status["messages"]) == ("ok", 0)


def test_at_least_99_of_100_undamaged_messages_come_back_and_the_loss_is_exact(tmp_path):
    for seed in range(3):
        look(tmp_path, seed, messages=1000)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_at_least_99_of_100_undamaged_messages_come_back_from_any_damage(tmp_path):
    for seed in range(100, 160):
        look(tmp_path, seed, messages=random.Random(seed).choice((300, 3000, 12_000)))


def look(directory: os.PathLike[str], seed: int, messages: int) -> None:
    """Destroy pages by chance; see that all rows without a destroyed page arrive, and that the others are counted."""
    dice = random.Random(seed)
    root = os.path.join(directory, str(seed))
    os.mkdir(root)
    rig = closed(filled(QueueRig(root), messages, seed))
    pages = os.path.getsize(rig.file) // PAGE
    spoilt = dice.sample(range(1, pages + 1), dice.choice((1, 1, 2, 1 + pages // 50, 1 + pages // 10)))
    untouched = messages - touched(rig.file, set(spoilt))
    garbage(rig.file, *spoilt, seed=seed)

    reopened(rig)
    found = delivered(rig)
    rig.advance(60)
    missing = lost(rig)
    is_exact = "at least" not in str(rig.queue.status()["reason"])
    rig.stop()
    shutil.rmtree(root)

    assert len(found) == len(set(found)) >= untouched * 0.99, (seed, len(found), untouched)
    assert len(found) + missing == messages or not is_exact, (seed, len(found), missing)
    assert is_exact or len(spoilt) > 1, seed


def touched(file: str, spoilt: set[int]) -> int:
    """Return how many messages are in rows of which a part is on one of these pages."""
    image = Image(file)
    image.open()
    count = 0
    for leaf, _, cell in rows_of(image, roots()["batch"]):
        assert cell is not None
        own, number, left = {leaf.number}, cell.overflow, cell.size - len(cell.local)
        while left > 0:
            own.add(number)
            number, left = int.from_bytes((image.page(number) or b"")[:4], "big"), left - (PAGE - 4)
        count += stored_row(image, cell).head.messages if own & spoilt else 0
    image.close()
    return count
