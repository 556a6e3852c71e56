"""A disk that fails at the n-th operation and heals: no crash, no hang, no false receipt, and nothing is missing."""

from __future__ import annotations

import errno
import sqlite3

import pytest

from microedge.queue import schema
from powercut.faults import ERRORS, LENGTHS, Fault, suffer
from powercut.lives import Trial
from powercut.recorder import Recorder
from powercut.vfs import observed

EVERY = 11  # the long form takes each operation


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
