"""A disk that fails at the n-th operation and heals: no crash, no hang, no false receipt, and nothing is missing."""

from __future__ import annotations

import errno
import os
import sqlite3
from functools import partial

import pytest

from microedge.queue import schema
from powercut.disk import Op
from powercut.faults import ERRORS, LENGTHS, Fault, suffer
from powercut.lives import Trial
from powercut.recorder import Recorder
from powercut.vfs import observed

EVERY = 19  # the long form takes each operation


def test_without_a_fault_everything_arrives():
    outcome = suffer(Fault("EIO", 0, 0))

    assert outcome.text == ""
    assert outcome.operations > 100


@pytest.mark.timeout(60)
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("error", ERRORS)
def test_a_disk_that_fails_for_a_while_costs_nothing(error, length):
    failures = []
    for first in range(1, suffer(Fault("EIO", 0, 0)).operations, EVERY):
        outcome = suffer(Fault(error, first, length))
        failures += [f"{outcome.life.name}: {outcome.text}"] if outcome.text else []
        failures += map(str, Trial(outcome.life).run({"drop": 0.03, "torn": 0.03}).failures)

    assert failures == []


@pytest.mark.parametrize("first", range(1, 12))
def test_a_database_that_could_not_be_brought_into_wal_mode_is_not_used(tmp_path, first):
    recorder = Recorder()
    recorder.begin(str(tmp_path), {})
    recorder.fault = lambda op: errno.EIO if recorder.count == first else 0

    with observed(recorder), pytest.raises(sqlite3.Error):
        schema.connect(str(tmp_path / "queue.db"), 0)


def test_a_start_that_fails_for_want_of_room_leaves_no_empty_file_that_would_pass_for_damage(tmp_path):
    """Two of those would push the database that was really damaged out of quarantine."""
    file = str(tmp_path / "queue.db")
    for first in range(2, 12):
        recorder = Recorder()
        recorder.begin(str(tmp_path), {})
        recorder.fault = partial(no_room, recorder, first)
        with observed(recorder), pytest.raises(sqlite3.Error):
            schema.connect(file, 0)

        assert not os.path.exists(file) or os.path.getsize(file)  # with its journal, it is made anew
        for name in os.listdir(tmp_path):
            os.unlink(tmp_path / name)


def no_room(recorder: Recorder, first: int, _: Op) -> int:
    return errno.ENOSPC if recorder.count >= first else 0
