"""The module's client, the real one, with an eye on what callbacks raise: the SDK answers for it, a test wants it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from microedge.message import Message
from microedge.sdk.client import ModuleClient
from microedge.sdk.link import Link

Note = Callable[[BaseException], None]


class RecordingClient(ModuleClient):
    """Gives what callbacks of inputs and methods raise to `note`, and lets it go on to where it always goes."""

    def __init__(self, link: Link, start: dict[str, Any], note: Note) -> None:
        super().__init__(link, start)
        self._note = note

    def on_input(self, name: str, callback: Callable[[Message], object]) -> None:
        """As of a client."""
        super().on_input(name, noted(callback, self._note))

    def on_method(self, name: str, callback: Callable[[Any], object]) -> None:
        """As of a client."""
        super().on_method(name, noted(callback, self._note))


def noted(callback: Callable[[Any], object], note: Note) -> Callable[[Any], object]:
    """Return a callback that does the same, and notes what it raises."""

    def call(argument: Any) -> object:
        try:
            return callback(argument)
        except Exception as error:
            note(error)
            raise

    return call
