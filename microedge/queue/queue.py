"""The store-and-forward queue as the supervisor uses it: lines in RAM, a committer that decides, a writer for the disk.

Everything here runs on the loop's thread and none of it blocks, except `open` and `close`.

    append -> fresh -> lease -> ack                          the upstream is there: the disk is never touched
    append -> fresh -> commit -> settled -> load -> lease -> ack -> the next commit deletes          it is away
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from microedge.message import Message, Target, Ticket
from microedge.names import UPSTREAM
from microedge.queue import status
from microedge.queue.committer import Committer
from microedge.queue.gaps import FIRST_S, NEXT_S, GapRecords
from microedge.queue.lines import Lines
from microedge.queue.policy import Limits
from microedge.queue.turns import NO_LIMIT, STRICT_RULE, Rule
from microedge.reactor import Reactor, Timer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from microedge.queue.store import Contents, Store
    from microedge.queue.upkeep import Upkeep
    from microedge.queue.writer import Writer

SWEEP_S = 60.0  # how often rows on disk are looked through for expired ones; a lease looks at each message anyway

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class QueueSettings:
    """Where the queue lives and what it may take. `max_bytes` counts database, WAL and damaged files set aside.

    `keep_free_bytes` of the file system stay free for others. `linger_ms` is how long a message may wait in RAM for its
    acknowledgement before it is committed. `rule` says whose turn it is.
    """

    file: str
    max_bytes: int
    keep_free_bytes: int
    linger_ms: int = 5000
    rule: Rule = STRICT_RULE


class QueueEvents(Protocol):
    """What the queue tells its owner, always on the loop's thread, several messages at once where it can."""

    def queue_settled(self, messages: Sequence[Message]) -> None:
        """Every endpoint has acknowledged these or they are fsynced; they were accepted, come what may."""

    def queue_available(self, endpoint: str) -> None:
        """Something can be leased for this endpoint that could not be before."""


def boottime_s() -> float:
    """Return seconds since boot, suspend included; never steps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def read_boot_id() -> str:
    """Return what names this boot of the machine."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


