"""What a connector says about itself: its state, why, since when, and what it counted."""

from __future__ import annotations

import logging
import time

CONNECTED, CONNECTING, WAITING, CLOSED = "connected", "connecting", "waiting", "closed"

_REPEAT_S = 30.0  # the same failure is logged at most this often: the SD card is no log sink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from microedge.upstream.settings import UpstreamSettings

log = logging.getLogger(__name__)


class ConnectorState:
    """State and counters of one connector; logs the transitions."""

    def __init__(self, settings: UpstreamSettings) -> None:
        self.type, self.url = settings.type, settings.url
        self.name = CONNECTING
        self.reason = ""
        self.reconnects = 0
        self.delivered = 0
        self.refused = 0
        self._connects = 0
        self._since = time.monotonic()
        self._next_try: float | None = None
        self._logged_reason, self._logged_at = "", 0.0

    @property
    def age_s(self) -> float:
        """Seconds in this state."""
        return time.monotonic() - self._since

    def connecting(self) -> None:
        self._enter(CONNECTING)

    def connected(self) -> None:
        self._enter(CONNECTED)
        self.reconnects = self._connects
        self._connects += 1
        self.reason = ""
        self._logged_reason = ""
        log.info("upstream connected: url=%s reconnects=%d", self.url, self.reconnects)

    def waiting(self, reason: str, delay_s: float) -> None:
        """Note a failure and that the next attempt comes in `delay_s`."""
        self._enter(WAITING)
        self.reason = reason
        self._next_try = time.monotonic() + delay_s
        now = time.monotonic()
        if reason != self._logged_reason or now - self._logged_at >= _REPEAT_S:
            self._logged_reason, self._logged_at = reason, now
            log.warning("upstream not connected: url=%s reason=%r next_try_in_s=%.1f", self.url, reason, delay_s)

    def closed(self) -> None:
        self._enter(CLOSED)

    def document(self, in_flight: int, *, reports_pending: int = 0, problems: Sequence[str] = ()) -> dict[str, object]:
        """Return what `microedge status` shows."""
        next_try_in_s = None if self._next_try is None else max(0.0, self._next_try - time.monotonic())
        return {
            "type": self.type,
            "url": self.url,
            "state": self.name,
            "reason": self.reason,
            "since_s": self.age_s,
            "reconnects": self.reconnects,
            "in_flight": in_flight,
            "delivered": self.delivered,
            "refused": self.refused,
            "next_try_in_s": next_try_in_s,
            "reports_pending": reports_pending,
            "problems": list(problems),
        }

    def _enter(self, name: str) -> None:
        if name != self.name:
            self._since = time.monotonic()
        self.name = name
        self._next_try = None
