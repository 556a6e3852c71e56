"""Processes as the kernel shows them: descendants, orphans, memory and CPU; and the end of all children."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterable

from microedge.reactor import Reactor

log = logging.getLogger(__name__)

_SWEEP_INTERVAL_S = 0.05
_SWEEPS = 40  # two seconds; what is left then cannot be killed (state D), and is reported
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def parents() -> dict[int, int]:
    """Return {pid: parent's pid} of everything that runs. Takes some 20 us per process."""
    found: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = _stat(int(name))
            if fields:
                found[int(name)] = int(fields[1])
    return found


def descendants(pid: int) -> list[int]:
    """Return the pids below `pid`, itself not included."""
    parent_of = parents()
    found: list[int] = []
    layer = {pid}
    while layer:
        layer = {child for child, parent in parent_of.items() if parent in layer}
        found += layer
    return found


def kill_tree(pid: int) -> None:
    """Kill `pid` and everything below it. What escapes to the supervisor is swept when `pid` is gone."""
    for victim in (pid, *descendants(pid)):
        kill(victim, signal.SIGKILL)


def kill(pid: int, signum: int) -> None:
    """Send a signal to a process that may be gone. Only for children that have not been reaped, or below those."""
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        pass
    except PermissionError:
        log.error("signal %d to pid %d refused: it changed its user; stop it by hand", signum, pid)


def memory_bytes(pid: int) -> int:
    """Return the proportional set size, or the resident set size where the kernel hides the former; 0 if gone."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as stream:
            for line in stream:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
        with open(f"/proc/{pid}/statm", "rb") as stream:
            return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that the process has used, its reaped children not included; 0 if gone."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS if fields else 0.0


class Reaper:
    """Collects every child that ends, and kills what modules left behind.

    Each module is the subreaper of what it starts, so an orphan reaches the supervisor only after its module is gone:
    an unknown child is what a dead module left behind, whatever session or group it moved to.
    """

    def __init__(self, reactor: Reactor, is_spawning: Callable[[], bool]) -> None:
        """`is_spawning` says that a child may appear that nobody has announced yet."""
        self._reactor = reactor
        self._is_spawning = is_spawning
        self._known: dict[int, Callable[[int], None]] = {}
        self._early: dict[int, int] = {}  # ended before they were announced
        self._sweeps_left = 0

    def expect(self, pid: int, ended: Callable[[int], None]) -> None:
        """Call `ended(wait status)` when `pid` ends; soon, if it already has."""
        self._known[pid] = ended
        if pid in self._early:
            status = self._early.pop(pid)
            self._reactor.call_soon(lambda: self._known.pop(pid)(status))

    def reap(self) -> None:
        """Collect everything that has ended: the answer to SIGCHLD."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            ended = self._known.pop(pid, None)
            if ended is not None:
                ended(status)
            elif self._is_spawning():
                self._early[pid] = status

    def sweep(self) -> None:
        """Kill unknown children, again and again until there are none or two seconds are over."""
        if not self._sweeps_left:
            self._reactor.call_soon(self._sweep_once)
        self._sweeps_left = _SWEEPS

    def _sweep_once(self) -> None:
        if self._is_spawning():
            self._reactor.call_later(_SWEEP_INTERVAL_S, self._sweep_once)
            return
        self._early.clear()
        self.reap()
        orphans = self.orphans()
        self._sweeps_left = max(0, self._sweeps_left - 1)
        for pid in orphans:
            kill_tree(pid)
        if orphans and self._sweeps_left:
            self._reactor.call_later(_SWEEP_INTERVAL_S, self._sweep_once)
        elif orphans:
            log.error(
                "processes left behind cannot be killed: pids=%s; they wait in the kernel, check the disk", orphans
            )
        self._sweeps_left = self._sweeps_left if orphans else 0

    def orphans(self) -> list[int]:
        """Return children that nobody announced."""
        me = os.getpid()
        return [pid for pid in _children(me) if pid not in self._known]


def _children(pid: int) -> Iterable[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as stream:
            return [int(word) for word in stream.read().split()]
    except OSError:  # a kernel without CONFIG_PROC_CHILDREN
        return [child for child, parent in parents().items() if parent == pid]


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/<pid>/stat behind the command name: state, ppid, ...; [] if it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as stream:
            return stream.read().rpartition(")")[2].split()
    except OSError:
        return []
