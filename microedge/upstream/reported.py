"""Which reported document goes to the broker next, and when. Pure; every time is in seconds of the monotonic clock.

The broker keeps one document per module, so only the latest counts: there is one slot per module, and a new document
replaces the one that waits. One document is under way at a time, so that an older can never overtake a newer one and
there is no doubt about which one the broker closed on.

A document is sent until it has been acknowledged, then once more `refresh_s` later if the connection is another one by
then: a broker that lost its retained messages in a restart shows nobody, and would otherwise have nothing until the
next change, which may be months away.

A broker may close the connection over a document (MQTT 3.1.1 has no other way to refuse). Such a one goes alone the
next time, behind the others, and after three closings it rests for `pause_s`; so do all of them after three closings
without any acknowledgement between.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

STRIKES = 3
NEVER = math.inf

_CLOSED_ON = "the broker closes the connection when it gets this document"


@dataclass(frozen=True)
class Pace:
    """How often reported documents are published; tests shorten it."""

    gather_s: float = 1.0  # a module that starts reports one property after the other
    interval_s: float = 5.0  # between two documents of one module
    refresh_s: float = 600.0  # a link that comes and goes repeats every document six times an hour at most
    pause_s: float = 3_600.0  # one closing an hour does not hurt the messages


class _Slot:
    """The document of one module."""

    def __init__(self) -> None:
        self.document: bytes | None = None
        self.is_acknowledged = False
        self.wanted_at = NEVER  # when there is something to send
        self.not_before = -math.inf
        self.sent_at = -math.inf
        self.is_refused = False  # on this connection
        self.strikes = 0  # closings in a row
        self.problem = ""

    @property
    def due_at(self) -> float:
        return max(self.wanted_at, self.not_before)


class ReportedDocuments:
    """Holds the latest document of each module, b"" where there shall be none any more."""

    def __init__(self, pace: Pace) -> None:
        self.under_way = ""  # the module whose document is
        self._pace = pace
        self._slots: dict[str, _Slot] = {}
        self._sent = b""
        self._strikes = 0
        self._paused_until = -math.inf

    @property
    def pending(self) -> int:
        """Documents that the broker has not acknowledged."""
        return sum(not slot.is_acknowledged for slot in self._slots.values())

    @property
    def problems(self) -> list[str]:
        """Return a sentence per document that the broker does not take."""
        return [f"{module}: reported: {slot.problem}" for module, slot in sorted(self._slots.items()) if slot.problem]

    @property
    def due_at(self) -> float:
        """When the next document may be sent; NEVER while one is under way or nothing is to be sent."""
        if self.under_way or not self._slots:
            return NEVER
        return max(self._paused_until, min(slot.due_at for slot in self._slots.values()))

    def is_suspect(self, module: str) -> bool:
        """True if the last connection that carried its document was closed: nothing else may be under way with it."""
        return self._slots[module].strikes > 0

    def put(self, module: str, document: bytes, now: float) -> None:
        """Replace the document of a module."""
        slot = self._slots.setdefault(module, _Slot())
        if document != slot.document:
            slot.document, slot.is_acknowledged = document, False
            slot.wanted_at = min(slot.wanted_at, now + self._pace.gather_s)

    def connected(self, now: float) -> None:
        """Want what is not acknowledged now, and the rest once more when it is old enough."""
        for slot in self._slots.values():
            slot.wanted_at = slot.sent_at + self._pace.refresh_s if slot.is_acknowledged else min(slot.wanted_at, now)
            if slot.is_refused:
                slot.is_refused, slot.not_before = False, slot.sent_at + self._pace.interval_s

    def hurry(self) -> None:
        """Want at once what waits, and nothing else: the connection is about to be closed."""
        for slot in self._slots.values():
            if slot.is_acknowledged or slot.is_refused or slot.strikes >= STRIKES:
                slot.wanted_at = NEVER
            else:
                slot.wanted_at = slot.not_before = -math.inf

    def next_module(self, now: float) -> str:
        """Return whose document goes next, or "": those that the broker closed on come last."""
        if self.due_at > now:
            return ""
        due = [(slot.strikes, slot.due_at, module) for module, slot in self._slots.items() if slot.due_at <= now]
        return min(due)[2]

    def take(self, module: str, now: float) -> bytes:
        """Return the document of a module; it is under way from now on."""
        slot = self._slots[module]
        assert slot.document is not None
        slot.is_acknowledged, slot.wanted_at = False, NEVER
        slot.sent_at, slot.not_before = now, now + self._pace.interval_s
        self.under_way, self._sent = module, slot.document
        return slot.document

    # What became of the document under way.

    def acknowledged(self) -> None:
        """The broker has it."""
        slot = self._taken()
        slot.strikes = self._strikes = 0
        slot.problem = ""
        if slot.document == self._sent:
            slot.is_acknowledged, slot.wanted_at = True, NEVER
        if slot.is_acknowledged and not self._sent:
            self._slots = {module: other for module, other in self._slots.items() if other is not slot}

    def oversize(self, text: str) -> bool:
        """The broker takes no packet of this size: wait for another document, or another connection.

        Return True if that is news.
        """
        return _note(self._taken(), text)

    def refused(self, text: str, now: float, *, is_final: bool) -> bool:
        """The broker said no; `is_final` for the rest of this connection. Return True if that is news."""
        slot = self._taken()
        slot.is_refused = True
        slot.wanted_at, slot.not_before = now, NEVER if is_final else now + self._pace.refresh_s
        return _note(slot, text)

    def lost(self, now: float, *, is_blamed: bool) -> str:
        """The connection has ended, maybe because of this document. Return a sentence if there is news."""
        if not self.under_way:
            return ""
        module, slot = self.under_way, self._taken()
        if not is_blamed:
            return ""
        slot.strikes += 1
        self._strikes += 1
        if self._strikes >= STRIKES:
            self._paused_until = now + self._pace.pause_s
        if slot.strikes >= STRIKES:
            slot.not_before = now + self._pace.pause_s
        if max(slot.strikes, self._strikes) < STRIKES or not _note(slot, _CLOSED_ON):
            return ""
        return f"{module}: {_CLOSED_ON}"

    def _taken(self) -> _Slot:
        slot = self._slots[self.under_way]
        self.under_way = ""
        return slot


def _note(slot: _Slot, text: str) -> bool:
    is_news, slot.problem = slot.problem != text, text
    return is_news
