"""Rules for the members of a reading: scale, offset, plausible range, unit. Pure."""

from __future__ import annotations

from microedge.serial.decoding import MAX_NUMBER
from microedge.serial.errors import FORMAT, IMPLAUSIBLE, DecodeError, printable

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is, without loading typing (0.6 MiB resident)
if TYPE_CHECKING:
    from collections.abc import Sequence

    from microedge.serial.decoding import Reading


class FieldRule:
    """What holds for one member: its value is `raw * scale + offset`, and lies between `low` and `high` inclusive."""

    __slots__ = ("high", "is_transform", "low", "name", "offset", "scale", "unit")

    def __init__(
        self,
        name: str,
        *,
        scale: float = 1.0,
        offset: float = 0.0,
        unit: str = "",
        range: tuple[float, float] = (-MAX_NUMBER, MAX_NUMBER),  # noqa: A002 (the word that users write)
    ) -> None:
        """Raise ValueError for a range that is upside down. `unit` is for the receiver, nothing is converted by it."""
        low, high = range
        if not low <= high:
            raise ValueError(f"range = {list(range)!r}: expected [lowest, highest]")
        self.name, self.scale, self.offset, self.unit = name, scale, offset, unit
        self.low, self.high = low, high
        self.is_transform = scale != 1 or offset != 0


def apply_rules(reading: Reading, rules: Sequence[FieldRule]) -> None:
    """Change `reading` in place as the rules say. A member that is absent or null is left alone.

    Raises:
        DecodeError: implausible where a value is out of range, format where it is no number. One such value makes the
            whole reading untrustworthy: whatever damaged it came over the same wire.
    """
    for rule in rules:
        value = reading.get(rule.name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise DecodeError(FORMAT, f"{printable(rule.name, 40)} = {printable(value, 40)!r}: expected a number")
        if rule.is_transform:
            # 12 significant digits are more than any sensor has, and hide that 3 * 0.1 is 0.30000000000000004
            value = reading[rule.name] = float(f"{value * rule.scale + rule.offset:.12g}")
        if not rule.low <= value <= rule.high:
            allowed = f"[{rule.low:g}, {rule.high:g}]"
            raise DecodeError(IMPLAUSIBLE, f"{printable(rule.name, 40)} = {value:g}: expected it in {allowed}")
