"""What is there instead of a disk and a network: the queue's lines alone, and an upstream that is a list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from microedge.message import IMMEDIATE, Message, Target, Ticket
from microedge.queue.lines import Lines
from microedge.queue.queue import QueueEvents
from microedge.sdk.testing.reactor import VirtualReactor
from microedge.upstream.connector import UpstreamEvents

LINGER_S = 5.0  # the default of [store] linger_ms
UPSTREAM_WINDOW = 256


class DeadMessage(NamedTuple):
    """A message that was set aside; `text` is the error of its last failure, `reason` "poison"."""

    message: Message
    endpoint: str
    reason: str
    text: str


class MemoryQueue:
    """What the exchange uses of a `MessageQueue`. What waits longer than the linger counts as committed to the card."""

    def __init__(self, reactor: VirtualReactor, events: QueueEvents) -> None:
        self.lines = Lines()
        self._reactor = reactor
        self._events = events
        self._is_commit_due = False
        self._is_flush_due = False

    def append(self, message: Message, targets: Sequence[Target]) -> None:
        """Put a message into the queue of each target."""
        self.lines.append(message, targets, self._now_ms())
        if message.envelope.durability == IMMEDIATE:
            self._commit()
        elif message.waiting and not self._is_commit_due:
            self._is_commit_due = True
            self._reactor.call_later(LINGER_S, self._commit)
        self._flush_soon()

    def lease(self, endpoint: str, max_messages: int, max_bytes: int) -> list[tuple[Ticket, Message]]:
        """Return the next messages of an endpoint, most urgent priority first."""
        self._flush_soon()
        return self.lines.lease(self.lines.endpoint(endpoint), max_messages, max_bytes, self._now_ms())

    def ack(self, tickets: Sequence[Ticket]) -> None:
        """Remove delivered messages."""
        self.lines.ack(tickets)
        self._flush_soon()

    def release(self, endpoint: str) -> None:
        """Give back what is leased to an endpoint."""
        self.lines.release(self.lines.endpoint(endpoint))
        self._flush_soon()

    def set_aside(self, ticket: Ticket, reason: str, text: str) -> None:
        """Turn a leased message into a dead letter."""
        self.lines.set_aside(ticket, reason, text)
        self.lines.kept(self.lines.dead[-1:])
        self._flush_soon()

    def set_live(self, endpoint: str, is_live: bool) -> None:
        """Say whether an endpoint takes messages now."""
        self.lines.endpoint(endpoint).is_live = is_live

    def drop(self, module: str, reason: str) -> None:
        """Count one message that never came here."""
        self.lines.losses.count(module, reason, 1)

    @property
    def dropped(self) -> dict[str, int]:
        """How many messages did not arrive, by reason."""
        return self.lines.dropped

    def waiting(self, endpoint: str) -> list[Message]:
        """Return what waits for an endpoint or is under way to it; expired messages are dropped first."""
        unsaved = self.lines.unsaved(self._now_ms())
        entries = [entry for line, found in unsaved.items() if line.endpoint.name == endpoint for entry in found]
        return [entry.message for entry in entries if entry.message is not None]

    def dead(self) -> list[DeadMessage]:
        """Return what was set aside, oldest first."""
        letters = self.lines.dead
        return [
            DeadMessage(it.message, it.endpoint, it.reason, it.text) for it in letters if type(it.message) is Message
        ]

    def _commit(self) -> None:
        self._is_commit_due = False
        for entries in self.lines.unsaved(self._now_ms()).values():
            for entry in entries:
                if entry.is_waiting and entry.message is not None:
                    entry.is_waiting = False
                    entry.message.waiting -= 1
                    if not entry.message.waiting:
                        self.lines.settled.append(entry.message)
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._is_flush_due:
            self._is_flush_due = True
            self._reactor.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flush_due = False
        lines = self.lines
        settled, lines.settled = lines.settled, []
        notices, lines.notices = lines.notices, []
        if settled:
            self._events.queue_settled(settled)
        for endpoint in dict.fromkeys(notices):
            self._events.queue_available(endpoint)

    def _now_ms(self) -> int:
        return int(self._reactor.now_s * 1000)


class MemoryUpstream:
    """A `Connector` that takes everything at once. `taken` is what went upstream, in order."""

    def __init__(self, reactor: VirtualReactor) -> None:
        self.taken: list[Message] = []
        self._reactor = reactor
        self._events: UpstreamEvents

    def open(self, events: UpstreamEvents) -> None:
        """Connect."""
        self._events = events
        events.upstream_connected(UPSTREAM_WINDOW)

    def publish(self, batch: Sequence[tuple[Ticket, Message]]) -> None:
        """Take these."""
        self.taken += [message for _, message in batch]
        tickets = [ticket for ticket, _ in batch]
        self._reactor.call_soon(lambda: self._events.upstream_delivered(tickets))

    def set_online(self, is_online: bool) -> None:
        """Come or go, as a network does."""
        if is_online:
            self._events.upstream_connected(UPSTREAM_WINDOW)
        else:
            self._events.upstream_lost("the test took it away")

    def set_reported(self, module: str, document: bytes) -> None:
        """Nobody above looks at what modules report: `Module.reported` has it."""

    def status(self) -> dict[str, object]:
        """Return nothing: there is no status in memory."""
        return {}

    def close(self, done: Callable[[], None], timeout_s: float) -> None:
        """Nothing is under way."""
        done()
