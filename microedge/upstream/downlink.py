"""What comes from above over MQTT: calls of direct methods and desired documents, and whether the broker lets them."""

from __future__ import annotations

import logging

from microedge.errors import printable
from microedge.upstream.packets import MAX_INBOUND_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from microedge.upstream.connector import UpstreamEvents
    from microedge.upstream.packets import SkippedPublish
    from microedge.upstream.requests import UpstreamRequest
    from microedge.upstream.session import Session

log = logging.getLogger(__name__)

_ANSWER_OVERHEAD_BYTES = 1_024  # topic and correlation data of an answer, beside its document
_TOO_LARGE = b'{"status":500,"payload":{"message":"the broker takes no packet as large as this answer"}}'
_STRIKES = 3  # closings before the broker has answered SUBSCRIBE: some close instead of refusing
_MAX_SKIPPED = 16  # topics remembered; whoever sends such documents must not fill the RAM with their names

# In the order in which the session subscribes to them.
_REFUSED = (
    "the broker lets nobody call methods from above",
    "the broker lets nobody set desired properties from above",
)
_CLOSES = "the broker closes connections that subscribe: nobody can call methods from above or set desired properties"


class Downlink:
    """Implements the events of a session that concern what comes from above; outlives the sessions."""

    def __init__(self) -> None:
        self._events: UpstreamEvents
        self._session: Session | None = None
        self._max_packet_bytes = 0
        self._strikes = 0
        self._refusals: dict[str, str] = {}
        self._skipped: dict[str, str] = {}  # by topic

    def use(self, events: UpstreamEvents) -> None:
        """Tell `events` what comes."""
        self._events = events

    @property
    def is_wanted(self) -> bool:
        """False when the broker has closed too many connections that subscribed."""
        return self._strikes < _STRIKES

    @property
    def problems(self) -> list[str]:
        """Return a sentence for everything that does not come through."""
        closes = [] if self.is_wanted else [_CLOSES]
        refused = [f"{what}: {why}" for what, why in self._refusals.items()]
        return closes + refused + [f"{topic}: {text}" for topic, text in self._skipped.items()]

    def opened(self, session: Session, max_packet_bytes: int) -> None:
        """Answer through this session from now on."""
        self._session, self._max_packet_bytes = session, max_packet_bytes

    def over(self, session: Session | None) -> bool:
        """Note the end of a session; return True when SUBSCRIBE may be the reason, so that no message is."""
        self._session = None
        if session is None or not session.is_subscribing:
            return False
        self._strikes += 1
        if self._strikes == _STRIKES:
            log.warning("%s", _CLOSES)
        return True

    def session_subscribed(self, answers: Sequence[str]) -> None:
        """The broker granted each filter ("") or says why not. What it refused is asked for at the next connection."""
        self._strikes = 0
        refusals = {what: why for what, why in zip(_REFUSED, answers) if why}
        for what, why in refusals.items():
            if what not in self._refusals:
                log.warning("%s: %s; all else goes on", what, why)
        self._refusals = refusals

    def session_requested(self, request: UpstreamRequest) -> None:
        """Pass a call on; the answer goes through whatever connection there is then."""

        def reply(document: bytes) -> None:
            self._answer(request, document)

        self._events.upstream_called(request.module, request.method, request.payload, reply, request.timeouts)

    def session_desired(self, module: str, topic: str, document: bytes) -> None:
        """Pass a desired document on."""
        self._skipped.pop(topic, None)
        self._events.upstream_desired(module, document)

    def session_skipped(self, packet: SkippedPublish) -> None:
        """Something came that is too long; over MQTT 3.1.1 it will come again at every connection."""
        topic = printable(packet.topic.decode(errors="replace"))
        if topic in self._skipped or len(self._skipped) >= _MAX_SKIPPED:
            return
        self._skipped[topic] = f"a packet of {packet.size_bytes} bytes, at most {MAX_INBOUND_BYTES} are taken"
        log.error("dropped from above: %s: %s; publish a smaller one", topic, self._skipped[topic])

    def _answer(self, request: UpstreamRequest, document: bytes) -> None:
        if not request.response_topic:
            log.debug("method %s of %s: nobody wants the answer", request.method, request.module)
        elif self._session is None:
            log.debug("method %s of %s: not connected, the answer is dropped", request.method, request.module)
        else:
            size_bytes = len(document) + len(request.response_topic.encode()) + _ANSWER_OVERHEAD_BYTES
            is_small = size_bytes <= self._max_packet_bytes
            self._session.answer(request, document if is_small else _TOO_LARGE)
