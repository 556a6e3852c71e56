"""The hub's side of one module input: what is under way to the module, and what follows from each answer.

The module handles one message at a time and answers after its handler. The hub sends a few ahead, so that a busy
pipeline does not wait for a round trip per message; they stay invisible to the module's author:

- A handler fails: both sides forget what was sent ahead (the epoch in the frame tells old from new), and the message
  comes again, first, after a pause. Nothing behind it is handled before it.
- The process ends: everything that was not answered comes again, in order. Which of it had begun, nobody knows, and
  a module that dies for another reason must not lose its input to that. So this alone counts against no message; but
  the next process gets the same messages as suspects, and says of each, at once, when it begins with it. Only a
  message that ends a process which had begun with it has failed. Saying so costs a system call per message, which is
  why nobody does until there is a reason.

After a number of failures a message is set aside, so that one bad message cannot stop the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

from microedge import wire
from microedge.message import Message, Ticket, pack

WINDOW_BYTES = 262_144  # one message of the largest size, or many small ones
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
        self._window = 1
        self._in_flight: dict[int, tuple[Ticket, Message]] = {}
        self._in_flight_bytes = 0
        self._epoch = 0
        self._suspects: set[str] = set()  # ids of messages that may be what ended a process
        self._begun = 0  # the suspect that the module has begun with
        self._failing = ""  # the id of the message that failed last
        self._failures = 0

    @property
    def room(self) -> int:
        """How many more messages may be sent ahead now."""
        return self._window - len(self._in_flight) if self._in_flight_bytes < WINDOW_BYTES else 0

    @property
    def room_bytes(self) -> int:
        """How many more bytes of bodies may be sent ahead now; one message goes whatever its size."""
        return max(1, WINDOW_BYTES - self._in_flight_bytes)

    def deliver(self, delivery: int, ticket: Ticket, message: Message) -> bytes:
        """Return the frame that carries this message, and remember it as under way.

        `delivery` is unique and rising for the instance, over all its inputs.
        """
        is_suspect = self._suspects and message.message_id in self._suspects
        kind = wire.SUSPECT if is_suspect else wire.DELIVER
        self._in_flight[delivery] = (ticket, message)
        self._in_flight_bytes += len(message.body)
        return wire.encode(kind, delivery, time_ms=self._epoch, head=self.name.encode(), body=pack(message))

    def begun(self, delivery: int) -> None:
        """The module's handler runs with this suspect."""
        self._begun = delivery

    def accepted(self, delivery: int) -> Ticket:
        """The module has handled this message; changes state and returns the ticket to acknowledge."""
        ticket, message = self._in_flight.pop(delivery)
        self._in_flight_bytes -= len(message.body)
        if self._suspects:
            self._suspects.discard(message.message_id)
        if self._failing and self._failing == message.message_id:
            self._failing, self._failures = "", 0
        return ticket

    def rejected(self, delivery: int, error: str) -> Answer:
        """The module's handler failed with `error`; changes state and says what follows."""
        ticket, message = self._in_flight.pop(delivery)
        self._in_flight_bytes -= len(message.body)
        self._epoch += 1
        return self._failed(ticket, message, error)

    def opened(self, window: int) -> None:
        """A new process of the module begins: it knows of no epoch. `window` messages may be under way to it."""
        self._epoch = 0
        self._window = window

    def lost(self, *, is_failure: bool) -> Answer:
        """The module's process is gone: what was under way comes again.

        `is_failure`: it ended by itself, and a message may be what killed it. A module that was asked to stop fails
        nothing.
        """
        if not self._in_flight:
            return Answer()
        begun = self._in_flight.get(self._begun)
        if is_failure:
            self._suspects = {message.message_id for _, message in self._in_flight.values()}
            if begun is not None:
                return self._failed(*begun, "the module ended while it handled this message")
        self._forget_under_way()
        return Answer(release=True)

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
        self._begun = 0
