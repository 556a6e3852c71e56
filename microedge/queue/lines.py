"""All lines together: who gets what next, and what becomes of it; pure, and owned by the loop's thread.

Effects are left in plain attributes for the owner to act on: messages that have settled, endpoints to notify, rows
to delete, drops by reason.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from microedge.message import VOLATILE, Message, Target, Ticket
from microedge.queue import turns
from microedge.queue.letter import DeadLetter, Letter
from microedge.queue.line import NEVER_MS, Endpoint, Entry, Line, Row
from microedge.queue.losses import DROPPED, UNKNOWN, Counters, Gone, Losses, key_of
from microedge.queue.turns import NO_LIMIT, STRICT_RULE, Lease, Rule
from microedge.queue.turns import Limits as LeaseLimits
from microedge.queue.volatile import VolatileBound

_RECORD_BYTES = 64  # what a stored record adds to body and envelope, about
REPLAYED = "replayed"  # a key of the counters on disk
_MAX_TARGETS = 1024  # targets remembered; there are a few per route


def stored_bytes(message: Message) -> int:
    """Return about how many bytes a message takes in a row before compression."""
    return len(message.body) + len(message.envelope.raw) + _RECORD_BYTES


class Lines:
    """The queue in RAM. Times are whole ms on the ledger's clock, which neither jumps nor restarts at boot."""

    def __init__(self, rule: Rule = STRICT_RULE) -> None:
        self.rule = rule
        self.endpoints: dict[str, Endpoint] = {}
        self.leased: dict[Ticket, Entry] = {}  # in the order of leasing, which is the order of every line
        self.settled: list[Message] = []
        self.notices: list[str] = []
        self.deleted: list[int] = []
        self.touched: dict[int, Row] = {}  # rows with something finished that the disk does not know of
        self.dead: list[DeadLetter] = []
        self.undead: list[int] = []  # numbers of letters that the disk need not keep any more
        self.returning: dict[Entry, Letter] = {}  # put back into their lines, but on disk still letters
        self.refused: set[int] = set()  # numbers of letters for which there was no room to return
        self.replayed = 0
        self.losses = Losses()
        self.gone: list[Gone] = []  # what went with rows that are still to be deleted; see losses.py
        self.acks = 0  # finished messages of rows on disk, since the last commit
        self.stored = 0  # messages of rows on disk that are not finished
        self._ticket: Ticket = 0
        self._by_target: dict[Target, tuple[Line, int]] = {}
        self._volatile = VolatileBound()

    @property
    def dropped(self) -> dict[str, int]:
        """What was dropped since the queue exists, by reason."""
        return self.losses.by_reason()

    def lines(self) -> list[Line]:
        """Return every line, the most urgent first."""
        lines = [line for endpoint in self.endpoints.values() for line in endpoint.lines]
        return sorted(lines, key=lambda line: line.priority)

    def found(self, endpoint: str, priority: int, row: Row) -> None:
        """Take over a row that is on disk since an earlier run; rows of a line come in the order of their ids."""
        self.endpoint(endpoint).line(priority).backlog.append(row)
        self.stored += row.left

    def endpoint(self, name: str) -> Endpoint:
        """Return an endpoint, made on first use."""
        endpoint = self.endpoints.get(name)
        if endpoint is None:
            endpoint = self.endpoints[name] = Endpoint(name)
        return endpoint

    def append(self, message: Message, targets: Sequence[Target], now_ms: int) -> bool:
        """Put a message into the line of each target; True when one of them is away."""
        is_away = False
        is_waiting = message.envelope.durability != VOLATILE
        message.waiting = len(targets) if is_waiting else 0
        for target in targets:
            line, ttl_ms = self._by_target.get(target) or self._resolve(target)
            entry = Entry(message, line, now_ms, now_ms + ttl_ms, is_waiting)
            line.fresh.append(entry)
            endpoint = line.endpoint
            if endpoint.is_dry:
                endpoint.is_dry = False
                self.notices.append(endpoint.name)
            if not endpoint.is_live:
                is_away = True
            if not is_waiting:
                self._volatile.add(entry, stored_bytes(message))
        if not message.waiting:
            self.settled.append(message)
            for entry in self._volatile.overflow():
                self.drop(entry, "evicted")
        return is_away

    def lease(
        self, endpoint: Endpoint, max_messages: int, max_bytes: int, now_ms: int, *, max_backlog: int = NO_LIMIT
    ) -> list[Lease]:
        """Return the next messages, by the rule; empty when they have to be loaded first."""
        taken = turns.lease(endpoint, self.rule, LeaseLimits(max_messages, max_backlog, max_bytes, now_ms), self._take)
        endpoint.is_dry = not turns.is_anything_ready(endpoint, self.rule)
        return taken

    def ack(self, tickets: Iterable[Ticket]) -> None:
        """Finish leased messages. A ticket that is not leased (any more) is ignored: it will be delivered again."""
        leased, settled = self.leased, self.settled
        for ticket in tickets:
            entry = leased.pop(ticket, None)
            if entry is None:
                continue
            message = entry.message
            entry.message = None
            if entry.row is not None:
                self._finish(entry)
            if self.returning:
                self.returned(entry)
            if entry.is_waiting and message is not None:
                message.waiting -= 1
                if not message.waiting:
                    settled.append(message)

    def release(self, endpoint: Endpoint) -> None:
        """Give back everything that the endpoint has leased, each to its place."""
        fresh: dict[Line, list[Entry]] = {}
        tickets = [ticket for ticket, entry in self.leased.items() if entry.line.endpoint is endpoint]
        for ticket in tickets:
            entry = self.leased.pop(ticket)
            entry.ticket = 0
            if entry.row is None:
                fresh.setdefault(entry.line, []).append(entry)
        for line in endpoint.lines:
            line.fresh.extendleft(reversed(fresh.get(line, ())))
            line.unload()
        if tickets and endpoint.is_dry:
            endpoint.is_dry = False
            self.notices.append(endpoint.name)

    def set_aside(self, ticket: Ticket, reason: str, text: str) -> None:
        """Turn a leased message into a dead letter; ignored when it is not leased.

        Whoever waits for the message waits on: until the letter is on disk (`kept`).
        """
        entry = self.leased.pop(ticket, None)
        if entry is None or entry.message is None:
            return
        letter = DeadLetter(entry.line.endpoint.name, reason, text, entry.message)
        letter.priority = entry.line.priority
        letter.at_ms, letter.is_waiting = entry.at_ms, entry.is_waiting
        if entry.expires_ms < NEVER_MS:
            letter.ttl_ms = entry.expires_ms - entry.at_ms
        self.dead.append(letter)
        self.losses.note(entry.message, reason, entry.line.endpoint.is_upstream)
        self.acks += 1  # so that the letter is written with the acknowledgements
        self.returned(entry)
        entry.message = None
        if entry.row is not None:
            self._finish(entry)

    def kept(self, letters: Iterable[DeadLetter]) -> None:
        """Take note that letters are on disk, fsynced."""
        for letter in letters:
            message = letter.message
            if letter.is_waiting and isinstance(message, Message):
                letter.is_waiting = False
                message.waiting -= 1
                if not message.waiting:
                    self.settled.append(message)

    def give_back(self, letter: Letter, now_ms: int) -> Entry | None:
        """Put a dead letter at the end of its line, with a new time to live; None when it is damaged."""
        message = letter.message
        if message is None:
            return None
        endpoint = self.endpoint(letter.endpoint)
        line = endpoint.line(letter.priority)
        expires_ms = now_ms + (letter.ttl_ms if letter.ttl_ms >= 0 else NEVER_MS)
        message.waiting = 1
        entry = Entry(message, line, now_ms, expires_ms, is_waiting=True)
        line.fresh.append(entry)
        self.returning[entry] = letter
        self.replayed += 1
        self.losses.count(message.module, letter.reason, -1)
        if endpoint.is_dry:
            endpoint.is_dry = False
            self.notices.append(endpoint.name)
        return entry

    def returned(self, entry: Entry) -> None:
        """Have the letter of an entry deleted, if it has one: with the commit that writes the entry, or it has left."""
        letter = self.returning.pop(entry, None)
        if letter is not None:
            self.undead.append(letter.number)
            self.acks += 1

    def counters(self) -> Counters:
        """Return the counters as the disk is to have them: what is returning is a letter there."""
        counters = self.losses.counters()
        for letter in self.returning.values():
            if letter.message is not None:
                key = key_of(DROPPED, (letter.message.module, letter.reason))
                counters[key] = int(counters.get(key, 0)) + 1
        counters[REPLAYED] = self.replayed - len(self.returning)
        return counters

    def take_over(self, counters: Counters) -> None:
        """Go on with the counters of earlier runs."""
        self.replayed = int(counters.get(REPLAYED, 0))
        self.losses.take_over(counters)

    def count(self, reason: str, n: int) -> None:
        """Count `n` messages that left without delivery and of which nobody knows whose they were."""
        self.losses.count(UNKNOWN, reason, n)

    def drop(self, entry: Entry, reason: str) -> None:
        """Count one message as dropped for `reason`; the caller has taken it out of its deque."""
        message, entry.message = entry.message, None
        letter = self.returning.get(entry) if reason == "rejected" else None
        if letter is not None:  # there was no room for it: it stays the letter that it is on disk
            del self.returning[entry]
            self.refused.add(letter.number)
            self.replayed -= 1
            reason = letter.reason
        if message is not None:  # the gap that a letter leaves is known
            self.losses.note(message, reason, entry.line.endpoint.is_upstream and letter is None)
        self.returned(entry)
        if entry.row is not None:
            self._finish(entry)
        if entry.is_waiting and message is not None:
            message.waiting -= 1
            if not message.waiting:
                self.settled.append(message)

    def saved(self, line: Line, row: Row, entries: list[Entry]) -> None:
        """Take note that `entries` are on disk as `row`, fsynced: they settle, and leave RAM unless leased."""
        line.store(row, entries)
        self.stored += row.left
        for entry in entries:
            message = entry.message
            if message is not None and entry.is_waiting:
                entry.is_waiting = False
                message.waiting -= 1
                if not message.waiting:
                    self.settled.append(message)
        if row.done:
            self.acks += row.n - row.left
            self._note_progress(row)

    def purge(self, line: Line, takes: Callable[[Message], bool], reason: str) -> int:
        """Drop what `takes` of the messages in RAM that nobody has leased; return how many."""
        purged = 0
        for entries in (line.loaded, line.fresh):
            for _ in range(len(entries)):
                entry = entries.popleft()
                if entry.message is not None and takes(entry.message):
                    self.drop(entry, reason)
                    purged += 1
                else:
                    entries.append(entry)
        return purged

    def purge_rows(self, line: Line, rows: Iterable[tuple[Row, Iterable[int]]], reason: str) -> int:
        """Drop messages of rows in the backlog, by their positions; what is leased stays. Return how many."""
        purged = 0
        finished: set[int] = set()
        for row, indexes in rows:
            left, done = row.left, row.done
            for index in indexes:
                if index >= row.handed:
                    row.finish(index)
            purged += left - row.left
            if row.left < left:
                self.gone.append(Gone(row.id, reason, row.done & ~done, line.endpoint.is_upstream))
                self._note_progress(row)
                line.backlog.change(row)
            if not row.left:
                finished.add(row.id)
        line.backlog.remove(finished)
        self.stored -= purged
        self.count(reason, purged)
        self.acks += purged
        self.notices.append(line.endpoint.name)
        return purged

    def forget_row(self, line: Line, row: Row, reason: str) -> None:
        """Count what is left of a row as dropped, and have the row deleted."""
        self.count(reason, row.left)
        self.gone.append(Gone(row.id, reason, ~row.done & ((1 << row.n) - 1), line.endpoint.is_upstream))
        self.acks += row.left
        self.stored -= row.left
        row.left = 0
        self.deleted.append(row.id)
        self.touched.pop(row.id, None)

    def remove(self, row_ids: set[int], reason: str) -> None:
        """Drop whole resting rows: evicted, or expired."""
        for line in self.lines() if row_ids else ():
            rows = [row for row in line.resting() if row.id in row_ids]
            for row in rows:
                self.forget_row(line, row, reason)
            if rows:
                line.backlog.remove(row_ids)
                self.notices.append(line.endpoint.name)  # what waited behind them may be in RAM

    def sweep(self, now_ms: int) -> None:
        """Drop the resting rows of which every message has expired."""
        rows = (row for line in self.lines() for row in line.resting())
        self.remove({row.id for row in rows if row.expires_ms <= now_ms}, "ttl")

    def unsaved(self, now_ms: int) -> dict[Line, list[Entry]]:
        """Return what is on no disk yet, in order; what expired unleased is dropped on the way."""
        found: dict[Line, list[Entry]] = {line: [] for line in self.lines()}
        for entry in self.leased.values():
            if entry.row is None:
                found[entry.line].append(entry)
        for line, entries in found.items():
            for entry in line.fresh:
                if entry.message is not None and entry.expires_ms <= now_ms:
                    self.drop(entry, "ttl")
                if entry.message is not None:
                    entries.append(entry)
        return found

    def oldest_waiting_ms(self) -> int | None:
        """Return when the oldest message was appended that is neither acknowledged nor on disk, or None."""
        times = [entry.at_ms for entry in self.leased.values() if entry.is_waiting]
        times += [letter.at_ms for letter in self.dead if letter.is_waiting]
        for line in self.lines():
            first = next((entry.at_ms for entry in line.fresh if entry.is_waiting and entry.message), None)
            if first is not None:
                times.append(first)
        return min(times, default=None)

    def _take(self, entries: deque[Entry], taken: list[Lease], limits: tuple[int, int, int]) -> int:
        """Lease from the left of `entries`; return the bytes of room left, -1 when a limit was reached."""
        max_messages, room, now_ms = limits
        leased = self.leased
        while entries:
            entry = entries[0]
            message = entry.message
            if message is None:
                entries.popleft()
                continue
            if entry.expires_ms <= now_ms:
                entries.popleft()
                self.drop(entry, "ttl")
                continue
            size = len(message.body) + message.envelope.size_bytes
            if len(taken) >= max_messages or (size > room and taken):
                return -1
            entries.popleft()
            self._ticket = ticket = self._ticket + 1
            entry.ticket = ticket
            leased[ticket] = entry
            taken.append((ticket, message))
            room = max(room - size, 0)
        return room

    def _finish(self, entry: Entry) -> None:
        row = entry.row
        if row is not None and row.left:
            before = row.left
            row.finish(entry.index)
            self.stored -= before - row.left
            self.acks += 1
            self._note_progress(row)
            if not row.left:
                entry.line.opened.pop(row.id, None)

    def _note_progress(self, row: Row) -> None:
        if row.left:
            self.touched[row.id] = row
        else:
            self.touched.pop(row.id, None)
            self.deleted.append(row.id)

    def _resolve(self, target: Target) -> tuple[Line, int]:
        endpoint, priority, ttl_s = target
        if len(self._by_target) >= _MAX_TARGETS:
            self._by_target.clear()
        found = self.endpoint(endpoint).line(priority), NEVER_MS if ttl_s < 0 else ttl_s * 1000
        self._by_target[target] = found
        return found
