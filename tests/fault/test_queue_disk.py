"""A damaged file, a full disk, a file of somebody else: never a crash, never a silent loss."""

from __future__ import annotations

import os
import sqlite3

import pytest
from support.queue_rig import UPSTREAM, QueueRig, new_message

from microedge.errors import QueueDamaged
from microedge.queue import disk


def filled(rig: QueueRig, count: int = 500) -> QueueRig:
    """A rig with `count` messages on disk, all of them in the database file, closed."""
    rig.open()
    for sequence in range(1, count + 1):
        rig.queue.append(new_message(sequence, body=os.urandom(500)), [(UPSTREAM, 9, -1)])
        rig.pump()
    rig.queue.close(5)
    return rig


def overwrite(file: str, at: int, content: bytes) -> None:
    with open(file, "r+b") as stream:
        stream.seek(at)
        stream.write(content)


def quarantined(rig: QueueRig) -> list[str]:
    return sorted(os.listdir(os.path.join(rig.directory, "quarantine")))


def reopened(rig: QueueRig) -> QueueRig:
    rig.queue = rig.new_queue()
    return rig.open()


@pytest.mark.parametrize(
    ("damage", "left"),
    [
        (lambda file: overwrite(file, 0, os.urandom(4096)), 500),
        (lambda file: os.truncate(file, 0), 0),
        (lambda file: os.truncate(file, 50), 0),
        (lambda file: overwrite(file, 0, b"hello"), 500),
    ],
    ids=["first page", "empty", "cut", "header"],
)
def test_a_damaged_database_is_set_aside_and_a_new_one_takes_over(tmp_path, damage, left, caplog):
    rig = filled(QueueRig(tmp_path))
    damage(rig.file)

    reopened(rig)
    rig.put(501)
    rig.advance(6)
    status = rig.queue.status()
    delivered = rig.drain()
    rig.stop()

    assert "set aside as" in str(status["reason"])
    assert (delivered, quarantined(rig)) == ([*range(1, left + 1), 501], ["queue-1"])
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_two_damaged_databases_are_kept_and_older_ones_are_not(tmp_path):
    rig = QueueRig(tmp_path)
    for _ in range(3):
        filled(rig, 10)
        os.truncate(rig.file, 100)
        rig.queue = rig.new_queue()
    reopened(rig)
    rig.stop()

    assert quarantined(rig) == ["queue-2", "queue-3"]


def test_damage_that_shows_only_while_running_is_counted_and_what_is_in_ram_is_saved(tmp_path):
    rig = filled(QueueRig(tmp_path), 2000)
    reopened(rig)
    pages = os.path.getsize(rig.file) // 4096
    overwrite(rig.file, 3 * 4096, os.urandom((pages - 3) * 4096))

    delivered = rig.drain()
    rig.put(2001)
    rig.advance(40)
    delivered += rig.drain()
    status = rig.queue.status()
    rig.stop()

    assert delivered[-1] == 2001
    assert delivered == sorted(set(delivered))
    assert status["dropped"] == {"corrupt": 2001 - len(delivered)}
    assert status["state"] == "ok"


def test_one_bad_row_costs_only_its_messages(tmp_path):
    rig = filled(QueueRig(tmp_path))
    with sqlite3.connect(rig.file) as db:
        row_id, n = db.execute("SELECT id, n FROM batch ORDER BY id LIMIT 1 OFFSET 1").fetchone()
        db.execute("UPDATE batch SET data = substr(data, 1, 100) || x'00' WHERE id = ?", (row_id,))
    db.close()

    reopened(rig)
    delivered = rig.drain()
    rig.advance(40)
    status = rig.queue.status()
    rig.stop()

    assert len(delivered) == 500 - n
    assert (status["dropped"], status["dead"], status["disk_messages"]) == ({"corrupt": n}, 1, 0)


@pytest.mark.parametrize(
    "statement",
    ["PRAGMA application_id = 7", "PRAGMA user_version = 2"],
)
def test_a_file_of_another_program_or_a_later_version_is_left_alone(tmp_path, statement):
    rig = filled(QueueRig(tmp_path), 10)
    db = sqlite3.connect(rig.file)
    db.execute(statement)
    db.close()
    with open(rig.file, "rb") as file:
        before = file.read()

    with pytest.raises(QueueDamaged, match="left untouched") as caught:
        rig.new_queue().open()

    assert caught.value.moved_to == ""
    with open(rig.file, "rb") as file:
        assert file.read() == before


