"""How long to wait before the next attempt: exponential, with full jitter. Pure; randomness is an argument."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Backoff:
    """Delays drawn between `first_s` and a ceiling that doubles from 2 * `first_s` up to `max_s`.

    Jitter over the whole range, because a fleet that lost its broker at one moment must not come back at one moment.
    """

    def __init__(self, random: Callable[[], float], *, first_s: float = 1.0, max_s: float = 60.0) -> None:
        """`random` returns a number from 0 to 1."""
        self._random = random
        self._first_s = first_s
        self._max_s = max_s
        self._ceiling_s = 2 * first_s

    def next_s(self) -> float:
        """Return the seconds to wait now, and widen the range for the next time."""
        ceiling_s = min(self._ceiling_s, self._max_s)
        self._ceiling_s = min(self._ceiling_s * 2, self._max_s)
        return self._first_s + self._random() * (ceiling_s - self._first_s)

    def reset(self) -> None:
        """Start from the shortest delays again: the last connection was a good one."""
        self._ceiling_s = 2 * self._first_s
