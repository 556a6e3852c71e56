"""Reports of modules: looked at in turns and answered in order, however many a module sends.

A report of a few properties takes a tenth of a millisecond, one that changes a full twin several. So a turn of the
loop spends a few milliseconds on them, one report of each module after the other, and a module that sends without
waiting for its answers is not read for a while. Everybody else notices nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from microedge.errors import TwinError
from microedge.hub.session import Session
from microedge.hub.twin_frames import report_refused_frame, reported_frame
from microedge.reactor import Reactor
from microedge.supervisor.held_twin import HeldTwin
from microedge.supervisor.instance import Instance

_TURN_S = 0.005  # of one turn of the loop
_MANY, _FEW = 64, 16  # reports of a module that wait: beyond the first it is not read until the second is reached
_UNREAD_BYTES = 1_048_576  # answers for a module that reports and reports and never reads
_DRAIN_S = 1.0  # at the end

Take = Callable[[HeldTwin, object], int]


class ReportQueue:
    """`take` carries a report out and returns the version, or raises TwinError."""

    def __init__(self, reactor: Reactor, take: Take, clock: Callable[[], float] = time.monotonic) -> None:
        self._reactor = reactor
        self._take = take
        self._clock = clock
        self._waiting: dict[str, HeldTwin] = {}  # who has reports to be looked at; whose turn it is comes first
        self._is_due = False

    def put(self, held: HeldTwin, instance: Instance, reports: Sequence[tuple[int, object]]) -> None:
        """Look at these soon, usually before this returns; each is answered once."""
        session = instance.session
        assert session is not None
        held.reports.extend((instance, session, request, patch) for request, patch in reports)
        if len(held.reports) > _MANY and instance.process is not None:
            instance.process.pause()
        self._add(held)
        if not self._is_due:
            self._serve()

    def saved(self, held: HeldTwin) -> None:
        """The card has reserved versions, or cannot: answers that waited for that are due."""
        if held.must_reserve:
            return
        withheld, held.withheld = held.withheld, []
        for answer in withheld:
            answer()
        self._add(held)
        self._serve_soon()

    def drain(self) -> None:
        """Look at everything now, within a second. The loop is about to end."""
        deadline_s = time.monotonic() + _DRAIN_S
        while self._waiting and time.monotonic() < deadline_s:
            self._one()

    def _add(self, held: HeldTwin) -> None:
        if held.reports and not held.withheld:
            self._waiting.setdefault(held.name, held)

    def _serve_soon(self) -> None:
        if self._waiting and not self._is_due:
            self._is_due = True
            self._reactor.call_soon(self._serve)

    def _serve(self) -> None:
        self._is_due = False
        end_s = self._clock() + _TURN_S
        while self._waiting:
            self._one()
            if self._clock() >= end_s:
                break
        self._serve_soon()

    def _one(self) -> None:
        """Look at the next report of the module whose turn it is, and let the others go first afterwards."""
        name = next(iter(self._waiting))
        held = self._waiting.pop(name)
        instance, session, request, patch = held.reports.popleft()
        try:
            frame = reported_frame(request, self._take(held, patch))
        except TwinError as error:
            frame = report_refused_frame(request, error)
        if held.must_reserve:
            held.withheld.append(lambda: _answer(instance, session, frame))
        else:
            _answer(instance, session, frame)
        if len(held.reports) == _FEW and instance.session is session and instance.process is not None:
            instance.process.resume()
        self._add(held)


def _answer(instance: Instance, session: Session, frame: bytes) -> None:
    process = instance.process
    if instance.session is session and process is not None and process.unsent_bytes <= _UNREAD_BYTES:
        instance.write(frame)
