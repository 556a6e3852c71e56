"""Changes of reported properties as messages from /twinChangeNotifications, as edgeHub makes them.

The body is the patch as the module sent it. Such a message takes the way of any other, but nobody waits for its
acknowledgement: what a module reports while too many of its changes are still on their way is not routed, and counted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Protocol

from microedge.message import JSON_ENCODING, JSON_TYPE, Envelope, Message
from microedge.supervisor.held_twin import HeldTwin
from microedge.supervisor.wall_clock import boot_ms, wall_ms

OUTPUT = "twinChangeNotifications"  # where the upstream shows an output
_WINDOW = 256  # messages of one module on their way, as of those that it sends itself
_ENVELOPE = Envelope(OUTPUT, content_type=JSON_TYPE, content_encoding=JSON_ENCODING)


class Surroundings(Protocol):
    """What twins need from the exchange."""

    def route_twin_change(self, message: Message) -> bool: ...
    def drop_twin_change(self, module: str) -> None: ...
    def set_reported(self, module: str, document: bytes) -> None: ...


class TwinChanges:
    """Makes the messages; ids of this run of the supervisor are its own."""

    def __init__(self, exchange: Surroundings) -> None:
        self._exchange = exchange
        self._session = f"twins-{os.urandom(6).hex()}"
        self._sequence = 0
        self._elsewhere = 0  # messages that no route took upstream

    def route(self, held: HeldTwin, patch: Mapping[str, Any]) -> None:
        """Send a message that says what has changed."""
        while held.changes and not held.changes[0].waiting:
            held.changes.popleft()
        if len(held.changes) >= _WINDOW:
            self._exchange.drop_twin_change(held.name)
            return
        self._sequence += 1
        body = json.dumps(patch, separators=(",", ":"), ensure_ascii=False).encode()
        message = Message(_ENVELOPE, body, held.name, self._session, self._sequence, boot_ms(), wall_ms())
        message.elsewhere = self._elsewhere
        if not self._exchange.route_twin_change(message):
            self._elsewhere += 1
        held.changes.append(message)
