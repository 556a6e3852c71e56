"""The index of rows on disk, oldest first; pure.

One row per commit is 120,000 rows in a week offline, and a Python object of each would take 27 MB of RAM. So the
objects are made when somebody looks at them, from 32 bytes per row: only rows that were given back, and those that
are done in part, are kept as objects. Merging small rows on disk instead was weighed, not measured: it would write
every byte twice, by our estimate a fifth more at ten messages per second, and a damaged page would take more with it.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Container, Iterable, Iterator
from itertools import chain

_SPARE = 1024  # entries of rows that have left are cut off when there are so many, and no more than half is left


class Row:
    """The index entry of one row on disk. Rows are equal when their ids are.

    `done` is a bit set of the positions that are finished, `left` counts the others. `handed` counts the messages at
    its beginning that are leased or were loaded.
    """

    __slots__ = ("at_ms", "done", "expires_ms", "handed", "id", "left", "n", "size")

    def __init__(self, row_id: int, n: int, size: int, at_ms: int, expires_ms: int) -> None:
        self.id = row_id
        self.n = n
        self.left = n
        self.size = size  # stored bytes
        self.at_ms = at_ms  # when the oldest message in it was appended
        self.expires_ms = expires_ms  # when the last message in it expires
        self.done = 0
        self.handed = 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def finish(self, index: int) -> None:
        """Mark one message as finished; harmless when it was."""
        bit = 1 << index
        if not self.done & bit:
            self.done |= bit
            self.left -= 1


class Backlog:
    """Rows in the order of their ids. To change one that came from here, use `change`: it may be a copy."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._oldest: deque[Row] = deque()  # given back
        self._touched: dict[int, Row] = {}  # packed rows of which something is done
        self._begin = 0  # where the packed rows begin
        self._ids = array("q")
        self._counts = array("I")
        self._sizes = array("I")
        self._times_ms = array("q")
        self._expiries_ms = array("q")
        for row in rows:
            self.append(row)

    def __len__(self) -> int:
        return len(self._oldest) + len(self._ids) - self._begin

    def __iter__(self) -> Iterator[Row]:
        return chain(self._oldest, map(self._row, range(self._begin, len(self._ids))))

    @property
    def messages(self) -> int:
        """How many messages of these rows are not finished."""
        packed = sum(self._counts[self._begin :]) - sum(row.n - row.left for row in self._touched.values())
        return packed + sum(row.left for row in self._oldest)

    def append(self, row: Row) -> None:
        """Add the youngest row."""
        if row.done or row.handed:
            self._touched[row.id] = row
        self._ids.append(row.id)
        self._counts.append(row.n)
        self._sizes.append(row.size)
        self._times_ms.append(row.at_ms)
        self._expiries_ms.append(row.expires_ms)

    def put_back(self, rows: Iterable[Row]) -> None:
        """Add rows where they belong, without those that are finished; for the oldest ones that is cheap."""
        found = sorted((row for row in rows if row.left), key=_id_of)
        first = next(iter(self), None)
        if first is None or not found or found[-1].id < first.id:
            self._oldest.extendleft(reversed(found))
        else:
            self._begin_again(sorted((*self, *found), key=_id_of))

    def popleft(self) -> Row:
        """Remove and return the oldest row.

        Raises:
            IndexError: there is none.
        """
        if self._oldest:
            return self._oldest.popleft()
        row = self._row(self._begin)
        self._touched.pop(row.id, None)
        self._begin += 1
        if self._begin >= _SPARE and 2 * self._begin >= len(self._ids):
            for column in (self._ids, self._counts, self._sizes, self._times_ms, self._expiries_ms):
                del column[: self._begin]
            self._begin = 0
        return row

    def take_back(self) -> None:
        """Nothing of these rows is leased any more."""
        for row in (*self._oldest, *self._touched.values()):
            row.handed = 0

    def change(self, row: Row) -> None:
        """Take over what was finished in a row from here."""
        if row not in self._oldest:
            self._touched[row.id] = row

    def remove(self, row_ids: Container[int]) -> None:
        """Remove rows by id."""
        if row_ids:
            self._begin_again(row for row in self if row.id not in row_ids)

    def _begin_again(self, rows: Iterable[Row]) -> None:
        self.__dict__.update(Backlog(rows).__dict__)  # the same object, because others may hold on to it

    def _row(self, at: int) -> Row:
        row_id = self._ids[at]
        row = self._touched.get(row_id)
        if row is None:
            row = Row(row_id, self._counts[at], self._sizes[at], self._times_ms[at], self._expiries_ms[at])
        return row


def _id_of(row: Row) -> int:
    return row.id
