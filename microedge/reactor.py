"""The part of the supervisor's loop that queue and upstream use, as an interface: a test brings a virtual one.

Import these names for annotations only, so that nobody pays for `typing` who does not need it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A call that has been scheduled."""

    def cancel(self) -> None:
        """Forget the call; harmless when it has already happened."""


class Reactor(Protocol):
    """One thread that waits for descriptors and timers; callbacks run on it, one at a time."""

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None: ...
    def remove_reader(self, fd: int) -> None: ...
    def add_writer(self, fd: int, callback: Callable[[], None]) -> None: ...
    def remove_writer(self, fd: int) -> None: ...
    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer: ...
    def call_soon(self, callback: Callable[[], None]) -> None: ...
    def call_from_thread(self, callback: Callable[[], None]) -> None:
        """Run `callback` on the loop's thread soon; the only method that other threads may call."""
