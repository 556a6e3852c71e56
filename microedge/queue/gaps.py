"""Gap records: small messages that tell the upstream what it will not get; pure.

They are no messages of the queue: none can be evicted or grow too old. What they say is kept beside the counters, so
they come again after a crash, until the upstream has them. One that was sent stays as it is, with its message id,
until then; what is lost meanwhile goes into the next one.
"""

from __future__ import annotations

from collections.abc import Iterable

from microedge.message import GAP_OUTPUT, JSON_ENCODING, JSON_TYPE, UNSYNCED, Envelope, Message, Ticket, encode_body
from microedge.queue.losses import Gap, Key, Losses

FIRST_S, NEXT_S = 5.0, 60.0  # what is lost together is told together, and no more often than once a minute


class GapRecords:
    """The records on their way. `run` names this run of the device; tickets are below 0, the queue's own above."""

    def __init__(self, losses: Losses, run: str) -> None:
        self.is_due = False  # the next lease takes new records too
        self._losses = losses
        self._run = run
        self._messages: dict[Key, Message] = {}
        self._tickets: dict[Ticket, Key] = {}
        self._last_ticket: Ticket = 0
        self._sequences: dict[str, int] = {}

    @property
    def is_any_waiting(self) -> bool:
        """True when there is a gap that no record on its way tells of."""
        return bool(self._losses.due)

    def lease(self, max_messages: int, taken_ms: int, created_ms: int) -> list[tuple[Ticket, Message]]:
        """Return the records that are to be sent now: given back ones, and new ones when they are due."""
        losses = self._losses
        if self.is_due:
            self.is_due = False
            for key in [key for key in losses.due if key not in losses.told]:
                gap = losses.told[key] = losses.due.pop(key)
                self._messages[key] = self._record(key, gap, taken_ms, created_ms)
        under_way = set(self._tickets.values())
        leased = []
        for key in [key for key in self._messages if key not in under_way][:max_messages]:
            self._last_ticket -= 1
            self._tickets[self._last_ticket] = key
            leased.append((self._last_ticket, self._messages[key]))
        return leased

    def ack(self, tickets: Iterable[Ticket]) -> bool:
        """Finish records; True when there was any among the tickets."""
        keys = [self._tickets.pop(ticket) for ticket in tickets if ticket in self._tickets]
        for key in keys:
            del self._messages[key]
            self._losses.close_gap(key)
        return bool(keys)

    def release(self) -> None:
        """Give back every record: each is sent again as it was."""
        self._tickets.clear()

    def _record(self, key: Key, gap: Gap, taken_ms: int, created_ms: int) -> Message:
        module, reason = key
        number = self._sequences[module] = self._sequences.get(module, 0) + 1
        envelope = Envelope(GAP_OUTPUT, content_type=JSON_TYPE, content_encoding=JSON_ENCODING)
        body, session = _body(module, reason, gap), f"gap-{module}-{self._run}"
        return Message(envelope, body, module, session, number, taken_ms, created_ms, UNSYNCED)


def _body(module: str, reason: str, gap: Gap) -> bytes:
    document: dict[str, object] = {"module": module, "reason": reason, "count": gap.n}
    if gap.from_ms >= 0:
        document["from_ms"], document["to_ms"] = gap.from_ms, gap.to_ms
        for name, (session, sequence) in (("first", gap.first), ("last", gap.last)):
            document[name] = {"session": session, "sequence": sequence}
    return encode_body(document)[0]
