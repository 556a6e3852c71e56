"""The upstream that is an MQTT broker: connects for ever, sends what it is given, reports what became of it.

`dial` makes the connection on a thread, `session` is one connection, and this class is what outlives them: when to
try again, which messages are under way, which one the broker chokes on (`poison`). The broker keeps no session for
us: whatever was not acknowledged goes back to the queue, and the queue sends it again. Beside the messages there are
`publisher`, for what modules report, and `downlink`, where calls and desired documents come in.
"""

from __future__ import annotations

import logging
import random
import socket
import time
from dataclasses import dataclass, field

from microedge.upstream import reasons
from microedge.upstream.backoff import Backoff
from microedge.upstream.dial import Dialer
from microedge.upstream.downlink import Downlink
from microedge.upstream.packets import FIRST_ID, LAST_ID, Oversize, PublishEncoder
from microedge.upstream.poison import STRIKES, PoisonWatch
from microedge.upstream.publisher import ReportedPublisher
from microedge.upstream.reported import Pace
from microedge.upstream.state import CLOSED, CONNECTED, ConnectorState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from microedge.message import Message, Ticket
    from microedge.reactor import Reactor, Timer
    from microedge.upstream.connector import UpstreamEvents
    from microedge.upstream.dial import Resolve
    from microedge.upstream.session import Session
    from microedge.upstream.settings import UpstreamSettings

    Item = tuple[Ticket, Message]

log = logging.getLogger(__name__)

_MAX_WINDOW = 256  # unacknowledged messages; more gain nothing and lengthen the tail that a loss sends again
_MAX_TICK_S = 15.0  # four wake-ups a minute on an idle connection
_MIN_TICK_S = 0.1
_GRACE = 1.1  # the thread keeps the time limit itself and says more about it, unless the look-up of a name holds it


@dataclass(frozen=True)
class Timings:
    """How patient the connector is. The defaults are for real networks; tests shorten them."""

    connect_s: float = 10.0  # name, TCP and TLS together; then as long again for CONNACK
    ack_s: float = 30.0  # without any PUBACK while messages are under way; at least the keep-alive interval
    first_retry_s: float = 1.0
    max_retry_s: float = 60.0
    stable_s: float = 60.0  # a connection that lasted so long was a good one, even if nothing was sent
    reports: Pace = field(default_factory=Pace)


