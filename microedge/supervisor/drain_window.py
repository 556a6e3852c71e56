"""How much of a backlog may be under way at a time, so that a fresh reading does not stand behind it on a slow link.

A window of 256 messages takes many seconds through a link that carries 20 a second, and what was sent cannot be
overtaken any more. So the window opens while acknowledgements come quickly and closes when they come late: later than
the quickest one by more than TARGET_S, which is then about what a fresh reading waits. Pure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from microedge.message import Ticket

TARGET_S = 0.4
MIN_MESSAGES, MAX_MESSAGES = 4, 256
_CLOSING = 0.7  # at once and by much, because what is under way stays there


class DrainWindow:
    """Told of each lease and each delivery. Times in seconds of one clock that does not jump."""

    def __init__(self) -> None:
        self.messages = 16.0  # a second of the slowest link that is worth a live lane
        self._quickest_s = float("inf")
        self._leases: deque[tuple[Ticket, float]] = deque()  # (the last ticket, when)
        self._adjusted_s = 0.0

    def leased(self, last: Ticket, now_s: float) -> None:
        """Take note of messages that are sent now."""
        self._leases.append((last, now_s))

    def delivered(self, tickets: Sequence[Ticket], now_s: float) -> None:
        """Open or close the window by how long these were under way."""
        leases, newest, sent_s = self._leases, max(tickets), now_s
        while leases and leases[0][0] < newest:
            leases.popleft()
        if leases:
            sent_s = leases[0][1]
        took_s = now_s - sent_s
        self._quickest_s = min(self._quickest_s, took_s)
        if took_s <= self._quickest_s + TARGET_S:
            self.messages = min(MAX_MESSAGES, self.messages + len(tickets) / 2)
        elif now_s - self._adjusted_s > took_s:  # once per round trip: what is under way was sent before
            self.messages = max(MIN_MESSAGES, self.messages * _CLOSING)
            self._adjusted_s = now_s

    def lost(self) -> None:
        """The connection is gone, and what was under way with it; the next one may go another way."""
        self._leases.clear()
        self._quickest_s = float("inf")
