"""What the loop's thread asks of the writer thread, and what comes back.

A job is handed over whole: after `Writer.submit` only the writer touches it, until its result comes back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, Union

from microedge.message import Message, pack
from microedge.queue.letter import DeadLetter, DeadUsage, Letter, Selection
from microedge.queue.line import NEVER_MS, Entry, Line, Row
from microedge.queue.losses import Counters, Gone, Loss
from microedge.queue.policy import Newcomer, Usage
from microedge.queue.record import NEVER_MS as STORED_NEVER_MS
from microedge.queue.record import RowHead, encode

# Keys in meta: messages on disk before the row with an id; the last row that was salvaged from a directory.
WAITING, WAITING_NEXT, SALVAGE = "waiting", "waiting_next", "salvage."
COUNTED = (1 << 63) - 1  # in the place of a row: all were moved, and what is lost is counted


class NewRow:
    """One row on its way to the disk: its id is given once, so that writing it twice does no harm."""

    __slots__ = ("base_ms", "boot", "data", "entries", "line", "messages", "raw_bytes", "row")

    def __init__(self, line: Line, row: Row, entries: list[Entry], raw_bytes: int) -> None:
        self.line = line
        self.row = row
        self.entries = entries
        self.messages = [entry.message for entry in entries]  # an acknowledgement empties the entry meanwhile
        self.raw_bytes = raw_bytes
        self.data = b""

    def encode(self, boot: int, base_ms: int, waiting: int) -> bytes:
        """Return the stored bytes; encoded once, on the writer's thread.

        `waiting` messages are on disk after the commit.
        """
        if not self.data:
            row, line = self.row, self.line
            at_ms = row.at_ms - base_ms if row.at_ms > base_ms else 0
            head = RowHead(row.id, line.endpoint.name, line.priority, row.n, boot, at_ms, waiting)
            times = (stored_expiry_ms(entry.expires_ms, base_ms) for entry in self.entries)
            records = (pack(message) for message in self.messages if message is not None)
            self.data = encode(head, zip(times, records))
            row.size = len(self.data)
        return self.data


def stored_expiry_ms(expires_ms: int, base_ms: int) -> int:
    """Return an expiry as the disk has it: CLOCK_BOOTTIME ms of the boot that begins at `base_ms`."""
    return STORED_NEVER_MS if expires_ms >= NEVER_MS else max(0, expires_ms - base_ms)


class Commit:
    """Everything that one transaction changes. All of it may be applied twice."""

    __slots__ = (
        "acks",
        "counters",
        "dead",
        "deletes",
        "gone",
        "is_drained",
        "losses",
        "partials",
        "read",
        "rows",
        "undead",
        "up_ms",
        "waiting",
        "wall_offset_ms",
    )

    def __init__(self) -> None:
        self.rows: list[NewRow] = []
        self.deletes: list[int] = []
        self.partials: dict[int, bytes] = {}  # row id -> bit set of finished messages, little-endian
        self.counters: Counters = {}  # by their keys on disk
        self.gone: list[Gone] = []  # what is dropped with rows: they are read before they are deleted
        self.read = 0  # so many of them have been
        self.losses: list[Loss] = []  # what was found in them
        self.dead: list[DeadLetter] = []
        self.undead: list[int] = []  # numbers of letters to delete: replayed in `rows`, delivered, or purged
        self.up_ms = 0  # CLOCK_BOOTTIME now, for the ledger of uptimes
        self.acks = 0
        self.wall_offset_ms: int | None = None  # to be added to CLOCK_BOOTTIME for the wall clock; None: not known
        self.waiting = 0  # messages on disk afterwards: what is missing from a damaged database is known by it
        self.is_drained = False  # nothing will be left on disk: a good moment for a checkpoint


class Load:
    """Rows to read back for one line."""

    __slots__ = ("epoch", "line", "rows")

    def __init__(self, line: Line, rows: list[Row]) -> None:
        self.line = line
        self.rows = rows
        self.epoch = line.epoch


class Disk(Protocol):
    """What a question may be put to. Both may raise sqlite3.Error."""

    def load(self, rows: list[Row]) -> list[Loaded]:
        """Read rows back; nothing changes."""

    def letters(self, selection: Selection) -> list[Letter]:
        """Return dead letters, the oldest first."""


class Ask:
    """A question to the disk: `question(disk)` runs on the writer's thread, `done(answer, trouble)` on the loop's.

    `trouble` is "" when there was none; otherwise it says why there is no answer.
    """

    __slots__ = ("done", "question")

    def __init__(self, question: Callable[[Disk], Any], done: Callable[[Any, str], None]) -> None:
        self.question = question
        self.done = done


Known = dict[int, tuple[int, int]]
"""Rows that waited, by id: number of messages, and the bit set of those that were delivered."""


class Outcome(NamedTuple):
    """Messages recovered and lost, not more if `is_exact`; `repeats` of the recovered ones were delivered before."""

    recovered: int
    lost: int
    is_exact: bool
    repeats: int = 0
    letters: int = 0


class Rescue:
    """Get on a little with the salvage of what was set aside in `directory`; `known` is what waited, if known.

    `room_bytes` may be written. `is_without_room`: give up the row that needed more. `is_over`: what came of it is on
    disk, and nothing is left to do.
    """

    __slots__ = ("directory", "is_over", "is_without_room", "known", "room_bytes")

    def __init__(self, directory: str, known: Known | None = None) -> None:
        self.directory = directory
        self.known = known
        self.room_bytes = 0
        self.is_without_room = self.is_over = False


class Rescued:
    """What came of one step: rows that are in the new database now, what the next one needs, or the outcome."""

    __slots__ = ("discarded", "needed", "outcome", "rows")

    def __init__(self) -> None:
        self.rows: list[tuple[str, int, Row]] = []  # endpoint, priority, row
        self.needed: Newcomer | None = None
        self.discarded = 0  # messages
        self.outcome: Outcome | None = None


Job = Union[Commit, Load, Ask, Rescue]


class Loaded:
    """One row read back: its messages with their expiry on the ledger's clock, or why there are none."""

    __slots__ = ("damage", "data", "messages", "row")

    def __init__(self, row: Row, messages: list[tuple[int, Message]], damage: str = "", data: bytes = b"") -> None:
        self.row = row
        self.data = data  # of a damaged row, for a person to look at
        self.messages = messages
        self.damage = damage


class Result:
    """What became of a job. `is_done`: it took effect, even if there was `trouble` afterwards.

    `moved_to` names the damaged database that was set aside on the way; an empty one takes its place.
    """

    __slots__ = (
        "answer",
        "dead",
        "is_done",
        "job",
        "loaded",
        "moved_to",
        "rescued",
        "trouble",
        "usage",
        "written_bytes",
    )

    def __init__(self, job: Job) -> None:
        self.job = job
        self.answer: Any = None  # to an Ask
        self.trouble = ""
        self.is_done = False
        self.moved_to = ""
        self.loaded: list[Loaded] = []
        self.rescued = Rescued()
        self.usage = Usage()
        self.written_bytes = 0
        self.dead = DeadUsage()
