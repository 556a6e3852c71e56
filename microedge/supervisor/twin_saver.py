"""Brings twins to the card and people's edits of their files back: on a thread, because an fsync may take seconds.

When a twin is written says its `SaveTimer`; this class asks it after every change. Whatever is due in one turn of the
loop goes to the thread as one batch, and the next batch follows when that is done, so each file is touched by one
thread at a time and each device writes one twin at a time. Every job looks for an edit first: a file that somebody
has changed is never written before the change has been taken over or kept as refused.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from microedge.errors import printable
from microedge.reactor import Reactor
from microedge.supervisor.held_twin import SAVE, HeldTwin

if TYPE_CHECKING:
    from microedge.twin.file import TwinFile
    from microedge.twin.twin import Snapshot

log = logging.getLogger(__name__)

_QUIET_S = 0.3  # without a change before an edited file is read: an editor that writes in place takes a moment
_UNSETTLED_MAX = 20  # looks; then a file that is written again and again is taken as it is
_LAST_ROUNDS = 3  # at the end: write; or take over an edit, and write that


@dataclass(frozen=True)
class _Job:
    """What the thread does to one file: look for an edit, then write `snapshot`."""

    held: HeldTwin
    file: TwinFile
    snapshot: Snapshot | None  # None: only look for an edit
    refused: bytes | None
    is_patient: bool  # leave a file alone that is just being written


@dataclass(frozen=True)
class _Outcome:
    """What came of it; `error` is "" or why nothing did."""

    edit: bytes | None = None
    is_written: bool = False
    is_unsettled: bool = False
    error: str = ""


class TwinSaver:
    """Lives on the loop's thread, but for the thread that exists while something is written."""

    def __init__(
        self,
        reactor: Reactor,
        edited: Callable[[HeldTwin, bytes], None],
        saved: Callable[[HeldTwin], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`edited` is given the text of a file that a person has changed; `saved` is called after each attempt."""
        self._reactor = reactor
        self._edited, self._saved = edited, saved
        self._clock = clock
        self._due: dict[str, HeldTwin] = {}
        self._batch: list[_Job] = []
        self._thread: threading.Thread | None = None
        self._is_start_due = False

    def consider(self, held: HeldTwin) -> None:
        """Save it when it is time; to be called after every change. Never blocks."""
        if held.file is None or held.is_saving:  # when the write is over, it is asked about again
            return
        now_ms = self._now_ms()
        due_ms = held.timer.due_ms(held.twin.dirty, now_ms)
        if due_ms == held.due_ms and held.alarm is not None:
            return
        self.forget(held)
        if due_ms is None:
            return
        if due_ms <= now_ms:
            self._put(held)
        else:
            held.due_ms = due_ms
            held.alarm = self._reactor.call_later((due_ms - now_ms + 1) / 1000, lambda: self._put(held))

    def look(self, held: HeldTwin) -> None:
        """Find out soon whether somebody has edited the file. Costs one stat if not, as after our own writes."""
        if held.file is None:
            return
        if held.is_saving:
            held.wants_look = True  # the file is the thread's
        elif held.file.is_touched:
            self._enqueue(held)

    def forget(self, held: HeldTwin) -> None:
        """Write it no more, unless it is being written just now."""
        if held.alarm is not None:
            held.alarm.cancel()
        held.alarm = held.due_ms = None
        self._due.pop(held.name, None)

    def close(self, helds: Iterable[HeldTwin], timeout_s: float) -> bool:
        """Write everything, at most `timeout_s`; False when the card did not take it. The loop has ended."""
        deadline_s = time.monotonic() + timeout_s
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                return False
            self._thread = None
            self._settle_last(self._batch, self._outcomes)
        waiting = [held for held in helds if held.file is not None]
        for _ in range(_LAST_ROUNDS):
            jobs = [self._job(held, is_last=True) for held in waiting if not held.twin.is_settled or held.refused]
            if not jobs or not self._run_last(jobs, deadline_s):
                break
        return all(held.twin.is_settled for held in waiting)

    # --- On the loop's thread ---

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    def _put(self, held: HeldTwin) -> None:
        held.alarm = held.due_ms = None
        self._enqueue(held)

    def _enqueue(self, held: HeldTwin) -> None:
        self._due[held.name] = held
        self._start_soon()

    def _start_soon(self) -> None:
        if not self._is_start_due and self._thread is None:
            self._is_start_due = True
            self._reactor.call_soon(self._start)

    def _start(self) -> None:
        self._is_start_due = False
        if self._thread is not None or not self._due:
            return
        due, self._due = self._due, {}
        self._batch = [self._job(held) for held in due.values()]
        self._outcomes: list[_Outcome] = []
        self._thread = threading.Thread(target=self._run, args=(self._batch,), name="twin-files", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no more threads for this user: then the loop waits for the card this once
            self._thread = None
            self._settle(self._batch, [_carry_out(job) for job in self._batch])

    def _job(self, held: HeldTwin, *, is_last: bool = False) -> _Job:
        from microedge.twin.saving import Urgency

        now_ms = self._now_ms()
        due_ms = held.timer.due_ms(held.twin.dirty, now_ms)
        must_write = is_last or (held.twin.dirty is not Urgency.NOTHING and due_ms is not None and due_ms <= now_ms)
        snapshot = held.twin.snapshot(is_last=is_last) if must_write else None
        if snapshot is not None:
            held.timer.started(now_ms)
        held.is_saving, held.wants_look = True, False
        assert held.file is not None
        return _Job(held, held.file, snapshot, held.refused, is_patient=not is_last and held.unsettled < _UNSETTLED_MAX)

    def _written(self, batch: list[_Job], outcomes: list[_Outcome]) -> None:
        if self._thread is None:  # `close` has already taken these
            return
        self._thread.join()  # it has nothing left to do
        self._thread = None
        self._settle(batch, outcomes)
        if self._due:
            self._start_soon()

    def _settle(self, batch: list[_Job], outcomes: list[_Outcome]) -> None:
        for job, outcome in zip(batch, outcomes):
            self._take(job, outcome)
            if outcome.is_unsettled:
                self._reactor.call_later(_QUIET_S, self._look_again(job.held))
            else:
                self.consider(job.held)
            if job.held.wants_look:
                self.look(job.held)
            self._saved(job.held)

    def _look_again(self, held: HeldTwin) -> Callable[[], None]:
        return lambda: self.look(held)

    def _take(self, job: _Job, outcome: _Outcome) -> None:
        held = job.held
        held.is_saving = False
        held.unsettled = held.unsettled + 1 if outcome.is_unsettled else 0
        if outcome.error:
            self._failed(job, outcome.error)
            return
        if not outcome.is_unsettled and held.refused is job.refused:
            held.refused = None  # it is kept beside the file now
        if outcome.is_written and job.snapshot is not None:
            held.twin.saved(job.snapshot)
            if held.problems.pop(SAVE, ""):
                log.info("twin of %s is saved again", held.name)
        if outcome.edit is not None:
            self._edited(held, outcome.edit)

    def _failed(self, job: _Job, error: str) -> None:
        held = job.held
        if job.snapshot is None:  # it could not even be looked at
            held.twin.must_save()
        held.timer.failed(self._now_ms())
        text = f"{job.file.path} cannot be saved: {error}; changes since the last save live in RAM alone"
        if held.problems.get(SAVE) != text:
            log.error("twin of %s: %s", held.name, text)
        held.problems[SAVE] = text

    # --- The last time, and the thread ---

    def _settle_last(self, batch: list[_Job], outcomes: list[_Outcome]) -> None:
        for job, outcome in zip(batch, outcomes):
            self._take(job, outcome)

    def _run_last(self, jobs: list[_Job], deadline_s: float) -> bool:
        outcomes: list[_Outcome] = []
        thread = threading.Thread(target=lambda: outcomes.extend(map(_carry_out, jobs)), name="twin-files", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            outcomes.extend(map(_carry_out, jobs))
        else:
            thread.join(max(0.0, deadline_s - time.monotonic()))
        self._settle_last(jobs, outcomes)
        return len(outcomes) == len(jobs)

    def _run(self, batch: list[_Job]) -> None:
        outcomes = self._outcomes
        for job in batch:
            outcomes.append(_carry_out(job))
        self._reactor.call_from_thread(lambda: self._written(batch, outcomes))


def _carry_out(job: _Job) -> _Outcome:
    file = job.file
    try:
        if job.is_patient and file.is_unsettled(_QUIET_S):
            return _Outcome(is_unsettled=True)
        if job.refused is not None:
            file.keep_refused(job.refused)
        edit = file.read_edit()
        if edit is not None or job.snapshot is None:
            return _Outcome(edit)
        if file.write(job.snapshot.render()):
            return _Outcome(is_written=True)
        return _Outcome(file.read_edit())  # edited in this very moment
    except OSError as error:
        return _Outcome(error=str(error.strerror or error))
    except ValueError as error:  # no twin holds what JSON or UTF-8 cannot write; if one did, the others are still saved
        return _Outcome(error=printable(error))
