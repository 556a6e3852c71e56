"""How long messages have really waited: a clock that neither jumps nor restarts; pure.

A board without a clock chip believes it is 1970 until the network tells it otherwise, so ages are never taken from
the wall clock. Within one boot CLOCK_BOOTTIME tells them exactly. Across boots the recorded uptimes are added up; how
long the board was off is unknown and counts nothing: a message is rather kept too long than dropped too early.
"""

from __future__ import annotations

from microedge.message import CORRECTED, UNSYNCED, Message


class Ledger:
    """Turns (boot number, CLOCK_BOOTTIME ms) into ms on one line of time. Rows must be shown in order of age."""

    def __init__(self, boots: dict[int, tuple[str, int]]) -> None:
        """`boots` maps a boot's number to its id and the longest uptime that was recorded for it, in ms."""
        self._up_ms = {number: up_ms for number, (_, up_ms) in boots.items()}
        self._numbers = {boot_id: number for number, (boot_id, _) in boots.items()}
        self._bases: dict[int, int] = {}

    def saw(self, boot: int, at_ms: int) -> int:
        """Note that `boot` was up at `at_ms`, and return that moment on the line of time."""
        base_ms = self.base_ms(boot)
        if at_ms > self._up_ms.get(boot, 0):
            self._up_ms[boot] = at_ms
        return base_ms + at_ms

    def base_ms(self, boot: int) -> int:
        """Return where `boot` begins on the line of time: the uptimes of all boots before it."""
        base_ms = self._bases.get(boot)
        if base_ms is None:
            base_ms = self._bases[boot] = sum(up for number, up in self._up_ms.items() if number < boot)
        return base_ms

    def number_of(self, boot_id: str) -> int:
        """Return the number of the boot with this id: a new one if it was never seen. Ask after the last row."""
        number = self._numbers.get(boot_id)
        if number is None:
            number = self._numbers[boot_id] = max((0, *self._up_ms, *self._numbers.values())) + 1
        return number


def carry_over(message: Message, shift_ms: int, offset_ms: int | None) -> None:
    """Put the times of a message of another boot on the clocks of this one.

    That boot began `shift_ms` from this one's beginning (below 0: before) on the ledger's line of time; what was to be
    added to its CLOCK_BOOTTIME for milliseconds since the epoch was `offset_ms`, None if that was never known.
    """
    if offset_ms is not None and message.time_quality == UNSYNCED and message.taken_ms >= 0:
        message.created_ms = max(0, message.taken_ms + offset_ms)
        message.time_quality = CORRECTED
    message.taken_ms = min(-1, message.taken_ms + shift_ms)
