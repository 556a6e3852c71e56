"""The wall clock, and how far it can be trusted: a board without a clock chip starts in 1970, or when it stopped.

A clock is trusted once the kernel says that something disciplines it (adjtimex(2), which NTP daemons, chrony and gpsd
keep) or systemd-timesyncd has left its mark, and never before 2020. It stays trusted for as long as it does not jump:
the kernel takes its word back after some hours without a network, when the clock is still right within seconds.

    taken while it was trusted                     synced      the wall clock said so
    taken before, sent or loaded afterwards        corrected   CLOCK_BOOTTIME of then + the offset of now
    taken before, and it never was in that boot    unsynced    whatever the wall clock said
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Iterable

from microedge.message import CORRECTED, SYNCED, UNSYNCED, Message, Ticket

EARLIEST_MS = 1_577_836_800_000  # 2020-01-01: microedge is younger than that, so a clock before it is not set
SYNCHRONIZED_FILE = "/run/systemd/timesync/synchronized"

_LOOK_MS = 1_000  # how often the kernel is asked, while messages come: its answer costs more than a message
_STEP_MS = 1_000  # what no clock differs by from one look to the next unless it is set ...
_SLEWED_SHARE = 1_000  # ... or slewed: by 500 ppm at most, and twice that is allowed
_TIME_ERROR = 5  # adjtimex: the kernel's clock is not disciplined by anything
_TIMEX_BYTES = 512  # more than struct timex takes on any architecture; all zero asks and sets nothing
_libc = ctypes.CDLL(None)


def is_synchronized() -> bool | None:
    """Return what systemd-timesyncd or the kernel says; None when neither says anything."""
    if os.path.exists(SYNCHRONIZED_FILE):
        return True
    try:
        state: int = _libc.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except AttributeError:
        return None
    return None if state < 0 else state != _TIME_ERROR


def is_trusted(is_synced: bool | None, wall_ms: int, *, was_trusted: bool, jumped_ms: int) -> bool:
    """Judge a clock: `jumped_ms` is by how much more it moved than time has passed since it was last looked at."""
    if wall_ms < EARLIEST_MS:
        return False
    return bool(is_synced) or (was_trusted and jumped_ms < _STEP_MS)


def boot_ms() -> int:
    """Return milliseconds of CLOCK_BOOTTIME, which runs on while the device sleeps and never jumps."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def wall_ms() -> int:
    """Return milliseconds since the epoch, as the device believes."""
    return time.time_ns() // 1_000_000


class WallClock:
    """One for the supervisor. `learnt` is called with the offset whenever the clock has come to be trusted, or was set
    while it was: what to add to CLOCK_BOOTTIME milliseconds for milliseconds since the epoch.
    """

    def __init__(
        self,
        *,
        wall: Callable[[], int] = wall_ms,
        boot: Callable[[], int] = boot_ms,
        synchronized: Callable[[], bool | None] = is_synchronized,
    ) -> None:
        self.learnt: Callable[[int], None] = lambda offset_ms: None
        self.quality = UNSYNCED
        self._wall, self._boot, self._synchronized = wall, boot, synchronized
        self._looked_ms = -_LOOK_MS
        self._offset_ms = 0

    def look(self) -> tuple[int, str]:
        """Return the offset now, and how good it is."""
        now_ms = self._boot()
        offset_ms = self._wall() - now_ms
        if now_ms - self._looked_ms >= _LOOK_MS or abs(offset_ms - self._offset_ms) >= _STEP_MS:
            self._judge(now_ms, offset_ms)
        return offset_ms, self.quality

    def offset_ms(self) -> int:
        """Return what to add to CLOCK_BOOTTIME milliseconds for milliseconds since the epoch."""
        return self.look()[0]

    def stamp(self, batch: Iterable[tuple[Ticket, Message]]) -> None:
        """Put right when messages of this boot were made, where that was not known and is now."""
        for _, message in batch:
            if message.time_quality == UNSYNCED and message.taken_ms >= 0:
                offset_ms, quality = self.look()
                if quality != UNSYNCED:
                    message.created_ms = max(0, message.taken_ms + offset_ms)
                    message.time_quality = CORRECTED

    def _judge(self, now_ms: int, offset_ms: int) -> None:
        jumped_ms = abs(offset_ms - self._offset_ms) - (now_ms - self._looked_ms) // _SLEWED_SHARE
        was_trusted = self.quality == SYNCED
        is_good = is_trusted(self._synchronized(), now_ms + offset_ms, was_trusted=was_trusted, jumped_ms=jumped_ms)
        self._looked_ms, self._offset_ms = now_ms, offset_ms
        self.quality = SYNCED if is_good else UNSYNCED
        if is_good and (not was_trusted or jumped_ms >= _STEP_MS):
            self.learnt(offset_ms)