class MqttConnector:
    """Implements microedge.upstream.connector.Connector."""

    def __init__(
        self,
        settings: UpstreamSettings,
        reactor: Reactor,
        *,
        timings: Timings | None = None,
        resolve: Resolve = socket.getaddrinfo,
    ) -> None:
        """`resolve` looks names up; a test brings one that hangs."""
        self._settings = settings
        self._reactor = reactor
        self._timings = timings = timings or Timings()
        self._state = ConnectorState(settings)
        self._backoff = Backoff(random.random, first_s=timings.first_retry_s, max_s=timings.max_retry_s)
        self._dialer = Dialer(settings, reactor, timings.connect_s, resolve)
        self._encoder = PublishEncoder(settings, _clock_ms)
        self._poison = PoisonWatch()
        self._downlink = Downlink()
        self._reports = ReportedPublisher(settings.device, reactor, timings.reports, self._send)
        self._attempt = 0
        self._session: Session | None = None
        self._timer: Timer | None = None  # one at a time: connecting, waiting, ticking or closing
        self._window = self._receive_maximum = self._max_packet_bytes = 0
        self._under_way: dict[int, Item] = {}  # by packet id, in the order of sending
        self._held: list[Item] = []  # taken, not sent yet: while one message at a time is tried
        self._packet_id = LAST_ID
        self._delivered_here = 0  # on this connection
        self._progress_at = 0.0
        self._done: Callable[[], None] | None = None

    def open(self, events: UpstreamEvents) -> None:
        """See Connector.open."""
        self._events = events
        self._downlink.use(events)
        self._dial()

    def publish(self, batch: Sequence[Item]) -> None:
        """See Connector.publish. Reports nothing before it has returned, not even a refusal."""
        if self._state.name == CONNECTED and not self._done:
            self._held.extend(batch)
            self._send()

    def set_reported(self, module: str, document: bytes) -> None:
        """See Connector.set_reported."""
        self._reports.put(module, document)

    def status(self) -> dict[str, object]:
        problems = [*self._downlink.problems, *self._reports.problems]
        in_flight = len(self._under_way) + len(self._held)
        return self._state.document(in_flight, reports_pending=self._reports.pending, problems=problems)

    def close(self, done: Callable[[], None], timeout_s: float) -> None:
        """Publish what modules reported last, wait for all that is under way, publish offline and disconnect.

        Reports have half the time: without them the broker should still hear of the rest. See Connector.close.
        """
        self._done = done
        if self._session and self._state.name == CONNECTED:
            self._held = []  # they stay with the queue
            self._set_timer(timeout_s, self._closed)
            self._reports.drain(self._say_goodbye, timeout_s / 2)
        else:
            self._reactor.call_soon(self._closed)

    # Connecting.

    def _dial(self) -> None:
        self._attempt += 1
        attempt = self._attempt
        self._state.connecting()
        self._set_timer(self._timings.connect_s * _GRACE, self._dial_hangs)
        self._dialer.start(lambda connection, reason: self._dialled(attempt, connection, reason))

    def _dial_hangs(self) -> None:
        self._attempt += 1  # what the thread still brings is too late
        host, timeout_s = self._settings.host, self._timings.connect_s
        self._retry(f"timeout: no connection to {host} within {timeout_s:g} s, the look-up of its name included")

    def _dialled(self, attempt: int, connection: socket.socket | None, reason: str) -> None:
        if attempt != self._attempt or self._state.name == CLOSED or self._done:
            if connection:
                connection.close()
            return
        if connection is None:
            self._retry(reason)
            return
        from microedge.upstream.session import Session  # already loaded by the thread that made the connection

        self._session = Session(connection, self._settings, self._reactor, self, self._downlink)
        self._set_timer(self._timings.connect_s, self._broker_is_silent)
        self._session.start(wants_downlink=self._downlink.is_wanted)

    def _broker_is_silent(self) -> None:
        where, timeout_s = f"{self._settings.host}:{self._settings.port}", self._timings.connect_s
        hint = "" if self._settings.tls else " (mqtts:// if it is a TLS port)"
        self._give_up(f"timeout: {where} takes the connection but does not answer CONNECT in {timeout_s:g} s{hint}")

    def session_open(self, receive_maximum: int, max_packet_bytes: int) -> None:
        """The broker accepted the connection."""
        self._window = min(receive_maximum, _MAX_WINDOW)
        self._receive_maximum, self._max_packet_bytes = receive_maximum, max_packet_bytes
        self._delivered_here = 0
        self._set_timer(self._tick_s, self._tick)
        self._state.connected()
        if self._session:
            self._downlink.opened(self._session, max_packet_bytes)
        self._events.upstream_connected(self._window)

    def session_ready(self) -> None:
        """What modules reported may go, too."""
        if self._session:
            self._reports.opened(self._session, self._max_packet_bytes)

    # Sending.

    def _send(self) -> None:
        """Send what modules reported, if that is due, then messages: a backlog of them must not hold it up."""
        if self._session is None:
            return
        is_alone, is_careful = not self._under_way, self._poison.is_limited
        self._reports.pump(self._receive_room(self._session), is_alone=is_alone, is_careful=is_careful)
        room = min(self._poison.limit(self._window) - len(self._under_way), self._receive_room(self._session))
        if room <= 0 or not self._held or self._reports.holds_messages:
            return
        items, self._held = self._held[:room], self._held[room:]
        if not self._under_way:
            self._progress_at = time.monotonic()
        packets = []
        for item in items:
            packet = self._encode(item)
            if packet:
                self._under_way[self._packet_id] = item
                packets.append(packet)
        if packets:
            self._session.send(packets)
        elif self._held:
            self._send()

    def _receive_room(self, session: Session) -> int:
        return self._receive_maximum - len(self._under_way) - session.unacknowledged

    def session_published(self, packet_id: int, code: int) -> None:
        """The broker took something else than a message: there is room again."""
        self._reports.acked(packet_id, code)
        self._send()

    def _encode(self, item: Item) -> bytes:
        """Return the packet under a new packet id, or nothing when the message is too large: that is reported soon."""
        packet_id = FIRST_ID if self._packet_id >= LAST_ID else self._packet_id + 1
        while packet_id in self._under_way:
            packet_id = FIRST_ID if packet_id >= LAST_ID else packet_id + 1
        self._packet_id = packet_id
        try:
            packet = self._encoder.encode(packet_id, item[1])
        except Oversize as error:
            self._refuse_soon(item, str(error))
            return b""
        if len(packet) > self._max_packet_bytes:
            limit = self._max_packet_bytes
            self._refuse_soon(item, f"a packet of {len(packet)} bytes, the broker takes at most {limit}")
            return b""
        return packet

    def _refuse_soon(self, item: Item, text: str) -> None:
        attempt = self._attempt

        def refuse() -> None:
            if attempt == self._attempt and self._state.name == CONNECTED:  # its ticket is void after a loss
                self._refuse(item, reasons.OVERSIZE, text)

        self._reactor.call_soon(refuse)

    def session_acked(self, acks: Sequence[tuple[int, int]]) -> None:
        """The broker took messages, or refused some."""
        tickets: list[Ticket] = []
        refused: list[tuple[Item, int]] = []
        for packet_id, code in acks:
            item = self._under_way.pop(packet_id, None)
            if item is None:
                continue
            if code >= 0x80:
                refused.append((item, code))
                continue
            tickets.append(item[0])
            if self._poison.suspect:
                self._poison.cleared(item[1].message_id)
        self._progress_at = time.monotonic()
        if tickets:
            self._delivered_here += len(tickets)
            self._state.delivered += len(tickets)
            self._poison.delivered(len(tickets), self._window)
            self._events.upstream_delivered(tickets)
        self._settle_refused(refused)
        self._send()

    def _settle_refused(self, refused: list[tuple[Item, int]]) -> None:
        for item, code in refused:
            if code in reasons.REFUSALS:
                text = f"the broker refused it: {reasons.code_name(code)}"
                self._refuse(item, reasons.REFUSALS[code], text)
        passing = [code for _, code in refused if code not in reasons.REFUSALS]
        if passing:  # last, because it voids all tickets
            self._give_up(f"the broker takes no message at present: {reasons.code_name(passing[0])}")

    def _refuse(self, item: Item, verdict: str, text: str) -> None:
        self._state.refused += 1
        self._poison.cleared(item[1].message_id)
        self._events.upstream_refused(item[0], verdict, text)

    # Losing the connection.

    def session_over(self, reason: str, may_be_the_message: bool) -> None:
        """The connection is gone, whoever closed it."""
        if self._downlink.over(self._session):
            may_be_the_message = False
        self._session = None
        was_connected = self._state.name == CONNECTED
        age_s = self._state.age_s
        is_blamed = may_be_the_message and age_s < (self._settings.keepalive_s or self._timings.stable_s)
        if was_connected:
            if is_blamed:
                self._suspect()
            if self._delivered_here or age_s >= self._timings.stable_s:
                self._backoff.reset()
        self._reports.over(is_blamed=is_blamed)
        self._under_way, self._held = {}, []
        if self._done:
            self._closed(reason if was_connected else "")
            return
        self._retry(reason)
        if was_connected:
            self._events.upstream_lost(reason)

    def _suspect(self) -> None:
        by_id = {item[1].message_id: item for item in self._under_way.values()}
        under_way = list(by_id)
        if by_id and self._reports.is_under_way:
            under_way.append("")  # it may as well be to blame, so no message was alone
        culprit = self._poison.lost(under_way, self._delivered_here)
        if culprit:
            self._backoff.reset()  # what stood in the way is gone: the next attempt is no blind one
            text = f"the broker closed {STRIKES} connections in a row when it got this message"
            self._refuse(by_id[culprit], reasons.POISON, text)

    def _give_up(self, reason: str) -> None:
        session = self._session
        if session:
            session.close()
            self.session_over(reason, False)

    def _retry(self, reason: str) -> None:
        self._attempt += 1  # what is still on its way from this attempt is void
        delay_s = self._backoff.next_s()
        self._state.waiting(reason, delay_s)
        self._set_timer(delay_s, self._dial)

    # Time.

    @property
    def _tick_s(self) -> float:
        # A ping may be a tick late; brokers wait one and a half keep-alive intervals.
        keepalive_s = self._session.keepalive_s if self._session else 0
        quarter_s = (keepalive_s or 4 * _MAX_TICK_S) / 4
        return max(_MIN_TICK_S, min(quarter_s, self._ack_limit_s / 2, _MAX_TICK_S))

    @property
    def _ack_limit_s(self) -> float:
        return max(self._timings.ack_s, self._settings.keepalive_s)

    def _tick(self) -> None:
        if self._session is None:
            return
        if self._under_way and time.monotonic() - self._progress_at > self._ack_limit_s:
            count, limit_s = len(self._under_way), self._ack_limit_s
            self._give_up(f"the broker has acknowledged none of {count} messages for {limit_s:g} s")
            return
        if self._reports.is_overdue(self._ack_limit_s):
            self._reports.over(is_blamed=True)
            self._give_up(f"the broker has not acknowledged what a module reports for {self._ack_limit_s:g} s")
            return
        self._set_timer(self._tick_s, self._tick)
        self._session.tick()

    def _set_timer(self, delay_s: float, callback: Callable[[], None]) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self._reactor.call_later(delay_s, callback)

    # Closing.

    def _say_goodbye(self) -> None:
        if self._session and self._state.name == CONNECTED:
            self._session.say_goodbye(self._offline_is_known)

    def _offline_is_known(self) -> None:
        # It was published behind the messages, and QoS 1 is acknowledged in order by nearly every broker; where it is
        # not, the missing acknowledgements are waited for here.
        if self._session is None or self._state.name == CLOSED:
            return
        if self._under_way:
            self._reactor.call_later(_MIN_TICK_S, self._offline_is_known)
            return
        self._session.disconnect()
        self._closed()

    def _closed(self, lost_reason: str = "") -> None:
        if self._state.name == CLOSED:
            return
        if self._timer:
            self._timer.cancel()
        self._attempt += 1
        self._state.closed()
        session, self._session = self._session, None
        if session:
            session.close()
        self._downlink.over(None)
        self._reports.over(is_blamed=False)
        if lost_reason:
            self._events.upstream_lost(lost_reason)
        done, self._done = self._done, None
        if done:
            done()


def _clock_ms() -> tuple[int, int]:
    return time.time_ns() // 1_000_000, time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
