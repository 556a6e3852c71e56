"""Nothing that SQLite or Python changes passes unseen, and a seed gives the same trace every time."""

from __future__ import annotations

import os
import sqlite3

import pytest

from microedge.atomic import replace_file, sync_directory
from powercut.device import WORKLOADS, live
from powercut.disk import Op, read_image
from powercut.recorder import Recorder
from powercut.vfs import observed


def kinds(recorder: Recorder) -> list[str]:
    return [event.kind for event in recorder.events if isinstance(event, Op)]


def test_a_commit_with_a_rollback_journal_is_seen_step_by_step(tmp_path):
    recorder = Recorder()
    recorder.begin(str(tmp_path), {})
    with observed(recorder):
        db = sqlite3.connect(tmp_path / "file.db")
        db.execute("CREATE TABLE t (x)")
        db.close()

    journal = ["create", "write", "sync", "sync_names", "write", "sync"]
    assert kinds(recorder) == ["create", *journal, "write", "write", "sync", "unlink"]
    assert recorder.disk.seen() == read_image(str(tmp_path))


def test_the_settings_of_a_uri_still_arrive(tmp_path):
    """psow hides behind the file's name: a VFS that copies the name would lose it, and the padding with it."""
    ends = []
    for psow in (0, 1):
        recorder = Recorder()
        recorder.begin(str(tmp_path), {})
        with observed(recorder):
            db = sqlite3.connect(f"file:{tmp_path}/{psow}.db?psow={psow}", uri=True, isolation_level=None)
            db.execute("PRAGMA journal_mode=WAL").fetchall()
            db.execute("PRAGMA synchronous=FULL")
            db.execute("CREATE TABLE t (x)")
            frames = [event for event in recorder.events if isinstance(event, Op) and event.name == f"{psow}.db-wal"]
            ends.append(frames[-2 if psow == 0 else -1].kind)
            db.close()

    assert ends == ["sync", "sync"]  # with psow=0 the padding goes on behind the sync


def test_a_database_outside_the_directory_is_left_alone(tmp_path):
    recorder = Recorder()
    recorder.begin(str(tmp_path / "other"), {})
    with observed(recorder):
        db = sqlite3.connect(tmp_path / "file.db")
        db.execute("CREATE TABLE t (x)")
        db.close()

    assert recorder.events == []


def test_a_file_that_python_replaces_is_seen_step_by_step(tmp_path):
    recorder = Recorder()
    recorder.begin(str(tmp_path), {})
    with recorder.watching_python():
        replace_file(str(tmp_path / "file"), b"content", str(tmp_path / ".file.tmp"))
        sync_directory(str(tmp_path))

    assert kinds(recorder) == ["create", "write", "sync", "rename", "sync_names"]
    assert recorder.disk.seen() == read_image(str(tmp_path)) == {"file": b"content"}


def test_a_call_that_is_told_to_fail_fails_and_does_nothing(tmp_path):
    recorder = Recorder()
    recorder.begin(str(tmp_path), {})
    recorder.fault = lambda op: 28 if op.kind == "rename" else 0
    with recorder.watching_python(), pytest.raises(OSError, match="No space left"):
        replace_file(str(tmp_path / "file"), b"content", str(tmp_path / ".file.tmp"))

    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_seed_gives_the_same_trace_again(workload):
    first, second = (next(live(workload, 1)) for _ in range(2))

    assert first.events == second.events
