"""What did not arrive, by module and reason, and the gaps that the upstream has not been told of yet; pure.

Counters and gaps are written with the commit that removes what they count, so a crash neither loses nor repeats them.
A row on disk does not say whose messages it holds until somebody reads it: what goes with a whole row is counted under
the module "" first, and under its producers once the writer has read the row, in the commit that deletes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Union

from microedge.message import Message
from microedge.queue.record import decode

DROPPED, GAP = "dropped.", "gap."  # keys on disk: dropped.<reason>.<module>, gap.<reason>.<module>
UNKNOWN = ""  # the module of messages that nobody has read, or can read

Key = tuple[str, str]  # module, reason
Counters = dict[str, Union[int, str]]
"""As the disk has them: numbers, and gaps as JSON, "" for one that has been told."""


class Gap(NamedTuple):
    """Messages of one module that the upstream will not get. Times are wall-clock ms since the epoch, -1 unknown.

    `first` and `last` are session and sequence of the earliest and the latest message; "" and 0 where unknown.
    """

    n: int
    from_ms: int = -1
    to_ms: int = -1
    first: tuple[str, int] = ("", 0)
    last: tuple[str, int] = ("", 0)

    def plus(self, other: Gap) -> Gap:
        """Return both as one gap; `other` was noted later."""
        if self.from_ms < 0 or other.from_ms < 0:
            known = other if self.from_ms < 0 else self
            return known._replace(n=self.n + other.n)
        earliest = min(self, other, key=lambda gap: gap.from_ms)
        latest = max(other, self, key=lambda gap: gap.to_ms)
        n = self.n + other.n
        return Gap(n, earliest.from_ms, latest.to_ms, earliest.first, latest.last)


class Gone(NamedTuple):
    """Messages that were dropped with a row on disk: `mask` has a bit for the position of each."""

    row_id: int
    reason: str
    mask: int
    is_upstream: bool

    def losses_in(self, data: bytes) -> list[Loss]:
        """Return what was lost of each module, [] when the bytes are no row: nobody will ever know whose it was."""
        try:
            return self.losses(message for _, message in decode(data)[1])
        except ValueError:
            return []

    def losses(self, messages: Iterable[Message]) -> list[Loss]:
        """Return what was lost of each module; `messages` are all of the row, in order."""
        gaps: dict[str, Gap] = {}
        for index, message in enumerate(messages):
            if self.mask >> index & 1:
                gap, known = gap_of(message), gaps.get(message.module)
                gaps[message.module] = known.plus(gap) if known is not None else gap
        return [Loss(module, self.reason, gap, self.is_upstream) for module, gap in gaps.items()]


class Loss(NamedTuple):
    """A part of a row that is now known to be one module's."""

    module: str
    reason: str
    gap: Gap
    is_upstream: bool


def gap_of(message: Message) -> Gap:
    """Return the gap that one missing message leaves."""
    place = message.session, message.sequence
    return Gap(1, message.created_ms, message.created_ms, place, place)


class Losses:
    """Counts and gaps in RAM. `due` holds what the upstream is to be told, `told` what is on its way there."""

    def __init__(self) -> None:
        self.counts: dict[Key, int] = {}
        self.due: dict[Key, Gap] = {}
        self.told: dict[Key, Gap] = {}
        self._closed: set[Key] = set()  # gaps that the disk may still have

    def count(self, module: str, reason: str, n: int) -> None:
        """Count `n` messages; below 0 when they are back."""
        if n:
            self.counts[module, reason] = self.counts.get((module, reason), 0) + n

    def note(self, message: Message, reason: str, is_upstream: bool) -> None:
        """Count one message; the upstream will be told if it was meant for it."""
        self.count(message.module, reason, 1)
        if is_upstream:
            self.open_gap(message.module, reason, gap_of(message))

    def open_gap(self, module: str, reason: str, gap: Gap) -> None:
        """Note a gap to tell the upstream of; one of the same module and reason that waits becomes longer."""
        known = self.due.get((module, reason))
        self.due[module, reason] = known.plus(gap) if known is not None else gap

    def close_gap(self, key: Key) -> None:
        """Take note that the upstream knows of the gap that it was told."""
        if self.told.pop(key, None) is not None:
            self._closed.add(key)

    def settle(self, losses: Iterable[Loss]) -> None:
        """Count what went with rows under the modules that it belonged to."""
        for loss in losses:
            self.count(UNKNOWN, loss.reason, -loss.gap.n)
            self.count(loss.module, loss.reason, loss.gap.n)
            if loss.is_upstream:
                self.open_gap(loss.module, loss.reason, loss.gap)

    def by_reason(self) -> dict[str, int]:
        """Return the sums over all modules."""
        sums: dict[str, int] = {}
        for (_, reason), n in self.counts.items():
            sums[reason] = sums.get(reason, 0) + n
        return {reason: n for reason, n in sums.items() if n}

    def by_module(self) -> dict[str, dict[str, int]]:
        """Return what is not 0, by module and reason; the module "" stands for what cannot be told."""
        modules: dict[str, dict[str, int]] = {}
        for (module, reason), n in sorted(self.counts.items()):
            if n:
                modules.setdefault(module, {})[reason] = n
        return modules

    def counters(self) -> Counters:
        """Return everything as the disk is to have it."""
        counters: Counters = {key_of(DROPPED, key): n for key, n in self.counts.items()}
        counters.update((key_of(GAP, key), "") for key in self._closed)
        for key in (*self.due, *self.told):
            counters[key_of(GAP, key)] = _to_text(_both(self.told.get(key), self.due.get(key)))
        return counters

    def take_over(self, counters: Mapping[str, object]) -> None:
        """Go on with what an earlier run has left on disk."""
        for name, value in counters.items():
            for prefix in (DROPPED, GAP):
                if name.startswith(prefix):
                    reason, _, module = name[len(prefix) :].partition(".")
                    self._take(prefix, (module, reason), value)

    def _take(self, prefix: str, key: Key, value: object) -> None:
        if prefix == DROPPED and isinstance(value, int):
            self.count(*key, value)
        gap = _from_text(value) if prefix == GAP and isinstance(value, str) else None
        if gap is not None:
            self.open_gap(*key, gap)


def with_losses(counters: Counters, losses: Iterable[Loss]) -> Counters:
    """Return counters for the disk in which rows that were read meanwhile are counted under their modules."""
    settled = Losses()
    settled.take_over(counters)
    settled.settle(losses)
    return {**counters, **settled.counters()}


def key_of(prefix: str, key: Key) -> str:
    """Return the key on disk; the module comes last, because only reasons are our own words."""
    module, reason = key
    return f"{prefix}{reason}.{module}"


def _both(first: Gap | None, second: Gap | None) -> Gap:
    if first is None or second is None:
        return first or second or Gap(0)
    return first.plus(second)


def _to_text(gap: Gap) -> str:
    return json.dumps(gap, separators=(",", ":"))


def _from_text(text: str) -> Gap | None:
    """Return the gap; None for one that was told, or that damage has changed: the counters say how much it was."""
    try:
        count, from_ms, to_ms, (first, first_number), (last, last_number) = json.loads(text)
        times = int(count), int(from_ms), int(to_ms)
        return Gap(*times, (str(first), int(first_number)), (str(last), int(last_number)))
    except (ValueError, TypeError):
        return None
