"""The thread that owns the disk: jobs in, results out; an fsync that stalls for seconds stalls nothing else."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from microedge.queue import disk
from microedge.queue.jobs import Ask, Commit, Job, Load, Rescue, Result
from microedge.queue.policy import FRAME_BYTES, Limits, checkpoint_frames
from microedge.queue.schema import PAGE_BYTES
from microedge.queue.store import Store, is_damage, is_full, is_io_error

log = logging.getLogger(__name__)

_FAILURES = 3  # I/O errors in a row until a sector counts as bad: with the pauses in between, some seconds
_ROW_FRAMES = 17  # pages of a row, at most


class Writer:
    """Runs jobs on a thread of its own. `wake` is called there after each result: it must be safe from any thread."""

    def __init__(self, store: Store, limits: Limits, wake: Callable[[], None]) -> None:
        self.pending = 0  # jobs whose result nobody has taken yet
        self._store = store
        self._keep_free_bytes = limits.keep_free_bytes
        self._checkpoint_frames = checkpoint_frames(limits)
        self._wake = wake
        ballast_bytes = min(disk.BALLAST_BYTES, limits.max_bytes // disk.BALLAST_SHARE)
        self._ballast = disk.Ballast(disk.ballast_file(store.file), ballast_bytes)
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._results: SimpleQueue[Result] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="queue-writer", daemon=True)
        self._failures: dict[int, int] = {}  # I/O errors in a row, by first row to load, and 0 for commits
        self._frames = 0  # in the WAL and not yet in the database file, about
        self._is_broken = False  # an I/O error may have left the connection unusable

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queue a job; it belongs to the writer until its result is here. Never blocks."""
        self.pending += 1
        self._jobs.put(job)

    def result(self, timeout_s: float = 0) -> Result | None:
        """Return the next result, in the order of the jobs; None when there is none within the time."""
        try:
            result = self._results.get(block=timeout_s > 0, timeout=timeout_s or None)
        except Empty:
            return None
        self.pending -= 1
        return result

    def stop(self, timeout_s: float) -> bool:
        """Let the thread finish its jobs and end; False when it is still stuck in one after that time."""
        self._jobs.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            result = Result(job)
            try:
                self._execute(job, result)
            except Exception as error:  # the thread's boundary: without it nothing would ever be stored again
                log.exception("queue writer: a job failed in a way nobody expected; it will be tried again")
                result.trouble = f"{type(error).__name__}: {error}"
            self._results.put(result)
            self._wake()

    def _execute(self, job: Job, result: Result) -> None:
        before = disk.thread_written_bytes()
        try:
            self._attempt(job, result, before)
        except (sqlite3.Error, OSError) as error:
            result.trouble = str(error)
            if is_damage(error) or self._is_bad_sector(job, error):
                self._replace(result)
            else:
                self._is_broken = not is_full(error)
        result.written_bytes = disk.thread_written_bytes() - before
        if isinstance(job, Commit) and not before:  # a kernel that does not count
            result.written_bytes = 2 * _estimated_bytes(job)  # once into the WAL, once into the database

    def _replace(self, result: Result) -> None:
        """Begin a new database; where not even the old one can be moved, the disk is the trouble, and not the file."""
        try:
            result.moved_to = self._store.replace()
            self._frames = 0
            self._failures.clear()
        except OSError as error:
            result.trouble = f"{result.trouble}; it cannot be set aside: {error}"
            self._is_broken = True

    def _is_bad_sector(self, job: Job, error: BaseException) -> bool:
        """True when the same job has failed like this again and again: a glitch has passed by then.

        A disk that does not work at all is told from that by `_replace`, which cannot do anything there.
        """
        if not is_io_error(error):
            return False
        key = job.rows[0].id if isinstance(job, Load) else 0
        self._failures[key] = failures = self._failures.get(key, 0) + 1
        return failures >= _FAILURES

    def _attempt(self, job: Job, result: Result, written_before: int) -> None:
        if self._is_broken:
            self._store.reconnect()
            self._is_broken = False
        if isinstance(job, Load):
            result.loaded = self._store.load(job.rows)
            self._failures.pop(job.rows[0].id, None)
            result.is_done = True
            return
        if isinstance(job, Ask):
            result.answer = job.question(self._store)
            result.is_done = True
            return
        if isinstance(job, Rescue):
            result.rescued = self._store.rescue(job)
            self._frames += len(result.rescued.rows) * _ROW_FRAMES
        else:
            self._look_into(job)
            self._commit(job, written_before)
            self._failures.pop(0, None)
        result.is_done = True
        self._checkpoint(isinstance(job, Commit) and job.is_drained)
        self._ballast.make(self._keep_free_bytes)
        result.usage = self._store.usage()
        result.dead = self._store.dead.usage

    def _look_into(self, job: Commit) -> None:
        """Read whose messages go with rows; once, because a full disk may have these deleted before the rest."""
        while job.read < len(job.gone):
            gone = job.gone[job.read]
            job.losses += gone.losses_in(self._store.raw(gone.row_id))
            job.read += 1

    def _commit(self, job: Commit, written_before: int) -> None:
        try:
            self._store.commit(job)
        except sqlite3.Error as error:
            if not is_full(error):
                raise
            self._make_room(job)
            self._store.commit(job)
        written = disk.thread_written_bytes() - written_before
        self._frames += max(1, (written or _estimated_bytes(job)) // FRAME_BYTES)

    def _make_room(self, job: Commit) -> None:
        """On a full disk: give back the ballast and do first what frees pages."""
        self._ballast.release()
        self._store.checkpoint()
        lean = Commit()
        lean.deletes, lean.up_ms = job.deletes, job.up_ms
        lean.waiting = job.waiting - sum(new.row.n for new in job.rows)
        lean.counters, lean.losses = job.counters, job.losses
        if lean.deletes:
            self._store.commit(lean)
            self._store.checkpoint()

    def _checkpoint(self, is_idle: bool) -> None:
        if self._frames >= self._checkpoint_frames or (is_idle and self._frames):
            self._frames = self._store.checkpoint()


def _estimated_bytes(job: Commit) -> int:
    return sum(len(new.data) for new in job.rows) + 3 * PAGE_BYTES
