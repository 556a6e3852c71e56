"""The loop's side of a salvage: which rows are missed, and taking them back into their lines as they come."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable

from microedge.queue import policy
from microedge.queue.backlog import Backlog
from microedge.queue.jobs import COUNTED, SALVAGE, Known, Outcome, Rescue, Result
from microedge.queue.line import Line, Row
from microedge.queue.lines import Lines
from microedge.queue.policy import Limits, Newcomer, Usage

log = logging.getLogger(__name__)

_OUTCOMES = 2  # as many as databases are kept


def forget_disk(lines: Lines) -> Known:
    """The database is gone: what is in RAM too waits for a new commit. Return what was only there, and is not counted.

    What comes back takes the place that it had: in front of what came later.
    """
    for entry in lines.leased.values():
        if entry.row is not None:
            entry.row.finish(entry.index)
            entry.row = None
    kept = {line: [entry for entry in line.loaded if entry.message is not None] for line in lines.lines()}
    for entry in (entry for entries in kept.values() for entry in entries):
        if entry.row is not None:
            entry.row.finish(entry.index)
            entry.row = None
    known = {row.id: (row.n, row.done) for line in lines.lines() for row in line.rows()}
    for line, entries in kept.items():
        line.unload()
        line.backlog = Backlog()
        line.fresh.extendleft(reversed(entries))
        lines.notices.append(line.endpoint.name)
    lines.deleted, lines.gone, lines.touched, lines.acks, lines.stored = [], [], {}, 0, 0
    return known


def take_back(lines: Lines, rows: list[tuple[str, int, Row]]) -> None:
    """Put rows that are on disk again into their lines, in the order of their ids."""
    fresh: dict[Line, list[Row]] = {}
    for endpoint, priority, row in rows:
        if row.left:
            fresh.setdefault(lines.endpoint(endpoint).line(priority), []).append(row)
            lines.stored += row.left
        else:
            lines.deleted.append(row.id)
    for line, found in fresh.items():
        line.backlog.put_back(found)
        lines.notices.append(line.endpoint.name)


class Salvager:
    """Has databases salvaged one after the other, a step at a time."""

    def __init__(self, lines: Lines, limits: Limits) -> None:
        self.notes: dict[str, int] = {}  # to be written with the counters of the next commit
        self.outcomes: list[str] = []  # sentences for the status
        self._lines = lines
        self._limits = limits
        self._submit: Callable[[Rescue], None] | None = None
        self._jobs: deque[Rescue] = deque()

    def open(self, submit: Callable[[Rescue], None]) -> None:
        """Begin to work: `submit` hands a job to the writer."""
        self._submit = submit

    @property
    def is_busy(self) -> bool:
        return bool(self._jobs)

    def begin(self, directory: str, known: Known | None, usage: Usage) -> None:
        """Salvage what was set aside in a directory, after what waits for that already."""
        self._jobs.append(Rescue(directory, known))
        if len(self._jobs) == 1:
            self.go_on(usage)

    def go_on(self, usage: Usage) -> None:
        """Take the next step, or the last one again if it failed."""
        if self._jobs and self._submit is not None:
            job = self._jobs[0]
            job.room_bytes = policy.cap_bytes(usage, self._limits) - usage.live - usage.wal
            self._submit(job)

    def stepped(self, job: Rescue, result: Result, usage: Usage, now_ms: int) -> bool:
        """Take in what came of a step that was done; True when a commit comes first, and then the owner's `go_on`."""
        rescued = result.rescued
        if job.is_over:
            self._jobs.popleft()
            self.notes.pop(_key(job.directory), None)
        take_back(self._lines, rescued.rows)
        self._lines.count("evicted", rescued.discarded)
        job.is_without_room = False
        if rescued.needed is not None and self._has_made_room(job, rescued.needed, usage, now_ms):
            return True
        if rescued.outcome is None:
            self.go_on(usage)
            return False
        self._tell(job.directory, rescued.outcome)
        self._lines.count("corrupt", rescued.outcome.lost)
        self._lines.acks += 1  # worth a commit, even if nothing else is
        self.notes[_key(job.directory)] = COUNTED
        job.is_over = True
        return True

    def _has_made_room(self, job: Rescue, needed: Newcomer, usage: Usage, now_ms: int) -> bool:
        """True when rows have been evicted for one that is older: they are gone with the next commit."""
        lines = self._lines
        room = policy.make_room(
            [(line.priority, line.resting()) for line in lines.lines()],
            [needed],
            used_bytes=usage.live + usage.wal,
            limit_bytes=policy.cap_bytes(usage, self._limits),
            now_ms=now_ms,
        )
        lines.remove({row.id for row in room.expired}, "ttl")
        lines.remove({row.id for row in room.evicted}, "evicted")
        job.is_without_room = bool(room.rejected)
        return not room.rejected

    def _tell(self, directory: str, outcome: Outcome) -> None:
        whole = outcome.recovered + outcome.lost
        if outcome.is_exact:
            text = f"{outcome.recovered:,} of {whole:,} messages recovered, {outcome.lost:,} lost"
        else:
            at_least = f"at least {outcome.lost:,}" if outcome.lost else "nobody knows how many"
            text = f"{outcome.recovered:,} messages recovered, {at_least} lost"
        if outcome.repeats:
            text += f"; up to {outcome.repeats:,} may have been delivered before"
        if outcome.letters:
            text += f"; {outcome.letters:,} dead letters recovered"
        self.outcomes = [*self.outcomes, f"database was damaged: {text}; set aside as {directory}"][-_OUTCOMES:]
        log.warning("queue: %s", self.outcomes[-1])


def _key(directory: str) -> str:
    return SALVAGE + os.path.basename(directory)