def test_a_full_disk_degrades_and_settles_nothing_until_there_is_room_again(tmp_path):
    rig = QueueRig(tmp_path, page_limit=40).open()
    for sequence in range(1, 401):
        rig.queue.append(new_message(sequence, body=os.urandom(1000)), [(UPSTREAM, 9, -1)])
        rig.pump()
    full = rig.queue.status()
    settled = len(rig.settled)
    assert (full["state"], full["dropped"]) == ("degraded", {})
    assert "full" in str(full["reason"])
    assert 0 < settled < 400

    delivered = rig.drain()  # deleting makes room: what waits in RAM is committed by itself
    rig.advance(60)
    delivered += rig.drain()
    rig.advance(60)
    status = rig.queue.status()
    rig.stop()

    assert delivered == list(range(1, 401))
    assert (status["state"], status["messages"], len(rig.settled)) == ("ok", 0, 400)


def test_what_a_full_disk_had_settled_survives_a_crash(tmp_path):
    rig = QueueRig(tmp_path, page_limit=40).open()
    for sequence in range(1, 401):
        rig.queue.append(new_message(sequence, body=os.urandom(1000)), [(UPSTREAM, 9, -1)])
        rig.pump()
    settled = [message.sequence for message in rig.settled]
    rig.crash()
    delivered = rig.drain()
    rig.stop()

    assert delivered[: len(settled)] == settled


def test_the_ballast_is_given_back_and_made_again(tmp_path):
    ballast = disk.Ballast(str(tmp_path / "ballast"), 64 * 1024)
    ballast.make(0)
    assert os.stat(tmp_path / "ballast").st_blocks * 512 >= 64 * 1024

    assert ballast.release()
    assert not ballast.release()
    ballast.make(1 << 62)
    assert not os.path.exists(tmp_path / "ballast")


def test_a_later_version_is_named_and_left_alone(tmp_path):
    rig = filled(QueueRig(tmp_path), 10)
    db = sqlite3.connect(rig.file)
    db.execute("PRAGMA user_version = 9")
    db.close()

    with pytest.raises(QueueDamaged, match=r"a later version of microedge wrote it: format 9, expected \d+: left unt"):
        rig.new_queue().open()


def test_a_foreign_database_and_its_wal_are_not_touched(tmp_path):
    rig = QueueRig(tmp_path)
    db = sqlite3.connect(rig.file, isolation_level=None)
    db.execute("PRAGMA application_id = 7")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE notes (text)")
    files = {name: (tmp_path / "0" / name).read_bytes() for name in ("queue.db", "queue.db-wal")}

    with pytest.raises(QueueDamaged, match="application_id 0x7"):
        rig.queue.open()

    assert {name: (tmp_path / "0" / name).read_bytes() for name in files} == files
    db.close()


def test_a_directory_in_the_place_of_the_database_is_named(tmp_path):
    rig = QueueRig(tmp_path)
    os.mkdir(rig.file)

    with pytest.raises(QueueDamaged, match="found a directory: expected the queue's database, or nothing: left unt"):
        rig.queue.open()


@pytest.mark.skipif(not os.geteuid(), reason="root may write everything")
def test_a_database_that_may_not_be_written_is_named(tmp_path):
    rig = filled(QueueRig(tmp_path), 10)
    os.chmod(rig.file, 0o400)

    with pytest.raises(QueueDamaged, match="may not read and write it: expected its owner or the right mode"):
        rig.new_queue().open()


def test_a_text_in_the_place_of_the_database_is_kept(tmp_path):
    rig = QueueRig(tmp_path)
    with open(rig.file, "w", encoding="ascii") as file:
        file.write("buy milk\n" * 1000)

    rig.open()
    reason = rig.queue.status()["reason"]
    rig.put(1)
    delivered = rig.drain()
    rig.stop()

    assert delivered == [1]
    assert "0 messages recovered, nobody knows how many lost; set aside as" in str(reason)
    with open(os.path.join(rig.directory, "quarantine", "queue-1", "queue.db"), encoding="ascii") as file:
        assert file.read() == "buy milk\n" * 1000


def test_a_wal_without_its_database_is_salvaged(tmp_path):
    rig = QueueRig(tmp_path).open()
    for sequence in range(1, 101):
        rig.put(sequence)
    rig.advance(6)
    wal = (tmp_path / "0" / "queue.db-wal").read_bytes()
    rig.stop()
    os.unlink(rig.file)
    (tmp_path / "0" / "queue.db-wal").write_bytes(wal)

    reopened(rig)
    delivered = rig.drain()
    rig.stop()

    assert delivered == list(range(1, 101))


def test_a_database_of_more_than_half_the_cap_is_salvaged_whole_and_then_not_kept(tmp_path):
    rig = filled(QueueRig(tmp_path, max_bytes=1 << 20), 1050)
    size = os.path.getsize(rig.file)
    overwrite(rig.file, 0, os.urandom(4096))

    reopened(rig)
    delivered = rig.drain()
    rig.stop()

    assert size > 512 * 1024
    assert delivered == list(range(1, 1051))
    assert os.listdir(os.path.join(rig.directory, "quarantine", "queue-1")) == ["salvage.json"]
