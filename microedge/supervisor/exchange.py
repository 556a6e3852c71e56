"""Where messages change hands: modules' sessions, the routes, the queue, the upstream and modules' inputs.

The decisions are elsewhere (hub, queue, connector: each knows nothing of the others); this class carries their
answers from one to the next, and gathers work: however many messages a turn of the loop brings, the endpoints are
served and the modules acknowledged once.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence

from microedge.hub.calls import Invocation
from microedge.hub.inputs import Answer, InputPort
from microedge.hub.session import Received, Session
from microedge.hub.table import Decision, RouteTable
from microedge.message import JSON_ENCODING, JSON_TYPE, Envelope, Message, Ticket
from microedge.names import UPSTREAM, input_endpoint
from microedge.queue.queue import MessageQueue
from microedge.reactor import Reactor
from microedge.supervisor.drain_window import DrainWindow
from microedge.supervisor.instance import Instance
from microedge.supervisor.methods import Methods
from microedge.supervisor.twins import Twins
from microedge.supervisor.wall_clock import WallClock, boot_ms
from microedge.upstream.connector import Connector

log = logging.getLogger(__name__)

_LEASE_BYTES = 1_048_576  # handed to the upstream at a time
_UNROUTED_MAX = 1_000  # a module may invent names of outputs without end
_TWIN_CHANGES = "twin_changes"
_MANUAL = "$cli"  # the module name of messages that a person sends; no instance can have it
Listener = Callable[[Message], None]
Batch = list[tuple[Ticket, Message]]


class Exchange:
    """Implements the events of queue, upstream and instances."""

    def __init__(self, reactor: Reactor, routes: RouteTable, clock: WallClock | None = None) -> None:
        """Store the arguments. `clock` says how good the times of messages are; None: good."""
        self.routes = routes
        self.clock = clock or WallClock(synchronized=lambda: True)
        self.methods = Methods(reactor)
        self.twins: Twins | None = None
        self._reactor = reactor
        self._queue: MessageQueue
        self._connector: Connector | None = None
        self._window = 0  # of the upstream; 0 while it takes nothing
        self._in_flight: set[Ticket] = set()
        self._drain: DrainWindow | None = None  # where there is a live lane
        self._instances: dict[str, Instance] = {}  # by session id
        self._ports: dict[str, InputPort] = {}  # by endpoint
        self._port_owners: dict[str, Instance] = {}
        self._deliveries: dict[int, InputPort] = {}
        self._next_delivery = 1
        self._paused: set[str] = set()  # endpoints whose module failed a message a moment ago
        self._listeners: list[Listener] = []
        self._unrouted: set[tuple[str, str]] = set()  # modules and outputs that the log has named
        self._to_acknowledge: set[str] = set()  # session ids
        self._to_serve: set[str] = set()  # endpoints
        self._is_service_due = False
        self._has_dropped_changes = False  # and the log has said so
        self._manual_session = f"{_MANUAL}-{os.urandom(6).hex()}"
        self._manual_sequence = 0

    @property
    def dropped(self) -> dict[str, int]:
        """How many messages did not arrive, by reason: kept by the queue, over restarts."""
        return self._queue.dropped

    def open(self, queue: MessageQueue, connector: Connector | None, *, has_live_lane: bool = False) -> None:
        """Begin to exchange messages; `connector` None means that this device has no upstream.

        `has_live_lane`: of a backlog, only as much is sent at a time as does not hold up fresh messages.
        """
        self._drain = DrainWindow() if has_live_lane else None
        self._queue = queue
        self._connector = connector
        if connector is not None:
            connector.open(self)

    def use_routes(self, routes: RouteTable) -> None:
        """Route by another table from the next message on; what is queued stays where it is."""
        self.routes = routes
        self._unrouted.clear()

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` for every message from now on, until the returned function is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def send_to_input(self, module: str, input_name: str, body: bytes, ttl_s: int) -> str:
        """Queue a message from a person for one input; return its message id."""
        envelope = Envelope("manual", content_type=JSON_TYPE, content_encoding=JSON_ENCODING)
        self._manual_sequence += 1
        taken_ms, (offset_ms, quality) = boot_ms(), self.clock.look()
        times = taken_ms, taken_ms + offset_ms, quality
        message = Message(envelope, body, _MANUAL, self._manual_session, self._manual_sequence, *times)
        endpoint = input_endpoint(module, input_name)
        self._queue.append(message, [(endpoint, 0, ttl_s)])
        self._serve_soon(endpoint)
        return message.message_id

    # --- Instances ---

    def session_opened(self, instance: Instance) -> None:
        """The module is ready: its inputs can be delivered."""
        if instance.session is not None:
            self._instances[instance.session.session] = instance
        for name in instance.plan.image.inputs:
            endpoint = input_endpoint(instance.name, name)
            port = self._ports.setdefault(endpoint, InputPort(endpoint, name))
            port.opened(instance.plan.input_window)
            self._port_owners[endpoint] = instance
            self._queue.set_live(endpoint, True)
            self._serve_soon(endpoint)
        self.methods.opened(instance)
        if self.twins is not None:
            self.twins.opened(instance)

    def session_received(self, instance: Instance, received: Received) -> None:
        session = instance.session
        assert session is not None
        if received.messages:
            self._instances[session.session] = instance
            instance.sent += len(received.messages)
            self._accept(session, received.messages)
        for delivery in received.begun:
            self._take_begun(instance, delivery)
        if received.done:
            self._take_answers(instance, received.done)
        if received.results or received.invocations:
            self.methods.received(instance, received)
        if received.reports and self.twins is not None:
            self.twins.received(instance, received.reports)

    def session_closed(self, instance: Instance) -> None:
        """The process is gone: what was on its way to it comes again."""
        if instance.session is not None:
            self._instances.pop(instance.session.session, None)
        for endpoint in [endpoint for endpoint, owner in self._port_owners.items() if owner is instance]:
            del self._port_owners[endpoint]
            port = self._ports[endpoint]
            self._queue.set_live(endpoint, False)
            self._settle_answer(port, port.lost(is_failure=not instance.is_leaving))
        self.methods.closed(instance)
        if self.twins is not None:
            self.twins.closed(instance)

    def _accept(self, session: Session, messages: Sequence[Message]) -> None:
        decide, append, serve = self.routes.decide, self._queue.append, self._to_serve
        elsewhere = session.elsewhere
        for message in messages:
            decision = decide(message)
            targets = decision.targets
            message.elsewhere = elsewhere
            if not decision.is_upstream:
                elsewhere += 1
            if targets:
                append(message, targets)
                for target in targets:
                    serve.add(target[0])
            else:
                self._drop_unrouted(message, decision)
        session.elsewhere = elsewhere
        if self.routes.remarks:
            self._say_remarks()
        if self._listeners:
            for message in messages:
                for listener in list(self._listeners):
                    listener(message)
        self._to_acknowledge.add(session.session)
        self._service_soon()

    def _drop_unrouted(self, message: Message, decision: Decision) -> None:
        self._queue.drop(message.module, decision.drop_reason)
        key = (message.module, message.output)
        if decision.drop_reason != "no_route" or key in self._unrouted or len(self._unrouted) >= _UNROUTED_MAX:
            return
        self._unrouted.add(key)
        if decision.is_filtered:
            log.info("no route takes some messages of %s/%s: no WHERE is true; they are counted as no_route", *key)
        else:
            log.warning("no route takes messages of %s/%s: they are dropped and counted as no_route", *key)

    def _say_remarks(self) -> None:
        for remark in self.routes.remarks:
            log.warning("%s", remark)
        self.routes.remarks.clear()

    # --- Queue events ---

    def queue_settled(self, messages: Sequence[Message]) -> None:
        self._to_acknowledge.update({message.session for message in messages})
        self._service_soon()

    def queue_available(self, endpoint: str) -> None:
        self._serve_soon(endpoint)

    # --- Upstream events ---

    def upstream_connected(self, window: int) -> None:
        log.debug("upstream takes messages: window=%d", window)
        self._window = window
        self._queue.set_live(UPSTREAM, True)
        self._serve_soon(UPSTREAM)
        if self.twins is not None:
            self.twins.upstream_connected()

    def upstream_lost(self, reason: str) -> None:
        if self._window:
            log.debug("upstream lost: %s; messages wait in the queue", reason)  # the connector says so to people
        self._window = 0
        self._in_flight.clear()
        if self._drain is not None:
            self._drain.lost()
        self._queue.set_live(UPSTREAM, False)
        self._queue.release(UPSTREAM)

    def upstream_delivered(self, tickets: Sequence[Ticket]) -> None:
        self._in_flight.difference_update(tickets)
        if self._drain is not None:
            self._drain.delivered(tickets, time.monotonic())
        self._queue.ack(tickets)
        self._serve_soon(UPSTREAM)

    def upstream_refused(self, ticket: Ticket, reason: str, text: str) -> None:
        log.error("upstream refuses a message: reason=%s %s; it is set aside", reason, text)
        self._in_flight.discard(ticket)
        self._queue.set_aside(ticket, reason, text)
        self._serve_soon(UPSTREAM)

    def upstream_called(
        self,
        module: str,
        method: str,
        payload: bytes,
        reply: Callable[[bytes], None],
        timeouts: Mapping[str, object],
    ) -> None:
        self.methods.call_from_upstream(Invocation(module, method, payload or b"null", **timeouts), reply)

    def upstream_desired(self, module: str, document: bytes) -> None:
        if self.twins is not None:
            self.twins.upstream_desired(module, document)

    # --- Twins ---

    def route_twin_change(self, message: Message) -> bool:
        """Send a change of reported properties where routes from /twinChangeNotifications lead, if any.

        Returns whether upstream is among them.
        """
        message.time_quality = self.clock.look()[1]
        decision = self.routes.decide_twin_change(message)
        if decision.targets:
            self._queue.append(message, decision.targets)
        elif decision.routes:
            self._queue.drop(message.module, decision.drop_reason)
        for target in decision.targets:
            self._serve_soon(target[0])
        if self.routes.remarks:
            self._say_remarks()
        return decision.is_upstream

    def set_reported(self, module: str, document: bytes) -> None:
        """Make this what the upstream shows of a module; b"" removes it."""
        if self._connector is not None:
            self._connector.set_reported(module, document)

    def drop_twin_change(self, module: str) -> None:
        """Count a change that is not routed, because too many of this module are still on their way."""
        if not self._has_dropped_changes:
            log.warning("module %s reports faster than its changes get away: some are dropped and counted", module)
            self._has_dropped_changes = True
        self._queue.drop(module, _TWIN_CHANGES)

    # --- Once per turn ---

    def _serve_soon(self, endpoint: str) -> None:
        self._to_serve.add(endpoint)
        self._service_soon()

    def _service_soon(self) -> None:
        if not self._is_service_due:
            self._is_service_due = True
            self._reactor.call_soon(self._service)

    def _service(self) -> None:
        self._is_service_due = False
        endpoints, self._to_serve = self._to_serve, set()
        for endpoint in endpoints:
            if endpoint == UPSTREAM:
                self._serve_upstream()
            else:
                self._serve_input(endpoint)
        sessions, self._to_acknowledge = self._to_acknowledge, set()
        for session in sessions:
            instance = self._instances.get(session)
            if instance is not None and instance.session is not None:
                frame = instance.session.acknowledgement()
                if frame:
                    instance.write(frame)

    def _serve_upstream(self) -> None:
        room = self._window - len(self._in_flight)
        if room <= 0 or self._connector is None:
            return
        if self._drain is None:
            batch = self._queue.lease(UPSTREAM, room, _LEASE_BYTES)
        else:
            batch = self._lease_live(self._drain, room)
        if batch:
            self.clock.stamp(batch)
            self._in_flight.update(ticket for ticket, _ in batch)
            self._connector.publish(batch)

    def _lease_live(self, drain: DrainWindow, room: int) -> Batch:
        max_backlog = max(0, int(drain.messages) - len(self._in_flight))
        batch = self._queue.lease(UPSTREAM, room, _LEASE_BYTES, max_backlog=max_backlog)
        if batch:
            drain.leased(batch[-1][0], time.monotonic())
        return batch

    def _serve_input(self, endpoint: str) -> None:
        instance, port = self._port_owners.get(endpoint), self._ports.get(endpoint)
        if instance is None or port is None or port.room <= 0 or endpoint in self._paused:
            return
        frames = []
        batch = self._queue.lease(endpoint, port.room, port.room_bytes)
        self.clock.stamp(batch)
        for ticket, message in batch:
            delivery = self._next_delivery
            self._next_delivery += 1
            self._deliveries[delivery] = port
            frames.append(port.deliver(delivery, ticket, message))
        if frames:
            instance.delivered += len(frames)
            instance.write(b"".join(frames))

    def _take_begun(self, instance: Instance, delivery: int) -> None:
        port = self._deliveries.get(delivery)
        if port is not None and self._port_owners.get(port.endpoint) is instance:
            port.begun(delivery)

    def _take_answers(self, instance: Instance, answers: Sequence[tuple[int, str]]) -> None:
        """A module answered (delivery, "" or what its handler raised)."""
        taken: list[Ticket] = []
        for delivery, error in answers:
            port = self._deliveries.get(delivery)
            if port is None or self._port_owners.get(port.endpoint) is not instance:
                continue  # sent ahead before a failure: it comes again; or a number that another module was given
            del self._deliveries[delivery]
            if not error:
                taken.append(port.accepted(delivery))
                self._to_serve.add(port.endpoint)
                continue
            self._queue.ack(taken)  # before the rest of the endpoint's messages is given back
            taken = []
            self._settle_answer(port, port.rejected(delivery, error))
        self._queue.ack(taken)
        self._service_soon()  # also when a failure of another input came last

    def _settle_answer(self, port: InputPort, answer: Answer) -> None:
        if answer.set_aside is not None:
            log.error("input %s: a message failed again and again: %s; it is set aside", port.endpoint, answer.text)
            self._queue.set_aside(answer.set_aside, "poison", answer.text)
        if answer.release:
            self._deliveries = {number: other for number, other in self._deliveries.items() if other is not port}
            self._queue.release(port.endpoint)
        if answer.pause_s:
            self._paused.add(port.endpoint)
            self._reactor.call_later(answer.pause_s, lambda: self._resume(port.endpoint))
        else:
            self._serve_soon(port.endpoint)

    def _resume(self, endpoint: str) -> None:
        self._paused.discard(endpoint)
        self._serve_soon(endpoint)
