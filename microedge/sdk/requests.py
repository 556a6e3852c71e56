"""What this module has asked the hub and waits to be told: numbers out, answers in."""

from __future__ import annotations

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is, without loading typing (0.6 MiB resident)
if TYPE_CHECKING:
    from typing import Any


class Requests:
    """Counts from 1. An answer that nobody waits for any more is ignored."""

    def __init__(self) -> None:
        self._last = 0
        self._answers: dict[int, Any] = {}  # by request id; None while it is awaited

    def begin(self) -> int:
        """Return the id of a new request."""
        self._last += 1
        self._answers[self._last] = None
        return self._last

    def settle(self, request: int, answer: Any) -> None:
        """The answer, which is not None, has come."""
        if request in self._answers:
            self._answers[request] = answer

    def answer(self, request: int) -> Any:
        """Return the answer to a request that is not forgotten, None while there is none."""
        return self._answers[request]

    def forget(self, request: int) -> None:
        """Wait for this answer no longer."""
        del self._answers[request]
