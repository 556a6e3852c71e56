"""Find the one message on which the other side closes the connection again and again. Pure.

MQTT 3.1.1 has no way to refuse a message, and many brokers (IoT Hub among them) answer a bad one by closing the
connection. Everything behind it would then wait for ever. So: after a connection that was lost with messages under
way and none of them acknowledged, messages go one by one (`limit`); each delivery allows one more at a time, until
the whole window is open again. A message that was alone under way in `STRIKES` such losses in a row is the culprit.

Only losses that a message can have caused count. The caller leaves out failed connects, timeouts, dead networks
and a broker that said why it closed.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

STRIKES = 3


class PoisonWatch:
    """Counts losses by message id, because tickets do not survive a redelivery."""

    def __init__(self) -> None:
        self.suspect = ""  # message id, "" for none
        self._strikes = 0
        self._limit = 0  # 0: no limit

    @property
    def is_limited(self) -> bool:
        """True while messages go one by one, or nearly: whatever else is under way at the same time confuses."""
        return bool(self._limit)

    def limit(self, window: int) -> int:
        """Return how many messages may be under way at once when the connection allows `window`."""
        return min(self._limit, window) if self._limit else window

    def delivered(self, count: int, window: int) -> None:
        """Note that `count` messages were taken: the window opens step by step."""
        if self._limit:
            self._limit += count
            if self._limit >= window:
                self._limit = 0

    def cleared(self, message_id: str) -> None:
        """Note that this message was delivered or refused: it is no suspect any more."""
        if message_id == self.suspect:
            self.suspect, self._strikes = "", 0

    def lost(self, under_way: Sequence[str], delivered: int) -> str:
        """Note a loss that a message may have caused; return the id of the message that did, or "".

        `under_way` are the ids sent and not acknowledged on this connection, `delivered` counts its
        acknowledgements.
        """
        if not under_way:
            return ""
        if not delivered or self._limit:
            self._limit = 1
        if len(under_way) > 1:
            return ""
        self._strike(under_way[0])
        return self.suspect if self._strikes >= STRIKES else ""

    def _strike(self, message_id: str) -> None:
        self._strikes = self._strikes + 1 if message_id == self.suspect else 1
        self.suspect = message_id
