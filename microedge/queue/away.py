"""Counts what waits in RAM for endpoints that take nothing now, so that it is committed before it holds anybody up."""

from __future__ import annotations

from microedge.message import Message
from microedge.queue.lines import Lines, stored_bytes
from microedge.queue.policy import AWAY_BYTES, AWAY_MESSAGES


class AwayCount:
    """`bytes` of all of it, and the `messages` of the producer that has most."""

    def __init__(self) -> None:
        self.bytes = self.messages = 0
        self._by_session: dict[str, int] = {}

    @property
    def is_much(self) -> bool:
        return self.messages >= AWAY_MESSAGES or self.bytes >= AWAY_BYTES

    def add(self, message: Message) -> None:
        """Count one more."""
        count = self._by_session[message.session] = self._by_session.get(message.session, 0) + 1
        self.messages = max(self.messages, count)
        self.bytes += stored_bytes(message)

    def forget(self) -> None:
        """Begin again: a commit has taken everything."""
        self.bytes = self.messages = 0
        self._by_session.clear()

    def recount(self, lines: Lines) -> None:
        """Count again, after an endpoint came or went."""
        self.forget()
        for endpoint in lines.endpoints.values():
            for line in endpoint.lines if not endpoint.is_live else ():
                for entry in line.fresh:
                    if entry.message is not None and entry.is_waiting:
                        self.add(entry.message)
