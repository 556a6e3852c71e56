"""What processes hold and how often they wake, from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable

MB = 1_000_000


def field(path: str, key: str) -> int:
    """Return the number behind `key:` in a file of /proc, 0 when it is not there."""
    with open(path) as stream:
        for line in stream:
            name, _, rest = line.partition(":")
            if name == key:
                return int(rest.split()[0])
    return 0


def rss_mb(pid: int) -> float:
    return field(f"/proc/{pid}/smaps_rollup", "Rss") * 1024 / MB


def anonymous_mb(pids: Iterable[int]) -> float:
    """Return what these processes have that no file backs, shared pages in proportion.

    Unlike PSS it does not fall when a neighbour runs from the same interpreter.
    """
    return sum(field(f"/proc/{pid}/smaps_rollup", "Pss_Anon") for pid in pids) * 1024 / MB


def wake_ups(pids: Iterable[int]) -> int:
    """Return how often the threads of these processes have gone to sleep of their own will."""
    return sum(
        field(f"/proc/{pid}/task/{tid}/status", "voluntary_ctxt_switches")
        for pid in pids
        for tid in os.listdir(f"/proc/{pid}/task")
    )
