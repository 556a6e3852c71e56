"""One line: the messages of one endpoint and priority, in order; pure, and owned by the loop's thread.

    backlog      rows on disk of which only the index is in RAM      oldest
    loaded       entries read back from the rows before the backlog
    fresh        entries that are on no disk yet                     youngest

Messages are leased from the left: loaded, then fresh, and fresh only once the backlog is empty, unless there is a live
lane (`turns.py`). What is leased is therefore always older than what waits in the same deque, whatever was acknowledged
out of order: giving it back means putting it in front. A row leaves RAM when a commit has written it, except for what
is leased at that moment, which is always its beginning: `handed` counts it, so that loading the row again skips it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from microedge.message import Message, Ticket
from microedge.names import UPSTREAM
from microedge.queue.backlog import Backlog
from microedge.queue.backlog import Row as Row  # a line is made of them: whoever imports one has the other too

NEVER_MS = 1 << 62  # an expiry that never comes, as a number, so that the hot path compares only once
LOAD_ROWS_BYTES = 32 * 1024  # stored bytes that one load reads, about 64-128 KiB of messages
LOAD_ROWS_MESSAGES = 512
PREFETCH_BELOW = 256  # ask for the next rows when fewer entries are left, so that a drain does not stop and go


class Entry:
    """One message in one line. `message` becomes None when it has left; `row` is None until it is on disk.

    `is_waiting` is True while this endpoint still counts in `message.waiting`.
    """

    __slots__ = ("at_ms", "expires_ms", "index", "is_waiting", "line", "message", "row", "ticket")

    def __init__(self, message: Message, line: Line, at_ms: int, expires_ms: int, is_waiting: bool) -> None:
        self.message: Message | None = message
        self.line = line
        self.at_ms = at_ms
        self.expires_ms = expires_ms
        self.is_waiting = is_waiting
        self.row: Row | None = None
        self.index = 0
        self.ticket: Ticket = 0


class Endpoint:
    """The lines of one endpoint, most urgent first. `is_dry`: nothing could be leased when it was last looked at."""

    __slots__ = ("is_dry", "is_live", "is_upstream", "lines", "live_turns", "name", "served")

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_upstream = name == UPSTREAM
        self.lines: list[Line] = []
        self.is_live = False
        self.is_dry = True
        self.live_turns = 0  # of the live lane since the backlog had one: see turns.py, as is
        self.served = 0.0  # when the last message was due, on the clock of weighted priorities

    def line(self, priority: int) -> Line:
        """Return the line of `priority`, made on first use."""
        for line in self.lines:
            if line.priority == priority:
                return line
        line = Line(self, priority)
        self.lines.append(line)
        self.lines.sort(key=lambda line: line.priority)
        return line


class Line:
    """See the top of this file. `epoch` changes when a load that is under way has become worthless."""

    __slots__ = ("backlog", "due", "endpoint", "epoch", "fresh", "loaded", "loading", "opened", "priority")

    def __init__(self, endpoint: Endpoint, priority: int) -> None:
        self.endpoint = endpoint
        self.priority = priority
        self.backlog = Backlog()
        self.loading: list[Row] = []
        self.opened: dict[int, Row] = {}  # rows with entries in `loaded` or leased
        self.loaded: deque[Entry] = deque()
        self.fresh: deque[Entry] = deque()
        self.epoch = 0
        self.due = 0.0  # when its next message is, on the clock of weighted priorities

    @property
    def is_blocked(self) -> bool:
        """True when the next message is on disk."""
        return not self.loaded and bool(self.backlog or self.loading)

    @property
    def disk_messages(self) -> int:
        """How many messages of this line are on disk and not finished."""
        return self.backlog.messages + sum(row.left for row in (*self.opened.values(), *self.loading))

    def rows(self) -> Iterator[Row]:
        """Yield every row on disk that still holds something, oldest first, save for salvaged ones."""
        for rows in (sorted(self.opened.values(), key=lambda row: row.id), self.loading, self.backlog):
            yield from (row for row in rows if row.left)

    def resting(self) -> Iterable[Row]:
        """Return the rows of which nothing is in RAM, oldest first: they can be removed without asking anybody."""
        return _Resting(self.backlog)

    def begin_load(self) -> list[Row]:
        """Move the next rows from the backlog to `loading` and return them; empty when there is nothing to load."""
        if self.loading or len(self.loaded) >= PREFETCH_BELOW:
            return []
        messages = size = 0
        while self.backlog and messages < LOAD_ROWS_MESSAGES and size < LOAD_ROWS_BYTES:
            row = self.backlog.popleft()
            if row.left:
                self.loading.append(row)
                messages += row.left
                size += row.size
        return self.loading

    def give_up_load(self) -> None:
        """Move rows that are being read back to the backlog: what comes of it is ignored."""
        self.backlog.put_back(self.loading)
        self.loading = []
        self.epoch += 1

    def fill(self, row: Row, entries: list[Entry]) -> None:
        """Take over what was read from `row`, minus what is leased or finished."""
        for index in range(row.handed, row.n):
            if not row.done >> index & 1:
                entry = entries[index]
                entry.row, entry.index = row, index
                self.loaded.append(entry)
        row.handed = row.n
        if row.left:
            self.opened[row.id] = row

    def store(self, row: Row, entries: list[Entry]) -> None:
        """Take over a row that has just been written: entries that nobody has leased leave RAM."""
        for index, entry in enumerate(entries):
            entry.row, entry.index = row, index
            if entry.message is None:
                row.finish(index)
        row.handed = row.n
        fresh = self.fresh
        while fresh and (fresh[0].row is row or fresh[0].message is None):
            entry = fresh.popleft()
            if entry.row is row:
                row.handed = min(row.handed, entry.index)
        if row.left and row.handed < row.n:
            self.backlog.append(row)
        elif row.left:
            self.opened[row.id] = row

    def unload(self) -> None:
        """Forget everything that was read from disk, as if it had never been leased or loaded."""
        self.backlog.put_back((*self.opened.values(), *self.loading))
        self.backlog.take_back()
        self.loading = []
        self.opened.clear()
        self.loaded.clear()
        self.epoch += 1


class _Resting:
    """Looks for them when somebody asks, as often as somebody does: most commits need no room."""

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog

    def __iter__(self) -> Iterator[Row]:
        return (row for row in self._backlog if row.left and not row.handed)
