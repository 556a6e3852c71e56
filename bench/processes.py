"""What a contestant costs, read from /proc: CPU, memory and wake-ups of a process and everything below it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass

_CLOCK_KIND = 2  # CPUCLOCK_SCHED of the kernel: nanoseconds, all threads, also those that have ended


@dataclass(frozen=True)
class Memory:
    """Bytes over all processes of a tree; `root_rss` is the resident set of its first process alone."""

    pss: int
    anonymous: int
    root_rss: int
    processes: int


def tree(pid: int) -> list[int]:
    """Return `pid` and its descendants, itself first."""
    parent_of = _parents()
    found, layer = [pid], {pid}
    while layer:
        layer = {child for child, parent in parent_of.items() if parent in layer}
        found += sorted(layer)
    return found


def cpu_s(pids: list[int]) -> float:
    """Return the CPU seconds, user and system, that these processes have used since they began."""
    return sum(_cpu_s(pid) for pid in pids)


def switches(pids: list[int]) -> int:
    """Return the voluntary context switches of these processes: how often they went to sleep, and so were woken."""
    return sum(_switches(pid) for pid in pids)


def memory(pids: list[int]) -> Memory:
    """Return what these processes hold now; the first of them is the root."""
    rollups = [_rollup(pid) for pid in pids]
    pss = sum(rollup.get("Pss", 0) for rollup in rollups)
    anonymous = sum(rollup.get("Pss_Anon", 0) for rollup in rollups)
    return Memory(pss, anonymous, rollups[0].get("Rss", 0), sum(1 for rollup in rollups if rollup))


def write_bytes(pids: list[int]) -> int:
    """Return what these processes caused to be sent to block devices; a file system's journal is not in it."""
    return sum(_fields(f"/proc/{pid}/io").get("write_bytes", 0) for pid in pids)


def name_of(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm") as stream:
            return stream.read().strip()
    except OSError:
        return ""


def end(process: subprocess.Popen[bytes], timeout_s: float = 15.0) -> None:
    """Stop a contestant as its user would; what is left of its tree afterwards is killed."""
    pids = tree(process.pid)
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in pids[1:]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def wait_for(condition: object, timeout_s: float, what: str) -> None:
    """Look at `condition()` until it is true.

    Raises:
        TimeoutError: it was not, for `timeout_s`; `what` says what was waited for.
    """
    assert callable(condition)
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.005)


def _parents() -> dict[int, int]:
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as stream:
                    found[int(name)] = int(stream.read().rpartition(")")[2].split()[1])
            except OSError:
                continue
    return found


def _cpu_s(pid: int) -> float:
    try:
        return time.clock_gettime((~pid << 3) | _CLOCK_KIND)  # clock_getcpuclockid(3)
    except OSError:
        return 0.0


def _switches(pid: int) -> int:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return 0
    return sum(_fields(f"/proc/{pid}/task/{tid}/status").get("voluntary_ctxt_switches", 0) for tid in threads)


def _rollup(pid: int) -> dict[str, int]:
    return {key: value * 1024 for key, value in _fields(f"/proc/{pid}/smaps_rollup").items()}


def _fields(path: str) -> dict[str, int]:
    """Return the `key: number` lines of a file of /proc; {} when the process is gone."""
    found = {}
    try:
        with open(path) as stream:
            for line in stream:
                key, _, rest = line.partition(":")
                words = rest.split()
                if words and words[0].isdigit():
                    found[key] = int(words[0])
    except OSError:
        return {}
    return found
