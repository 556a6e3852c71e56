"""What a test may leave behind: nothing. Compares processes, threads and descriptors before and after.

A process that double-forks away from us is no child of ours any more, so processes are also found by an environment
variable that this test run alone has, and that every descendant inherits.
"""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import time

import psutil

MARK = "MICROEDGE_TEST_RUN"
_LOOKS = 50  # at a process that has just called exec, a millisecond apart
SETTLE_S = 2.0  # a killed process tree or a closing connection needs moments, not seconds, even on two busy cores


class Snapshot:
    """What exists now that belongs to this test run: processes, threads and open descriptors."""

    def __init__(self) -> None:
        self.processes = {(process.pid, process.create_time()): process for process in _processes()}
        self.threads = {thread.ident: thread.name for thread in threading.enumerate()}
        self.descriptors = _descriptors()

    def news(self, before: Snapshot) -> list[str]:
        """Return one line for everything that is here now and was not before."""
        processes = [_describe(self.processes[key]) for key in self.processes.keys() - before.processes.keys()]
        threads = [f"thread {self.threads[ident]!r}" for ident in self.threads.keys() - before.threads.keys()]
        descriptors = [f"descriptor {fd} ({target})" for fd, target in self.descriptors - before.descriptors]
        return sorted(processes + threads + descriptors)

    def kill_new_processes(self, before: Snapshot) -> None:
        """End what leaked, so that one failing test does not make all later ones fail."""
        for key in self.processes.keys() - before.processes.keys():
            with contextlib.suppress(psutil.NoSuchProcess):
                self.processes[key].kill()


def leaks_since(before: Snapshot, settle_s: float = SETTLE_S) -> list[str]:
    """Return what is left over after at most `settle_s` seconds of patience; leaked processes are killed."""
    deadline = time.monotonic() + settle_s
    while True:
        now = Snapshot()
        news = now.news(before)
        if not news:
            return []
        if time.monotonic() > deadline:
            now.kill_new_processes(before)
            return news
        gc.collect()  # what only a reference cycle holds is not a leak
        time.sleep(0.02)


def _processes() -> list[psutil.Process]:
    me = psutil.Process()
    found = {process.pid: process for process in me.children(recursive=True)}
    mark = f"{MARK}={os.environ.get(MARK, '')}".encode()
    for pid in psutil.pids():
        if pid != me.pid and pid not in found and mark in _words(pid, "environ"):
            with contextlib.suppress(psutil.NoSuchProcess):
                found[pid] = psutil.Process(pid)
    return list(found.values())


def _words(pid: int, name: str) -> list[bytes]:
    """Return what /proc holds of a process under "environ" or "cmdline"; [] when it is another user's, or gone.

    In the middle of an exec both are empty for a moment. A program that is running tells it from a zombie.
    """
    try:
        for _ in range(_LOOKS):
            with open(f"/proc/{pid}/{name}", "rb") as file:
                data = file.read()
            if data:
                return data.split(b"\0")
            os.readlink(f"/proc/{pid}/exe")
            time.sleep(0.001)
    except OSError:
        pass
    return []


def _descriptors() -> set[tuple[int, str]]:
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the descriptor of this very listing is gone by now
            found.add((int(fd), os.readlink(f"/proc/self/fd/{fd}")))
    return found


def _describe(process: psutil.Process) -> str:
    try:
        command = b" ".join(_words(process.pid, "cmdline")).decode(errors="replace")
        return f"process {process.pid} ({process.status()}): {command[:200]}"
    except psutil.Error:
        return f"process {process.pid}"
