"""Which numbers of one run have been seen, as spans without gaps. Pure.

A number is a position: the sequence of a message less the messages before it that had no route upstream. Memory grows
with the gaps, 48 bytes each, not with the messages. In order, a number costs one comparison.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

NEW, LATE, DUPLICATE = "new", "late", "duplicate"


class Gap(NamedTuple):
    """Positions that were not seen: `missing` messages, whose sequences lie in `first`..`last`.

    They are exactly these sequences where their number is `missing`; else others among them had no route upstream.
    `after_ms` and `before_ms` are when the messages around them were made; -1 for no message before.
    """

    missing: int
    first: int
    last: int
    after_ms: int
    before_ms: int


class Spans:
    """Parallel arrays, ascending, one entry per span."""

    __slots__ = ("_first_ms", "_first_sequences", "_firsts", "_last_ms", "_last_sequences", "_lasts")

    def __init__(self) -> None:
        self._firsts, self._lasts = array("q"), array("q")
        self._first_sequences, self._last_sequences = array("q"), array("q")
        self._first_ms, self._last_ms = array("q"), array("q")

    def add(self, position: int, sequence: int, created_ms: int) -> str:
        """Take one position, at least 1; return NEW, LATE (a higher one was seen before) or DUPLICATE."""
        lasts = self._lasts
        highest = lasts[-1] if lasts else 0
        if position == highest + 1 and lasts:
            self._extend(-1, position, sequence, created_ms)
            return NEW
        if position > highest:
            self._insert(len(lasts), position, sequence, created_ms)
            return NEW
        before = bisect_right(self._firsts, position) - 1
        if before >= 0 and position <= lasts[before]:
            return DUPLICATE
        self._fill(before, position, sequence, created_ms)
        return LATE

    @property
    def first_position(self) -> int:
        return self._firsts[0]

    @property
    def first_sequence(self) -> int:
        return self._first_sequences[0]

    @property
    def last_sequence(self) -> int:
        return self._last_sequences[-1]

    @property
    def first_ms(self) -> int:
        return self._first_ms[0]

    @property
    def last_ms(self) -> int:
        return self._last_ms[-1]

    @property
    def missing(self) -> int:
        """How many positions between the first and the last one were not seen."""
        return self._lasts[-1] - self._firsts[0] + 1 - (sum(self._lasts) - sum(self._firsts) + len(self._firsts))

    def gaps(self) -> Iterator[Gap]:
        """Yield what was not seen between the first and the last position, ascending."""
        for index in range(len(self._firsts) - 1):
            yield Gap(
                self._firsts[index + 1] - self._lasts[index] - 1,
                self._last_sequences[index] + 1,
                self._first_sequences[index + 1] - 1,
                self._last_ms[index],
                self._first_ms[index + 1],
            )

    def _fill(self, before: int, position: int, sequence: int, created_ms: int) -> None:
        """Put a position into the gap behind span `before` (-1: ahead of all)."""
        joins_before = before >= 0 and self._lasts[before] == position - 1
        joins_after = self._firsts[before + 1] == position + 1
        if joins_before and joins_after:
            self._join(before)
        elif joins_before:
            self._extend(before, position, sequence, created_ms)
        elif joins_after:
            after = before + 1
            self._firsts[after], self._first_sequences[after], self._first_ms[after] = position, sequence, created_ms
        else:
            self._insert(before + 1, position, sequence, created_ms)

    def _extend(self, index: int, position: int, sequence: int, created_ms: int) -> None:
        self._lasts[index], self._last_sequences[index], self._last_ms[index] = position, sequence, created_ms

    def _join(self, index: int) -> None:
        """Make one span of `index` and the one behind it."""
        for column in (self._lasts, self._last_sequences, self._last_ms):
            del column[index]
        for column in (self._firsts, self._first_sequences, self._first_ms):
            del column[index + 1]

    def _insert(self, index: int, position: int, sequence: int, created_ms: int) -> None:
        for column in (self._firsts, self._lasts):
            column.insert(index, position)
        for column in (self._first_sequences, self._last_sequences):
            column.insert(index, sequence)
        for column in (self._first_ms, self._last_ms):
            column.insert(index, created_ms)