class MessageQueue:
    """A durable queue per endpoint and priority. A method that does not say what it raises, raises nothing."""

    def __init__(
        self,
        settings: QueueSettings,
        reactor: Reactor,
        events: QueueEvents,
        *,
        clock: Callable[[], float] = boottime_s,
        boot_id: Callable[[], str] = read_boot_id,
        page_limit: int = 0,
    ) -> None:
        """Store the arguments. `clock` gives seconds of one boot; `page_limit` caps the file in pages of 4096 bytes."""
        self._settings = settings
        self._reactor = reactor
        self._events = events
        self._clock = clock
        self._boot_id = boot_id
        self._page_limit = page_limit
        self._base_ms = 0
        self._lines = Lines(settings.rule)
        self._gaps = GapRecords(self._lines.losses, os.urandom(6).hex())
        self._gap_timer: Timer | None = None
        self._told_ms = -int(NEXT_S * 1000)  # when gaps were told last
        limits = Limits(settings.max_bytes, settings.keep_free_bytes)
        self._committer = Committer(self._lines, reactor, limits, settings.linger_ms)
        self._store: Store | None = None
        self._writer: Writer | None = None
        self._is_flush_due = False
        self._is_sweeping = False
        self._notice = ""

    def open(self) -> None:
        """Open or create the database, read the index of what waits there, and start the writer thread.

        Blocks: well under a second for a million messages; longer after an unclean stop, when a database of up to 8
        MiB is checked first. A damaged database is set aside, logged as an error and named in `status`.

        Raises:
            QueueDamaged: the file belongs to another program or a later version; it was left alone.
            QueueError: it is in use, or cannot be opened or created.
        """
        from microedge.queue.dead import MAX_BYTES
        from microedge.queue.schema import PAGE_BYTES
        from microedge.queue.store import Store  # brings SQLite, which a mere import should not
        from microedge.queue.writer import Writer

        settings = self._settings
        limits = Limits(settings.max_bytes, settings.keep_free_bytes)
        self._store = store = Store(
            settings.file,
            self._boot_id(),
            page_limit=self._page_limit or settings.max_bytes // PAGE_BYTES * 5 // 4,
            max_dead_bytes=min(MAX_BYTES, settings.max_bytes // 10),
            max_aside_bytes=settings.max_bytes // 4,
        )
        contents = store.open(int(self._clock() * 1000))
        self._base_ms = store.base_ms
        self._take_over(contents)
        committer = self._committer
        committer.usage, committer.dead = store.usage(), store.dead.usage
        committer.next_id, committer.next_letter = contents.next_id, store.dead.next_number
        self._writer = writer = Writer(store, limits, lambda: self._reactor.call_from_thread(self._collect))
        committer.open(writer.submit, self._now_ms, self._base_ms)
        writer.start()
        for directory in contents.pending:
            committer.salvage(directory)
        self._flush_soon()

    def append(self, message: Message, targets: Sequence[Target]) -> None:
        """Put a message into the queue of each target and set `message.waiting`.

        Nothing is durable when this returns; `queue_settled` says when it is. A target with time to live counts from
        now. No target at all settles the message at once.
        """
        is_away = self._lines.append(message, targets, self._now_ms())
        if message.waiting:
            self._committer.appended(message, is_away)
        if not self._is_flush_due and (self._lines.notices or self._lines.settled):
            self._flush_soon()

    def lease(
        self, endpoint: str, max_messages: int, max_bytes: int, *, max_backlog: int = NO_LIMIT
    ) -> list[tuple[Ticket, Message]]:
        """Return the next messages of an endpoint, most urgent priority first, in order within each.

        At most `max_messages`, and `max_bytes` of them as IoT Edge counts a message, but always one. Empty when there
        is nothing, or when it has to be read from disk first: `queue_available` follows. Each stays leased until
        `ack`, `set_aside` or `release`. Expired messages are dropped on the way. While a backlog
        drains, `max_backlog` bounds those that do not come by the live lane.
        """
        point = self._lines.endpoints.get(endpoint)
        if point is None:
            return []
        now_ms = self._now_ms()
        records = self._lease_gaps(max_messages, now_ms) if endpoint == UPSTREAM else []
        room = max_messages - len(records)
        taken = records + self._lines.lease(point, room, max_bytes, now_ms, max_backlog=max_backlog)
        for line in point.lines:
            if line.backlog:
                self._committer.load(line)
        if self._lines.acks:
            self._committer.acked(now_ms)
        self._tell_gaps_later()
        if self._lines.settled:
            self._flush()
        return taken

    def ack(self, tickets: Sequence[Ticket]) -> None:
        """Remove delivered messages. What was on disk goes with a later commit; a crash before delivers it again."""
        self._lines.ack(tickets)
        self._finish_gaps(tickets)
        self._after_acks()

    def release(self, endpoint: str) -> None:
        """Give back every message that is leased to an endpoint; each returns to its place. Their tickets end."""
        point = self._lines.endpoints.get(endpoint)
        if point is not None:
            if endpoint == UPSTREAM:
                self._gaps.release()
            self._lines.release(point)
            self._flush_soon()

    def set_aside(self, ticket: Ticket, reason: str, text: str) -> None:
        """Remove a leased message for good, counted by `reason`; it becomes a dead letter, `text` is for a person.

        The letter is on disk within the linger, and only then has the message settled.
        """
        self._finish_gaps([ticket])  # an upstream that refuses to hear of a gap need not: it stays counted
        self._lines.set_aside(ticket, reason, text)
        self._committer.set_aside()
        self._after_acks()

    def set_live(self, endpoint: str, is_live: bool) -> None:
        """Say whether an endpoint takes messages now; at first none does. What waits for one that left is committed."""
        point = self._lines.endpoint(endpoint)
        if point.is_live == is_live:
            return
        point.is_live = is_live
        self._committer.recount_away()
        self._tell_gaps_later()
        if not is_live:
            self._committer.hurry()

    def clock_is_right(self, offset_ms: int) -> None:
        """Note what to add to CLOCK_BOOTTIME milliseconds for the wall clock's, for messages that outlive this boot.

        Written with the next commit, or with one of its own where messages are on disk already. At any time.
        """
        self._committer.clock_is_right(offset_ms)

    def drop(self, module: str, reason: str) -> None:
        """Count one message of a module that never came here: no route takes it, or there is no upstream for it."""
        self._lines.losses.count(module, reason, 1)
        self._committer.counted(self._now_ms())

    @property
    def dropped(self) -> dict[str, int]:
        """How many messages did not arrive since the queue exists, by reason."""
        return self._lines.dropped

    def dropped_of(self, module: str) -> dict[str, int]:
        """Return how many messages of one module did not arrive, by reason."""
        return self._lines.losses.by_module().get(module, {})

    def status(self) -> dict[str, object]:
        """Return the "queue" object of the status document. Walks over what is in RAM: not for the hot path."""
        committer = self._committer
        usage = committer.usage
        return {
            "state": "degraded" if committer.trouble else "ok",
            "reason": committer.trouble or "; ".join(committer.salvager.outcomes) or self._notice,
            "salvaging": committer.salvager.is_busy,
            **status.describe(self._lines, self._now_ms()),
            "disk_bytes": usage.file + usage.wal + usage.aside,
            "max_bytes": self._settings.max_bytes,
            "commits": committer.commits,
            "written_bytes": committer.written_bytes,
            "dead": committer.dead.letters,
            "dead_bytes": committer.dead.bytes,
            "dead_removed": committer.dead.removed,
            "replayed": self._lines.replayed,
        }

    @property
    def upkeep(self) -> Upkeep:
        """What a person may do to the queue. Only while it is open."""
        from microedge.queue.upkeep import Upkeep  # hardly anybody does, and RAM is short

        return Upkeep(self._lines, self._committer, self._now_ms, self._flush_soon)

    def close(self, timeout_s: float) -> None:
        """Commit everything that is on no disk yet, volatile messages too, stop the thread and close the database.

        Blocks for at most about `timeout_s`; what could not be written by then is logged as an error and was never
        settled, unless it is volatile.
        """
        writer, self._writer = self._writer, None
        if writer is None or self._store is None:
            return
        ends_s = time.monotonic() + timeout_s
        self._committer.close()
        while self._committer.start(self._now_ms(), is_last=True):
            result = writer.result(max(0.001, ends_s - time.monotonic()))
            if result is None:
                break
            self._committer.finished(result)
            if self._committer.trouble:
                break
        self._flush()
        self._report_unwritten()
        if writer.stop(max(0.001, ends_s - time.monotonic())):
            self._finish(self._store)

    @property
    def is_busy(self) -> bool:
        """True while the writer has something to do, or has done something that the loop has not seen."""
        return self._writer is not None and self._writer.pending > 0

    def _now_ms(self) -> int:
        return self._base_ms + int(self._clock() * 1000)

    def _take_over(self, contents: Contents) -> None:
        if contents.moved_to:
            self._notice = f"database was damaged ({contents.damage}) and is set aside as {contents.moved_to}"
            log.error("queue %s; started a new one; what can be read is salvaged now", self._notice)
        self._lines.take_over(contents.counters)
        for endpoint, priority, row in contents.rows:
            self._lines.found(endpoint, priority, row)
        self._lines.notices = [name for name, point in self._lines.endpoints.items() if point.lines]
        if contents.rows:
            self._sweep_later()

    def _lease_gaps(self, max_messages: int, now_ms: int) -> list[tuple[Ticket, Message]]:
        is_due = self._gaps.is_due
        records = self._gaps.lease(max_messages, int(self._clock() * 1000), int(time.time() * 1000))
        if records and is_due:
            self._told_ms = now_ms
        return records

    def _finish_gaps(self, tickets: Sequence[Ticket]) -> None:
        if self._gaps.ack(tickets):
            self._committer.counted(self._now_ms())
            self._tell_gaps_later()

    def _tell_gaps_later(self) -> None:
        """Have the upstream told of gaps while it is there: soon, but not too often."""
        if self._gap_timer is None and self._gaps.is_any_waiting and self._lines.endpoint(UPSTREAM).is_live:
            wait_s = (self._told_ms - self._now_ms()) / 1000 + NEXT_S
            self._gap_timer = self._reactor.call_later(max(FIRST_S, wait_s), self._tell_gaps)

    def _tell_gaps(self) -> None:
        self._gap_timer = None
        self._gaps.is_due = self._gaps.is_any_waiting
        if self._gaps.is_due and self._writer is not None:
            self._events.queue_available(UPSTREAM)

    def _after_acks(self) -> None:
        if self._lines.acks:
            self._committer.acked(self._now_ms())
        if self._lines.settled:
            self._flush()

    def _collect(self) -> None:
        """Take in the writer's results; harmless when there is none."""
        writer = self._writer
        result = writer.result() if writer is not None else None
        while writer is not None and result is not None:
            self._committer.finished(result)
            result = writer.result()
        self._flush()
        self._sweep_later()

    def _flush_soon(self) -> None:
        if not self._is_flush_due:
            self._is_flush_due = True
            self._reactor.call_soon(self._flush_due)

    def _flush_due(self) -> None:
        self._is_flush_due = False
        self._flush()

    def _flush(self) -> None:
        """Tell the owner what has happened. It may call any method from there."""
        lines = self._lines
        self._tell_gaps_later()
        if lines.settled:
            settled, lines.settled = lines.settled, []
            self._events.queue_settled(settled)
        if lines.notices:
            notices, lines.notices = lines.notices, []
            for endpoint in dict.fromkeys(notices):
                self._events.queue_available(endpoint)

    def _sweep_later(self) -> None:
        if not self._is_sweeping and any(line.backlog for line in self._lines.lines()):
            self._is_sweeping = True
            self._reactor.call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        self._is_sweeping = False
        if self._writer is not None:
            self._lines.sweep(self._now_ms())
            self._after_acks()
            self._sweep_later()

    def _report_unwritten(self) -> None:
        unwritten = sum(1 for entries in self._lines.unsaved(self._now_ms()).values() for _ in entries)
        if unwritten:
            log.error(
                "queue closed with messages=%d that could not be written: %s",
                unwritten,
                self._committer.trouble or "no time left",
            )

    def _finish(self, store: Store) -> None:
        import sqlite3

        has_rows = self._lines.stored > 0
        try:
            up_ms, offset_ms = int(self._clock() * 1000), self._committer.wall_offset_ms
            store.mark_clean(self._committer.next_id, up_ms, offset_ms, has_rows)
        except sqlite3.Error as error:
            log.warning("queue closed without its note: %s; the next start checks the file", error)
        store.close()
