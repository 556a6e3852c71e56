"""The four kinds of rule, each as what it knows of one source. Pure: values and the time in, votes out.

A test compares with the last value that went on, not with the last one that came: what another rule held back was
never seen by the receiver, so a slow drift adds up until it is told. `vote` says what the rule wants of a value;
`passed` tells it afterwards that the message went on, be it against its vote. Times are monotonic seconds.
"""

from __future__ import annotations

import json
import math
import sys

from .facts import ABSENT, Match  # noqa: TID252 (works under whatever name the runner loads this package)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    class Test(Protocol):
        """What one rule knows of one source."""

        def read(self, raw: Any) -> Any:
            """Return what the rule makes of a field, None when that is nothing it can judge."""

        def vote(self, value: Any, now_s: float) -> bool:
            """Return True if the message should go on. May change state."""

        def passed(self, value: Any, now_s: float) -> None:
            """The message went on."""


_ROUNDING = 4 * sys.float_info.epsilon
_MAX_TOKEN_CHARS = 64


class Rule:
    """One rule as it was written. `path` is None for a rule that looks at no field."""

    __slots__ = ("match", "name", "new_test", "path")

    def __init__(self, name: str, path: tuple[str, ...] | None, match: Match, new_test: Callable[[], Test]) -> None:
        """`new_test` is called once for each source."""
        self.name = name
        self.path = path
        self.match = match
        self.new_test = new_test


class Threshold:
    """Wants what lies above or below a limit. Back inside counts only `hysteresis` away from the limit."""

    def __init__(
        self, above: float | None, below: float | None, hysteresis: float, *, crossings_only: bool, pass_first: bool
    ) -> None:
        self._above = math.inf if above is None else above
        self._below = -math.inf if below is None else below
        self._hysteresis = hysteresis
        self._crossings_only = crossings_only
        self._side = 0  # 1 above, -1 below, 0 inside
        self._told: int | None = None if pass_first else 0

    def read(self, raw: Any) -> float | None:
        return number_of(raw)

    def vote(self, value: float, now_s: float) -> bool:
        if value > self._above:
            self._side = 1
        elif value < self._below:
            self._side = -1
        elif self._is_back(value):
            self._side = 0
        return self._side != self._told if self._crossings_only else self._side != 0

    def passed(self, value: float, now_s: float) -> None:
        self._told = self._side

    def _is_back(self, value: float) -> bool:
        if self._side > 0:
            return value <= self._above - self._hysteresis
        return self._side < 0 and value >= self._below + self._hysteresis


class Deadband:
    """Wants what differs from the last value by `absolute` or by `percent` of it, whichever is more."""

    def __init__(self, absolute: float, percent: float, *, pass_first: bool) -> None:
        self._absolute = absolute
        self._percent = percent
        self._pass_first = pass_first
        self._last: float | None = None

    def read(self, raw: Any) -> float | None:
        return number_of(raw)

    def vote(self, value: float, now_s: float) -> bool:
        last = self._last
        if last is None:
            if not self._pass_first:
                self._last = value  # otherwise there would never be anything to differ from
            return self._pass_first
        change = abs(value - last)
        band = max(self._absolute, abs(last) * self._percent / 100)
        # 20.2 - 20.1 is 0.0999...: a change that reaches the band in the decimals that a person sees counts
        return change > 0 and change + _ROUNDING * max(abs(value), abs(last)) >= band

    def passed(self, value: float, now_s: float) -> None:
        self._last = value


class Rate:
    """Wants nothing for `interval_s` after a message went on."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._last_s = -math.inf

    def read(self, raw: Any) -> bool:
        return True

    def vote(self, value: Any, now_s: float) -> bool:
        return now_s - self._last_s >= self._interval_s

    def passed(self, value: Any, now_s: float) -> None:
        self._last_s = now_s


class Change:
    """Wants what is not equal to the last value, be it a number, a text or a whole object."""

    def __init__(self, *, pass_first: bool) -> None:
        self._pass_first = pass_first
        self._last: object = None

    def read(self, raw: Any) -> object:
        return None if raw is ABSENT else token_of(raw)

    def vote(self, value: object, now_s: float) -> bool:
        if self._last is None:
            if not self._pass_first:
                self._last = value
            return self._pass_first
        return value != self._last

    def passed(self, value: object, now_s: float) -> None:
        self._last = value


def number_of(raw: Any) -> float | None:
    """Return a JSON number as float; None for everything else, true and NaN among it."""
    if type(raw) not in (int, float):
        return None
    try:
        value = float(raw)
    except OverflowError:
        return None
    return value if math.isfinite(value) else None


def token_of(raw: Any) -> object:
    """Return what is equal for equal JSON values, and small: a body of 256 KiB per source is not kept.

    21 equals 21.0, true does not equal 1, and the order of an object's members does not count. A long value becomes
    its length and its hash; that two different ones look the same happens once in 2**64.
    """
    if type(raw) in (int, float) and raw == raw:
        return raw
    try:
        text = json.dumps(raw, sort_keys=True)
    except RecursionError:
        return "nested too deeply"
    return text if len(text) <= _MAX_TOKEN_CHARS else (len(text), hash(text))
