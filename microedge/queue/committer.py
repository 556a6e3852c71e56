"""Decides on the loop's thread when to commit, hands the work to the writer, and takes note of what came of it.

One commit is under way at a time; what arrives meanwhile waits for the next one, which then takes all of it. A commit
that failed is tried again as it is, with the same row ids, so that it does no harm if it reached the disk after all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from microedge.message import IMMEDIATE, Message
from microedge.queue import policy
from microedge.queue.away import AwayCount
from microedge.queue.batch import cut_rows
from microedge.queue.jobs import Ask, Commit, Job, Known, Load, Loaded, NewRow, Rescue, Result
from microedge.queue.letter import DeadLetter, DeadUsage
from microedge.queue.line import Entry, Line
from microedge.queue.lines import Lines, stored_bytes
from microedge.queue.losses import Counters, with_losses
from microedge.queue.policy import Limits, Newcomer, Pressure, Usage
from microedge.queue.salvage_lines import Salvager, forget_disk
from microedge.reactor import Reactor, Timer

log = logging.getLogger(__name__)

Submit = Callable[[Job], None]
Saved = Callable[[str], None]
"""Called with "", or with what went wrong."""


class Committer:
    """See the top of this file. Times are ms on the ledger's clock; effects on messages are left in `lines`."""

    def __init__(self, lines: Lines, reactor: Reactor, limits: Limits, linger_ms: int) -> None:
        self.trouble = ""
        self.usage = Usage()
        self.commits = 0
        self.written_bytes = 0
        self.dead = DeadUsage()
        self.next_id = self.next_letter = 1
        self.wall_offset_ms: int | None = None  # to be added to CLOCK_BOOTTIME for the wall clock, once it was right
        self._is_clock_news = False  # the disk does not know it, and has messages that were taken before
        self._lines = lines
        self._reactor = reactor
        self._limits = limits
        self._linger_ms = linger_ms
        self._submit: Submit = _nowhere
        self.salvager = Salvager(lines, limits)
        self._now_ms: Callable[[], int] = int
        self._base_ms = 0
        self._job: Commit | None = None
        self._savers: list[Saved] = []  # wait for the next commit ...
        self._job_savers: list[Saved] = []  # ... or for the one under way
        self._timer: Timer | None = None
        self._is_far = False  # the timer waits for less urgent things than a message
        self._failures = 0
        self._is_closing = False
        self._is_look_due = False
        self._is_urgent = False
        self._is_forced = False  # commit without asking whether it is due
        self._retry_timer: Timer | None = None
        self._held: set[Line] = set()  # lines that could not be read and wait for the next try
        self._away = AwayCount()
        self._acks_since_ms = 0
        self._counted_since_ms: int | None = None  # counters have changed that nothing has taken along
        self._hold_until_ms = 0  # what could not be stored for want of room is not tried again before
        self._noted: Counters = {}  # the counters as the disk has them

    def open(self, submit: Submit, now_ms: Callable[[], int], base_ms: int) -> None:
        """Begin to work: jobs go to `submit`; this boot began at `base_ms`."""
        self._submit, self._now_ms, self._base_ms = submit, now_ms, base_ms
        self.salvager.open(submit)
        self._noted = self._lines.counters()

    def appended(self, message: Message, is_away: bool) -> None:
        """Take note of a message that waits; `is_away`: for an endpoint that takes none now."""
        if (self._timer is None or self._is_far) and message.waiting:
            self._arm(self._linger_ms)
        if is_away and message.waiting:
            self._away.add(message)
            if self._away.is_much:
                self._look_soon()
        if message.envelope.durability == IMMEDIATE:
            self.hurry()

    def hurry(self) -> None:
        """Commit what waits in this turn of the loop, without looking at its age."""
        self._is_urgent = True
        self._look_soon()

    def set_aside(self) -> None:
        """Take note of another letter; many of them do not wait in RAM until their time has come."""
        letters = self._lines.dead
        size = sum(stored_bytes(letter.message) for letter in letters if isinstance(letter.message, Message))
        if len(letters) >= policy.AWAY_MESSAGES or size >= policy.AWAY_BYTES:
            self._is_forced = True
            self._look_soon()

    def when_saved(self, saved: Saved) -> None:
        """Commit all that has changed, without looking at its age, and call `saved` when it is on disk."""
        self._savers.append(saved)
        self._look_soon()

    def ask(self, question: Ask) -> None:
        """Have a question answered from the disk, behind everything that was handed over before."""
        self._submit(question)

    def acked(self, now_ms: int) -> None:
        """Take note that rows on disk have made progress."""
        if not self._acks_since_ms:
            self._acks_since_ms = max(now_ms, 1)
        if self._timer is None:
            self._arm(policy.ACK_AGE_MS)
        if self._lines.acks >= policy.ACKS_PER_COMMIT:
            self._look_soon()

    def clock_is_right(self, offset_ms: int) -> None:
        """Take note of the wall clock: see MessageQueue.clock_is_right."""
        self.wall_offset_ms = offset_ms
        if self._lines.stored:
            self._is_forced = self._is_clock_news = True
            self._look_soon()

    def counted(self, now_ms: int) -> None:
        """Take note that counters have changed: they ride along, or are written alone minutes later."""
        if self._counted_since_ms is None:
            self._counted_since_ms = now_ms
            self._reactor.call_later(policy.COUNTERS_AGE_MS / 1000, self._look_soon)

    def recount_away(self) -> None:
        """Count again what waits for endpoints that are away, after one of them came or went."""
        self._away.recount(self._lines)
        if self._away.is_much:
            self._look_soon()

    def load(self, line: Line) -> None:
        """Have the next rows of a line read, if it is time for that."""
        rows = line.begin_load() if line not in self._held else []
        if rows:
            self._submit(Load(line, list(rows)))

    def finished(self, result: Result) -> None:
        """Take note of what became of a job."""
        self.written_bytes += result.written_bytes
        if result.moved_to:
            log.error("queue database damaged while running: %s; set aside as %s", result.trouble, result.moved_to)
            known = forget_disk(self._lines)
            self._noted = {}
            self._is_forced = True  # what only the damaged database had on disk is in RAM
            self._look_soon()
            self.salvage(result.moved_to, known)
        job = result.job
        if isinstance(job, Load):
            self._loaded(job, result)
        elif isinstance(job, Commit):
            self._committed(job, result)
        elif isinstance(job, Rescue):
            self._rescued(job, result)
        else:
            job.done(result.answer, "" if result.is_done else result.trouble or "the disk gave no answer")

    def salvage(self, directory: str, known: Known | None = None) -> None:
        """Have what was set aside salvaged; `known` is what waited there, where that is known."""
        self.salvager.begin(directory, known, self.usage)

    def start(self, now_ms: int, *, is_last: bool = False) -> bool:
        """Hand one commit to the writer unless one is under way; False when there is nothing to write."""
        if self._job is not None:
            self._retry()
            return True
        job = self._build(now_ms)
        savers, self._savers = self._savers, []
        is_counting = is_last or policy.are_counters_due(self._pressure(), now_ms)
        is_clock_news, self._is_clock_news = self._is_clock_news, False
        if not (job.rows or job.acks or is_clock_news or (is_counting and job.counters)):
            _tell(savers, "")
            return False
        self._counted_since_ms = None
        self._job, self._job_savers = job, savers
        self._submit(job)
        return True

    def close(self) -> None:
        """Decide nothing any more: the owner calls `start` and `finished` by itself."""
        self._is_closing = True
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        """Start a commit if it is due, or come back when it may be."""
        self._is_look_due = False
        if self._is_closing or self._job is not None:
            return
        now_ms = self._now_ms()
        pressure = self._pressure()
        if self._is_forced or self._savers:
            self._is_forced = False
            self.start(now_ms)
            return
        if now_ms >= self._hold_until_ms and policy.is_commit_due(pressure, self._linger_ms, now_ms):
            self.start(now_ms)
            return
        self._is_urgent = self._is_urgent and pressure.oldest_ms is not None
        at_ms = policy.next_look_ms(pressure, self._linger_ms)
        if at_ms is not None:
            self._arm(max(at_ms, self._hold_until_ms, now_ms + 1) - now_ms)

    def _look_soon(self) -> None:
        if not self._is_look_due:
            self._is_look_due = True
            self._reactor.call_soon(self._look)

    def _arm(self, delay_ms: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._is_far = delay_ms > self._linger_ms
        self._timer = self._reactor.call_later(delay_ms / 1000, self._timeout)

    def _timeout(self) -> None:
        self._timer = None
        self._look()

    def _pressure(self) -> Pressure:
        lines = self._lines
        waiting = self._is_urgent, lines.oldest_waiting_ms(), self._away.bytes, self._away.messages
        return Pressure(*waiting, lines.acks, self._acks_since_ms, self._counted_since_ms)

    def _build(self, now_ms: int) -> Commit:
        job = Commit()
        rows, is_cut = cut_rows(self._lines.unsaved(now_ms), self.next_id)
        self.next_id += len(rows)
        self._is_urgent = is_cut and self._is_urgent
        self._away.forget()
        job.rows = self._fitting(rows, now_ms)
        if self._lines.returning:
            for entry in [entry for row in job.rows for entry in row.entries]:
                self._lines.returned(entry)
        self._absorb(job, now_ms)
        return job

    def _fitting(self, rows: list[NewRow], now_ms: int) -> list[NewRow]:
        """Return the rows for which there is room, after removing what may be removed for them."""
        lines = self._lines
        newcomers = [Newcomer(new.line.priority, new.raw_bytes) for new in rows]
        room = policy.make_room(
            [(line.priority, line.resting()) for line in lines.lines()] if rows else (),
            newcomers,
            used_bytes=self.usage.live + self.usage.wal,
            limit_bytes=policy.cap_bytes(self.usage, self._limits),
            now_ms=now_ms,
        )
        lines.remove({row.id for row in room.expired}, "ttl")
        lines.remove({row.id for row in room.evicted}, "evicted")
        for index in room.rejected:
            self._hold_until_ms = now_ms + self._linger_ms
            for entry in rows[index].entries:
                if not entry.ticket:  # a leased one may still be delivered
                    lines.drop(entry, "rejected")
        return [new for index, new in enumerate(rows) if index not in room.rejected]

    def _absorb(self, job: Commit, now_ms: int) -> None:
        """Add everything to a job that rides along for nothing."""
        lines = self._lines
        job.deletes += lines.deleted
        job.gone += lines.gone
        for row in lines.touched.values():
            job.partials[row.id] = row.done.to_bytes((row.n + 7) // 8, "little")
        for row_id in lines.deleted:
            job.partials.pop(row_id, None)
        counters = {**lines.counters(), **self.salvager.notes}
        if counters != self._noted:
            job.counters = counters
        for letter in lines.dead:
            letter.number, self.next_letter = self.next_letter, self.next_letter + 1
        job.dead += lines.dead
        job.undead += lines.undead
        job.acks += lines.acks
        job.up_ms = max(0, now_ms - self._base_ms)
        job.wall_offset_ms = self.wall_offset_ms
        job.waiting = lines.stored + sum(new.row.n for new in job.rows)
        for new in job.rows:
            new.data = b""  # of an attempt before, when another number waited
        job.is_drained = not job.rows and not lines.stored
        lines.deleted, lines.touched, lines.dead, lines.undead, lines.acks = [], {}, [], [], 0
        lines.gone = []
        self._acks_since_ms = 0

    def _committed(self, job: Commit, result: Result) -> None:
        if not result.is_done:
            self._failed(result.trouble)
            savers, self._job_savers, self._savers = self._job_savers + self._savers, [], []
            _tell(savers, result.trouble)
            self._retry_timer = self._reactor.call_later(policy.retry_delay_s(self._failures), self._retry)
            return
        self._recovered()
        self._job = None
        self.commits += 1
        self._lines.losses.settle(job.losses)
        self._noted = with_losses(job.counters, job.losses) or self._noted
        if not result.trouble:
            self.usage, self.dead = result.usage, result.dead
        for new in job.rows:
            self._lines.saved(new.line, new.row, new.entries)
        self._lines.kept(job.dead)
        savers, self._job_savers = self._job_savers, []
        _tell(savers, "")
        if self._lines.acks:
            self.acked(self._now_ms())
        self._look_soon()

    def _retry(self) -> None:
        """Try a failed commit again, if there is one that waits for that."""
        timer, self._retry_timer = self._retry_timer, None
        if timer is not None and self._job is not None:
            timer.cancel()
            self._absorb(self._job, self._now_ms())
            self._submit(self._job)

    def _failed(self, trouble: str) -> None:
        self._failures += 1
        if trouble != self.trouble:
            log.error(
                "queue cannot use its disk: %s; messages wait where they are, next try in %.0f s, at most every %.0f s",
                trouble,
                policy.retry_delay_s(self._failures),
                policy.LAST_RETRY_S,
            )
        self.trouble = trouble

    def _recovered(self) -> None:
        if self.trouble:
            log.warning("queue can use its disk again: failures=%d", self._failures)
        self.trouble, self._failures = "", 0

    def _loaded(self, job: Load, result: Result) -> None:
        line = job.line
        if line.epoch != job.epoch:
            return  # given back meanwhile: the rows are in the backlog again
        line.loading = []
        if not result.is_done:
            self._failed(result.trouble)
            line.backlog.put_back(job.rows)
            self._held.add(line)
            self._reactor.call_later(policy.retry_delay_s(self._failures), lambda: self._load_again(line))
            return
        if self._job is None:  # reading works on a full disk too
            self._recovered()
        for loaded in result.loaded:
            self._take_in(line, loaded)
        self._lines.notices.append(line.endpoint.name)

    def _rescued(self, job: Rescue, result: Result) -> None:
        if not result.is_done:
            self._failed(result.trouble)
            self._reactor.call_later(policy.retry_delay_s(self._failures), self._go_on)
            return
        if not result.trouble:
            self.usage, self.dead = result.usage, result.dead
        if self.salvager.stepped(job, result, self.usage, self._now_ms()):
            self.when_saved(self._counted)

    def _counted(self, trouble: str) -> None:
        if trouble:
            self.when_saved(self._counted)
        else:
            self._go_on()

    def _go_on(self) -> None:
        if not self._is_closing:
            self.salvager.go_on(self.usage)

    def _load_again(self, line: Line) -> None:
        self._held.discard(line)
        if not self._is_closing:
            self.load(line)

    def _take_in(self, line: Line, loaded: Loaded) -> None:
        row = loaded.row
        if not loaded.damage:
            entries = [Entry(message, line, row.at_ms, expires, False) for expires, message in loaded.messages]
            line.fill(row, entries)
            return
        log.error("queue row %d cannot be read: %s; messages=%d counted as corrupt", row.id, loaded.damage, row.left)
        self._lines.forget_row(line, row, "corrupt")
        self._lines.dead.append(DeadLetter(line.endpoint.name, "corrupt", loaded.damage, loaded.data))
        self.acked(self._now_ms())


def _tell(savers: list[Saved], trouble: str) -> None:
    for saved in savers:
        saved(trouble)


def _nowhere(job: Job) -> None:
    raise RuntimeError(f"queue is not open: {type(job).__name__} has nowhere to go")
