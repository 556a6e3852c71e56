"""The state directory: laid out, locked, and given back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from microedge.supervisor.state import StateDirectory, StateDirectoryError


def test_opening_creates_the_directory_for_its_owner_only(tmp_path: Path):
    state = StateDirectory(str(tmp_path / "a" / "state"))
    state.open()
    state.close()

    assert os.stat(state.data).st_mode & 0o777 == 0o700
    assert state.queue == str(tmp_path / "a" / "state" / "queue.db")


def test_a_second_owner_is_refused_and_told_who_the_first_one_is(tmp_path: Path):
    first = StateDirectory(str(tmp_path))
    first.open()
    try:
        with pytest.raises(StateDirectoryError, match=rf"in use by another microedge \(pid {os.getpid()}\)"):
            StateDirectory(str(tmp_path)).open()
    finally:
        first.close()


def test_a_directory_that_was_given_back_can_be_taken_again(tmp_path: Path):
    for _ in range(3):
        state = StateDirectory(str(tmp_path))
        state.open()
        state.close()
        state.close()


def test_a_directory_that_cannot_be_made_says_why_and_what_to_do(tmp_path: Path):
    (tmp_path / "file").write_text("")

    with pytest.raises(StateDirectoryError, match=r"file/state: Not a directory; .* set \[paths\] state"):
        StateDirectory(str(tmp_path / "file" / "state")).open()


def test_a_refused_owner_keeps_no_descriptor(tmp_path: Path):
    first = StateDirectory(str(tmp_path))
    first.open()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        second = StateDirectory(str(tmp_path))
        with pytest.raises(StateDirectoryError):
            second.open()
        second.close()
    after = len(os.listdir("/proc/self/fd"))
    first.close()

    assert after == before
