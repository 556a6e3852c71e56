"""Is there room for what the queue may take?"""

from __future__ import annotations

import os

from microedge.cli.checks.outcome import FAILED, OK, WARNING, Outcome, Surroundings, skipped_without_config
from microedge.cli.units import size

NAME = "disk space"

_MIB = 1 << 20
_QUEUE_FILES = ("queue.db", "queue.db-wal", "queue.db-shm")


def find(around: Surroundings) -> list[Outcome]:
    """One outcome for the disk that holds the state directory."""
    if around.config is None:
        return skipped_without_config(NAME)
    state, store = around.config.paths.state, around.config.store
    place = state
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    disk = os.statvfs(place)
    taken = sum(_size_of(os.path.join(state, name)) for name in _QUEUE_FILES)
    return [judge(disk.f_bavail * disk.f_frsize, taken, store.max_mib * _MIB, store.keep_free_mib * _MIB)]


def judge(free_bytes: int, taken_bytes: int, max_bytes: int, keep_free_bytes: int) -> Outcome:
    """Return the outcome for a disk: the queue may grow by what is left of its cap, and leaves `keep_free_bytes`."""
    found = f"{size(free_bytes)} free; the queue may take {size(max_bytes)} and leaves {size(keep_free_bytes)} free"
    room = free_bytes - keep_free_bytes
    if room <= 0:
        return Outcome(
            NAME, FAILED, found + ": nothing can wait on disk", "free some space, or lower [store] keep_free_mib"
        )
    wanted = max_bytes - taken_bytes
    if room < wanted:
        fits = max(1, (room + taken_bytes) // _MIB)
        return Outcome(NAME, WARNING, found + f": only {size(room)} of that is there", f"[store] max_mib = {fits}")
    return Outcome(NAME, OK, found)


def _size_of(file: str) -> int:
    try:
        return os.stat(file).st_size
    except OSError:
        return 0
