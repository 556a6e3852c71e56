"""What every upstream connector is, and what it needs from its surroundings.

The queue keeps messages; a connector only carries them. It is told to publish what the queue leased, and says
afterwards what became of each. All calls and all events happen on the loop's thread; a connector that must block
(a name look-up, a TLS handshake, an fsync) does so on a thread of its own and comes back through
`microedge.reactor.Reactor.call_from_thread`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from microedge.message import Message, Ticket


class UpstreamEvents(Protocol):
    """What a connector tells its owner, always on the loop's thread."""

    def upstream_connected(self, window: int) -> None:
        """It takes messages now, up to `window` unacknowledged at a time."""

    def upstream_lost(self, reason: str) -> None:
        """It takes none now; every ticket not yet delivered or refused goes back to the queue. It retries by itself."""

    def upstream_delivered(self, tickets: Sequence[Ticket]) -> None:
        """The upstream has these, durably as far as it promises that."""

    def upstream_refused(self, ticket: Ticket, reason: str, text: str) -> None:
        """The upstream will never take this one: `reason` is poison, oversize or refused; `text` is for a person."""

    def upstream_called(
        self,
        module: str,
        method: str,
        payload: bytes,
        reply: Callable[[bytes], None],
        timeouts: Mapping[str, object],
    ) -> None:
        """Somebody above calls a direct method, with whatever payload: nothing of it has been checked.

        `timeouts` may hold `response_timeout_s` and `connect_timeout_s`; what it does not hold is as for any call.
        `reply` takes the answer document, once, now or later; it drops it where the upstream has gone or nobody
        wants it. A connector that has no way down never calls this.
        """

    def upstream_desired(self, module: str, document: bytes) -> None:
        """What somebody above wants a module to be like: at each connection, and at each change.

        `document` has not been checked in any way, nor whether there is such a module; b"" means that it has been
        withdrawn. Nothing is said at a connection about documents that were withdrawn before it.
        """


class Connector(Protocol):
    """One upstream. Built without I/O; a test can build it without a network."""

    def open(self, events: UpstreamEvents) -> None:
        """Begin to connect, for ever and with back-off, and return at once."""

    def publish(self, batch: Sequence[tuple[Ticket, Message]]) -> None:
        """Send these. Only between connected and lost, and never more than the window in total."""

    def set_reported(self, module: str, document: bytes) -> None:
        """Make this the document above that says what a module reports; b"" removes it. At any time, also while down.

        Only the latest of each module is kept, in RAM, and sent until it is acknowledged: within a second, but at
        most every 5 s. A connector that has no place for it above ignores it.
        """

    def status(self) -> dict[str, object]:
        """Return what `microedge status` shows.

        At least type, url, state, reason, since_s, reconnects, in_flight, delivered, refused, reports_pending and
        problems: sentences about what does not come through although the upstream is connected.
        """

    def close(self, done: Callable[[], None], timeout_s: float) -> None:
        """Finish what is under way, say goodbye and call `done` within `timeout_s`.

        What modules reported last still goes out; no new message does.
        """
