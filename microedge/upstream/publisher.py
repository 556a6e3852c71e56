"""Publishes what modules report, each document as the retained message of a topic of its own.

What goes when is decided in `reported`; here are the session, the timer and the words. Documents go through paho, one
at a time, and not behind the messages: a backlog that takes hours to drain must not hide what the modules report.
"""

from __future__ import annotations

import logging
import time

from microedge.upstream import reasons
from microedge.upstream.reported import NEVER, Pace, ReportedDocuments
from microedge.upstream.twins import reported_topic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from microedge.reactor import Reactor, Timer
    from microedge.upstream.session import Session

log = logging.getLogger(__name__)

_OVERHEAD_BYTES = 16  # of a PUBLISH, beside topic and document


class ReportedPublisher:
    """Publishes reported documents over whatever session there is, beside the messages.

    `serve` is called when one is due; its owner then calls `pump` with what else is under way.
    """

    def __init__(self, device: str, reactor: Reactor, pace: Pace, serve: Callable[[], None]) -> None:
        self._device = device
        self._reactor = reactor
        self._serve = serve
        self._documents = ReportedDocuments(pace)
        self._session: Session | None = None
        self._max_packet_bytes = 0
        self._packet_id = 0
        self._sent_at = 0.0
        self._is_due = False
        self._timer: Timer | None = None
        self._drained: Callable[[], None] | None = None
        self._is_finished = False
        self.holds_messages = False  # a document must be under way alone, now or next

    @property
    def pending(self) -> int:
        """Documents that the broker has not acknowledged."""
        return self._documents.pending

    @property
    def problems(self) -> list[str]:
        return self._documents.problems

    @property
    def is_under_way(self) -> bool:
        return bool(self._documents.under_way)

    def put(self, module: str, document: bytes) -> None:
        """Make this the document of a module."""
        self._documents.put(module, document, time.monotonic())
        self._arm()

    def opened(self, session: Session, max_packet_bytes: int) -> None:
        """Publish over this session from now on."""
        if self._is_finished:
            return
        self._session, self._max_packet_bytes = session, max_packet_bytes
        self._documents.connected(time.monotonic())
        if self._drained:
            self._documents.hurry()
        self._arm()

    def pump(self, room: int, *, is_alone: bool, is_careful: bool) -> None:
        """Send the next document, if one is due, into `room` for packets in the window of the broker.

        `is_alone`: no message is under way. `is_careful`: a message is suspected of closing connections.
        """
        if not self._is_due or self._session is None:
            return
        now = time.monotonic()
        module = self._documents.next_module(now)
        if not module:
            self._arm()
            return
        self.holds_messages = is_careful or self._documents.is_suspect(module)
        if room > 0 and (is_alone or not self.holds_messages):
            self._send(self._session, module, now)

    def _send(self, session: Session, module: str, now: float) -> None:
        topic, document = reported_topic(self._device, module), self._documents.take(module, now)
        size_bytes = len(topic.encode()) + len(document) + _OVERHEAD_BYTES
        if size_bytes > self._max_packet_bytes:
            text = f"a packet of {size_bytes} bytes, the broker takes at most {self._max_packet_bytes}"
            if self._documents.oversize(text):
                _say(module, text)
            self._arm()
            return
        self._is_due, self._sent_at = False, now
        self._packet_id = session.publish_retained(topic, document)

    def acked(self, packet_id: int, code: int) -> None:
        """Note what became of a publication: it may be the document that is under way."""
        module = self._documents.under_way
        if not module or packet_id != self._packet_id:
            return
        if code < 0x80:
            self._documents.acknowledged()
        else:
            text = f"refused: {reasons.code_name(code)}"
            if self._documents.refused(text, time.monotonic(), is_final=code in reasons.REFUSALS):
                _say(module, text)
        self._arm()

    def is_overdue(self, limit_s: float) -> bool:
        """True if the document under way has waited longer than this for its acknowledgement."""
        return self.is_under_way and time.monotonic() - self._sent_at > limit_s

    def over(self, *, is_blamed: bool) -> None:
        """The session is gone. Harmless when there is none."""
        news = self._documents.lost(time.monotonic(), is_blamed=is_blamed)
        if news:
            log.error("twin of %s; the next try is in an hour", news)
        self._session = self._drained = None
        self._arm()

    def drain(self, done: Callable[[], None], limit_s: float) -> None:
        """Publish what waits, call `done` then or after `limit_s`, and publish nothing more."""
        self._drained = done
        self._reactor.call_later(limit_s, self._finish)
        self._documents.hurry()
        self._arm()

    def _finish(self) -> None:
        done, self._drained = self._drained, None
        if done:
            self._session, self._is_finished = None, True
            self._arm()
            done()

    def _arm(self) -> None:
        """Wake up when the next document is due, and at no other time."""
        if self._timer:
            self._timer.cancel()
        self._timer, self._is_due, self.holds_messages = None, False, self.holds_messages and self.is_under_way
        if self._session is None:
            return
        delay_s = self._documents.due_at - time.monotonic()
        if self._drained and not self.is_under_way and delay_s > 0:
            self._finish()
        elif delay_s < NEVER:
            self._timer = self._reactor.call_later(max(0.0, delay_s), self._on_due)

    def _on_due(self) -> None:
        self._timer, self._is_due = None, True
        self._serve()


def _say(module: str, text: str) -> None:
    log.error("the broker does not take what %s reports: %s; all else goes on", module, text)
