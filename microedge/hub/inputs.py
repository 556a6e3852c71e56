"""The hub's side of one module input: what is under way to the module, and what follows from each answer.

The module handles one message at a time and answers after its handler. The hub sends a few ahead, so that a busy
pipeline does not wait for a round trip per message; they stay invisible to the module's author. When a handler fails,
both sides forget what was sent ahead (the epoch in the frame tells old from new), and the message comes again, first,
after a pause; after a number of failures it is set aside, so that one bad message cannot stop the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

from microedge import wire
from microedge.message import Message, Ticket, pack

AHEAD = 32  # messages under way to one input
AHEAD_BYTES = 262_144  # one message of the largest size, or many small ones
MAX_FAILURES = 5
_FIRST_PAUSE_S = 1.0


@dataclass(frozen=True)
class Answer:
    """What the queue has to do after a failure: set aside, or release all and try again after a pause."""

    set_aside: Ticket | None = None
    text: str = ""
    release: bool = False
    pause_s: float = 0.0


class InputPort:
    """One input of one instance. Outlives the module's processes: failures are counted over restarts."""

    def __init__(self, endpoint: str, name: str) -> None:
        self.endpoint = endpoint
        self.name = name
        self._in_flight: dict[int, tuple[Ticket, Message]] = {}
        self._in_flight_bytes = 0
        self._epoch = 0
        self._failing = ""  # the id of the message that failed last
        self._failures = 0

    @property
    def room(self) -> int:
        """How many more messages may be sent ahead now."""
        return AHEAD - len(self._in_flight) if self._in_flight_bytes < AHEAD_BYTES else 0

    def deliver(self, delivery: int, ticket: Ticket, message: Message) -> bytes:
        """Return the frame that carries this message, and remember it as under way.

        `delivery` is unique and rising for the instance, over all its inputs.
        """
        self._in_flight[delivery] = (ticket, message)
        self._in_flight_bytes += len(message.body)
        return wire.encode(wire.DELIVER, delivery, time_ms=self._epoch, head=self.name.encode(), body=pack(message))

    def accepted(self, delivery: int) -> Ticket:
        """The module has handled this message; changes state and returns the ticket to acknowledge."""
        ticket, message = self._in_flight.pop(delivery)
        self._in_flight_bytes -= len(message.body)
        self._failing, self._failures = "", 0
        return ticket

    def rejected(self, delivery: int, error: str) -> Answer:
        """The module's handler failed with `error`; changes state and says what follows."""
        ticket, message = self._in_flight.pop(delivery)
        self._in_flight_bytes -= len(message.body)
        self._epoch += 1
        return self._failed(ticket, message, error)

    def opened(self) -> None:
        """A new process of the module begins: it knows of no epoch."""
        self._epoch = 0

    def lost(self, *, is_failure: bool) -> Answer:
        """The module's process is gone: what was under way comes again.

        `is_failure`: it ended by itself, and the first message may be what killed it. A module that was asked to stop
        fails nothing.
        """
        if not self._in_flight:
            return Answer()
        if not is_failure:
            self._forget_under_way()
            return Answer(release=True)
        ticket, message = self._in_flight[min(self._in_flight)]
        return self._failed(ticket, message, "the module ended while it handled this message")

    def _failed(self, ticket: Ticket, message: Message, error: str) -> Answer:
        self._failures = self._failures + 1 if message.message_id == self._failing else 1
        self._failing = message.message_id
        self._forget_under_way()
        if self._failures < MAX_FAILURES:
            return Answer(release=True, pause_s=_FIRST_PAUSE_S * 2 ** (self._failures - 1))
        self._failing, self._failures = "", 0
        return Answer(set_aside=ticket, text=error, release=True)

    def _forget_under_way(self) -> None:
        self._in_flight.clear()
        self._in_flight_bytes = 0
