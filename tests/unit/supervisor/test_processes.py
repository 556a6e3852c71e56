"""Children: each is collected once, and what nobody announced is swept away."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator

import pytest
from support.reactor import TestReactor

from microedge.supervisor import processes
from microedge.supervisor.processes import Reaper, cpu_s, descendants, kill, memory_bytes

SLEEP = "import time; time.sleep(60)"


class Nursery:
    """A Reaper over the test's own children; whatever is left is killed."""

    def __init__(self) -> None:
        self.reactor = TestReactor()
        self.is_spawning = False
        self.reaper = Reaper(self.reactor, lambda: self.is_spawning)
        self.pids: list[int] = []

    def spawn(self, code: str) -> int:
        pid = os.posix_spawn(sys.executable, [sys.executable, "-I", "-S", "-c", code], os.environ)
        self.pids.append(pid)
        return pid

    def close(self) -> None:
        for pid in self.pids:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                continue
        self.reactor.close()


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    one = Nursery()
    yield one
    one.close()


def wait_until_ended(pid: int) -> None:
    """Wait until `pid` is a zombie: it has ended and nobody has collected it."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def test_an_announced_child_is_collected_with_its_status_once(nursery: Nursery):
    ended: list[int] = []
    pid = nursery.spawn("raise SystemExit(7)")
    nursery.reaper.expect(pid, ended.append)
    wait_until_ended(pid)
    nursery.reaper.reap()
    nursery.reaper.reap()

    assert [os.WEXITSTATUS(status) for status in ended] == [7]


def test_a_child_that_ends_before_it_is_announced_is_reported_then(nursery: Nursery):
    ended: list[int] = []
    nursery.is_spawning = True
    pid = nursery.spawn("raise SystemExit(3)")
    wait_until_ended(pid)
    nursery.reaper.reap()
    nursery.reaper.expect(pid, ended.append)
    assert ended == []  # soon, not from within

    nursery.reactor.run_until(lambda: ended)
    assert os.WEXITSTATUS(ended[0]) == 3


def test_a_sweep_kills_and_collects_what_nobody_announced_and_spares_the_rest(nursery: Nursery):
    ours, stray = nursery.spawn(SLEEP), nursery.spawn(SLEEP)
    nursery.reaper.expect(ours, lambda status: None)
    nursery.reaper.sweep()
    nursery.reactor.run_until(lambda: stray not in processes.parents())

    assert ours in processes.parents()
    assert nursery.reaper.orphans() == []


def test_a_sweep_waits_while_a_child_may_appear_that_is_not_announced_yet(nursery: Nursery):
    nursery.is_spawning = True
    pid = nursery.spawn(SLEEP)
    nursery.reaper.sweep()
    nursery.reactor.run_for(0.12)
    assert pid in processes.parents()

    nursery.reaper.expect(pid, lambda status: None)
    nursery.is_spawning = False
    nursery.reactor.run_for(0.12)
    assert pid in processes.parents()


def test_descendants_are_found_in_every_generation(nursery: Nursery):
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-I', '-S', '-c', {SLEEP!r}])"
    pid = nursery.spawn(code)
    deadline_s = time.monotonic() + 10
    while not descendants(pid) and time.monotonic() < deadline_s:
        pass
    (grandchild,) = descendants(pid)

    assert processes.parents()[grandchild] == pid
    processes.kill_tree(pid)
    os.waitpid(pid, 0)


def test_signals_to_a_process_that_is_gone_are_no_error(nursery: Nursery):
    pid = nursery.spawn("")
    os.waitpid(pid, 0)

    kill(pid, signal.SIGTERM)


def test_memory_and_cpu_of_a_live_process_are_positive_and_of_a_dead_one_zero(nursery: Nursery):
    pid = nursery.spawn("")
    os.waitpid(pid, 0)

    assert memory_bytes(os.getpid()) > 1_000_000
    assert cpu_s(os.getpid()) > 0
    assert (memory_bytes(pid), cpu_s(pid)) == (0, 0.0)
