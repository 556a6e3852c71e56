"""What arrived, held against what must have: gaps, duplicates and order, per run of each module. Pure.

The sequence of a run counts everything its process sent; `elsewhere` of a message says how many before it had no route
upstream. Their difference, the position, therefore has a gap where a message for upstream is missing and nowhere else.

What cannot be known is not called missing: what a run sent after the last message that was seen, and, where the
recording may have begun in its middle, what it sent before the first. It has not begun in the middle of a run if an
earlier run of the same module was seen before: messages of one priority leave the device in order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from microedge.cli.verify_spans import DUPLICATE, LATE, Gap, Spans

NO_TIME_MS = -1


class Sighting(NamedTuple):
    """One message that arrived, as far as it matters here. `created_ms` is NO_TIME_MS if it does not say."""

    device: str  # "" where the recording does not say
    module: str
    session: str  # names the run
    sequence: int
    elsewhere: int
    created_ms: int


class Run:
    """One process of a module instance, as far as its messages were seen."""

    __slots__ = ("device", "duplicates", "is_whole", "late", "module", "received", "session", "spans")

    def __init__(self, device: str, module: str, session: str, *, is_whole: bool) -> None:
        """`is_whole`: it began within the recording, so its first message has to be there."""
        self.device, self.module, self.session = device, module, session
        self.is_whole = is_whole
        self.spans = Spans()
        self.received = 0  # without duplicates
        self.duplicates = 0
        self.late = 0  # seen behind a later one, for the first time

    @property
    def missing(self) -> int:
        return self.spans.missing + (self._before if self.is_whole else 0)

    @property
    def unknown(self) -> int:
        """How many messages came before the first that was seen, and perhaps before the recording."""
        return 0 if self.is_whole else self._before

    @property
    def _before(self) -> int:
        return self.spans.first_position - 1

    def gaps(self) -> Iterator[Gap]:
        """Yield what is missing, ascending."""
        if self.is_whole and self._before:
            yield Gap(self._before, 1, self.spans.first_sequence - 1, NO_TIME_MS, self.spans.first_ms)
        yield from self.spans.gaps()


class Analysis:
    """Takes sightings in the order of their arrival."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, str], Run] = {}
        self._earliest_ms: dict[tuple[str, str], int] = {}  # by device and module

    def take(self, sighting: Sighting) -> None:
        """Count one message. The sequence is greater than `elsewhere`."""
        device, _, session, sequence, elsewhere, created_ms = sighting
        run = self._runs.get((device, session)) or self._begin(sighting)
        outcome = run.spans.add(sequence - elsewhere, sequence, created_ms)
        if outcome is DUPLICATE:
            run.duplicates += 1
            return
        run.received += 1
        if outcome is LATE:
            run.late += 1

    @property
    def runs(self) -> list[Run]:
        """Every run, in the order in which they were seen first."""
        return list(self._runs.values())

    @property
    def received(self) -> int:
        return sum(run.received for run in self._runs.values())

    @property
    def missing(self) -> int:
        return sum(run.missing for run in self._runs.values())

    def _begin(self, sighting: Sighting) -> Run:
        device, module, session, _, _, created_ms = sighting
        earliest_ms = self._earliest_ms.get((device, module))
        # An earlier run's backlog may drain behind the messages of a later one: so its own messages must be the older.
        is_whole = earliest_ms is not None and earliest_ms <= created_ms
        run = self._runs[device, session] = Run(device, module, session, is_whole=is_whole)
        self._earliest_ms[device, module] = created_ms if earliest_ms is None else min(earliest_ms, created_ms)
        return run
