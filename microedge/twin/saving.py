"""When a twin is written to the card. Pure: what was changed and `now` in, a time out.

What somebody asked for (desired properties, tags) is written at once. What a module reports is written at most every
30 s: a module that reports ten times a second costs two writes a minute instead of 600. What a power cut takes is at
most these 30 s of reports, which the module makes again when it starts.
"""

from __future__ import annotations

from enum import Enum

REPORTED_INTERVAL_MS = 30_000
GATHER_MS = 1_000  # a module that starts reports in several steps; they go into one write
RESERVE_INTERVAL_MS = 3_000  # a module that reports as fast as it can wears the card no faster than this
RETRY_MS = 30_000  # after a failed write; a full disk gets no better by hammering it


class Urgency(Enum):
    """What waits to be written."""

    NOTHING = "nothing"
    LATER = "later"  # reports and refusals
    SOON = "soon"  # what would let a version of reported properties go back after a crash
    NOW = "now"  # desired properties and tags


class SaveTimer:
    """Says when to save one twin. All times are milliseconds of a clock that never jumps."""

    def __init__(self, interval_ms: int = REPORTED_INTERVAL_MS, gather_ms: int = GATHER_MS) -> None:
        self._interval_ms, self._gather_ms = interval_ms, gather_ms
        self._waiting_since_ms: int | None = None
        self._earliest_ms = 0  # for reports: not sooner after the last write
        self._soonest_ms = 0  # for versions
        self._retry_ms = 0

    def due_ms(self, urgency: Urgency, now_ms: int) -> int | None:
        """Return when to save, `now_ms` or less for at once, None for not at all. Ask after every change.

        Remembers the first time at which it was asked about something unsaved.
        """
        if urgency is Urgency.NOTHING:
            self._waiting_since_ms = None
            return None
        if self._waiting_since_ms is None:
            self._waiting_since_ms = now_ms
        if urgency is Urgency.NOW:
            return max(self._retry_ms, self._waiting_since_ms)
        if urgency is Urgency.SOON:
            return max(self._retry_ms, self._soonest_ms, self._waiting_since_ms)
        return max(self._retry_ms, self._earliest_ms, self._waiting_since_ms + self._gather_ms)

    def started(self, now_ms: int) -> None:
        """A snapshot was taken at `now_ms` and is being written."""
        self._waiting_since_ms = None
        self._earliest_ms = now_ms + self._interval_ms
        self._soonest_ms = now_ms + RESERVE_INTERVAL_MS

    def failed(self, now_ms: int) -> None:
        """The write failed: the next one waits, however urgent it is."""
        self._retry_ms = now_ms + RETRY_MS
