"""The leak check is a tool that other tests lean on, so it is tested itself."""

from __future__ import annotations

import os
import subprocess
import threading

import pytest
from support.leaks import Snapshot, leaks_since


def test_nothing_new_is_no_leak():
    assert leaks_since(Snapshot(), settle_s=0) == []


def test_an_open_descriptor_is_named():
    before = Snapshot()
    read_end, write_end = os.pipe()

    try:
        leaks = leaks_since(before, settle_s=0)
    finally:
        os.close(read_end)
        os.close(write_end)

    assert len(leaks) == 2
    assert all(leak.startswith("descriptor") and "pipe:" in leak for leak in leaks)


def test_a_running_thread_is_named():
    before, release = Snapshot(), threading.Event()
    thread = threading.Thread(target=release.wait, name="forgotten")
    thread.start()

    try:
        leaks = leaks_since(before, settle_s=0)
    finally:
        release.set()
        thread.join()

    assert leaks == ["thread 'forgotten'"]


@pytest.mark.parametrize("command", [["sleep", "30"], ["sh", "-c", "setsid sleep 30 & exit"]])
def test_a_process_is_named_and_killed_even_when_it_is_no_child_of_ours_any_more(command):
    before = Snapshot()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as started:
        if command[0] == "sh":
            started.wait()
        leaks = leaks_since(before, settle_s=0)

    assert len(leaks) == 1
    assert "sleep 30" in leaks[0]
    assert leaks_since(before) == []


def test_a_process_that_calls_exec_all_the_time_is_found_and_named_at_every_look():
    before = Snapshot()
    again = 'exec sh -c "$0" "$0"'
    with subprocess.Popen(["sh", "-c", f"setsid sh -c '{again}' '{again}' & exit"]) as started:
        started.wait()
    looks = [Snapshot().news(before) for _ in range(50)]
    leaks_since(before, settle_s=0)

    assert [len(news) for news in looks] == [1] * 50
    assert all("exec sh" in news[0] for news in looks)


def test_a_thread_that_ends_soon_is_waited_for():
    before = Snapshot()
    thread = threading.Timer(0.05, lambda: None)
    thread.start()

    assert leaks_since(before) == []
