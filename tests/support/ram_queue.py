"""A queue in RAM with the behaviour of microedge.queue.queue that the exchange relies on, and no disk."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Sequence
from typing import Any

from microedge.message import Message, Target, Ticket


class RamQueue:
    """Settles a message when every endpoint has acknowledged it. `dead` holds what was set aside."""

    def __init__(self, events: Any) -> None:
        self._events = events
        self._waiting: dict[str, list[tuple[Ticket, Message]]] = {}
        self._leased: dict[Ticket, tuple[str, Message]] = {}
        self._next = 1
        self.live: set[str] = set()
        self.dropped: Counter[str] = Counter()
        self.dead: list[tuple[Message, str]] = []

    def append(self, message: Message, targets: Sequence[Target]) -> None:
        message.waiting = len(targets)
        for endpoint, _, _ in targets:
            self._waiting.setdefault(endpoint, []).append((self._next, message))
            self._next += 1

    def lease(self, endpoint: str, max_messages: int, max_bytes: int) -> list[tuple[Ticket, Message]]:
        waiting = self._waiting.get(endpoint, [])
        taken, self._waiting[endpoint] = waiting[:max_messages], waiting[max_messages:]
        for ticket, message in taken:
            assert ticket not in self._leased
            self._leased[ticket] = (endpoint, message)
        return taken

    def ack(self, tickets: Sequence[Ticket]) -> None:
        self._remove(tickets)

    def release(self, endpoint: str) -> None:
        for ticket in [ticket for ticket, (owner, _) in self._leased.items() if owner == endpoint]:
            bisect.insort(self._waiting[endpoint], (ticket, self._leased.pop(ticket)[1]))

    def set_aside(self, ticket: Ticket, reason: str, text: str) -> None:
        self.dead.append((self._leased[ticket][1], text))
        self._remove([ticket])

    def set_live(self, endpoint: str, is_live: bool) -> None:
        (self.live.add if is_live else self.live.discard)(endpoint)

    def drop(self, module: str, reason: str) -> None:
        self.dropped[reason] += 1

    def _remove(self, tickets: Sequence[Ticket]) -> None:
        settled = []
        for ticket in tickets:
            _, message = self._leased.pop(ticket)  # a ticket that is not leased is a mistake of the exchange
            message.waiting -= 1
            if not message.waiting:
                settled.append(message)
        if settled:
            self._events.queue_settled(settled)
