"""The owner of a connector, as the supervisor is one: leases from a list, and checks the contract as it goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from microedge.message import Envelope, Message, Ticket


def make_message(sequence: int, body: bytes = b"", *, output: str = "readings", **envelope: object) -> Message:
    """Return a message of module `probe`."""
    kind = Envelope(output, **envelope)  # type: ignore[arg-type]
    return Message(kind, body or b'{"n":%d}' % sequence, "probe", "s1", sequence, 1_000, 1_715_938_200_250)


class Owner:
    """Feeds `messages` to a connector and keeps a record of every event.

    Lost tickets become new ones, as in the queue. Any event that breaks the contract raises AssertionError.
    """

    def __init__(self, messages: Sequence[Message] = ()) -> None:
        self.events: list[tuple[object, ...]] = []
        self.delivered: list[str] = []  # message ids, in order
        self.refused: list[tuple[str, str, str]] = []  # message id, reason, text
        self.is_connected = False
        self.is_closed = False
        self.losses: list[str] = []
        self.window = 0
        self._todo = list(messages)
        self._leased: dict[Ticket, Message] = {}
        self._ticket = 0

    def attach(self, connector: object) -> None:
        self.connector = connector

    def add(self, *messages: Message) -> None:
        self._todo.extend(messages)
        self.feed()

    @property
    def is_idle(self) -> bool:
        return not self._todo and not self._leased

    def feed(self) -> None:
        room = self.window - len(self._leased)
        if not self.is_connected or room <= 0 or not self._todo:
            return
        taken, self._todo = self._todo[:room], self._todo[room:]
        batch = []
        for message in taken:
            self._ticket += 1
            self._leased[self._ticket] = message
            batch.append((self._ticket, message))
        self._is_publishing = True
        self.connector.publish(batch)  # type: ignore[attr-defined]
        self._is_publishing = False

    _is_publishing = False

    def upstream_connected(self, window: int) -> None:
        self._check()
        assert not self.is_connected
        assert window >= 1
        self.events.append(("connected", window))
        self.is_connected, self.window = True, window
        self.feed()

    def upstream_lost(self, reason: str) -> None:
        self._check()
        assert self.is_connected
        assert reason
        self.events.append(("lost", reason))
        self.losses.append(reason)
        self.is_connected = False
        self._todo = list(self._leased.values()) + self._todo
        self._leased = {}

    def upstream_delivered(self, tickets: Sequence[Ticket]) -> None:
        self._check()
        assert self.is_connected
        self.events.append(("delivered", tuple(tickets)))
        self.delivered += [self._leased.pop(ticket).message_id for ticket in tickets]
        self.feed()

    def upstream_refused(self, ticket: Ticket, reason: str, text: str) -> None:
        self._check()
        assert self.is_connected
        assert reason in ("poison", "oversize", "refused")
        self.events.append(("refused", ticket, reason))
        self.refused.append((self._leased.pop(ticket).message_id, reason, text))
        self.feed()

    def upstream_called(
        self,
        module: str,
        method: str,
        payload: bytes,
        reply: Callable[[bytes], None],
        timeouts: Mapping[str, object],
    ) -> None:
        self._check()
        self.events.append(("called", module, method, payload))
        reply(b'{"status":200,"payload":null}')

    def upstream_desired(self, module: str, document: bytes) -> None:
        self._check()
        assert self.is_connected
        self.events.append(("desired", module, document))

    @property
    def desired(self) -> list[tuple[object, ...]]:
        """(module, document) of all desired documents so far."""
        return [event[1:] for event in self.events if event[0] == "desired"]

    def close_done(self) -> None:
        assert not self.is_closed
        self.is_closed = True

    def _check(self) -> None:
        assert not self.is_closed, "an event after close"
        assert not self._is_publishing, "an event inside publish"
