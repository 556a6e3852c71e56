"""What a person does to the queue: look into it, send dead letters again, throw messages away.

Everything begins on the loop's thread, blocks nothing, and ends there with `done(answer, trouble)`: `trouble` is "", or
says why it could not be done to its end. What `done` reports as done is on disk.

A letter that is sent again goes to the end of its line in RAM first, so that it stays behind what waits there. The
commit that writes it deletes the letter, in one transaction: at any moment it is at one place on disk. If its endpoint
has it before that commit, the next one deletes the letter; a crash between the two leaves the letter as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, islice
from typing import Any, NamedTuple

from microedge.message import Message
from microedge.queue.committer import Committer
from microedge.queue.jobs import Ask, Disk, Loaded
from microedge.queue.letter import Letter, Selection
from microedge.queue.line import Endpoint, Entry, Row
from microedge.queue.lines import Lines
from microedge.queue.peek import View

PURGED = "purged"
_ROWS_AT_ONCE = 16  # read for a purge by module: 64 KiB each, about

Done = Callable[[Any, str], None]


class Outcome(NamedTuple):
    """`done` letters were sent again or deleted; `kept` are still there: damaged, or without room in the queue."""

    done: int = 0
    kept: int = 0


class Upkeep:
    """See the top of this file. `changed` is called when messages have settled or can be leased."""

    def __init__(
        self, lines: Lines, committer: Committer, now_ms: Callable[[], int], changed: Callable[[], None]
    ) -> None:
        self.lines = lines
        self.committer = committer
        self.now_ms = now_ms
        self.changed = changed

    def peek(self, endpoint: str, count: int, done: Done) -> None:
        """Answer with the next `count` messages of an endpoint as a list of `Waiting`; nothing changes."""
        point = self.lines.endpoints.get(endpoint)
        if point is None:
            done([], "")
            return
        view = View(self.lines, point, count, self.now_ms())
        rows = view.rows
        if not rows:
            done(view.fill([]), "")
            return
        self.ask(lambda disk: disk.load(rows), lambda loaded, trouble: done(view.fill(loaded or []), trouble))

    def peek_dead(self, selection: Selection, done: Done) -> None:
        """Answer with a list of `Letter`, the oldest first."""

        def look(trouble: str) -> None:
            if trouble:
                done([], trouble)
            else:
                self.ask(lambda disk: disk.letters(selection), lambda found, trouble: done(found or [], trouble))

        if self.lines.dead:
            self.committer.when_saved(look)
        else:
            look("")

    def replay(self, selection: Selection, done: Done) -> None:
        """Send dead letters again, all that the selection takes; answer with an `Outcome`."""
        _Replay(self, selection, done).begin()

    def purge_dead(self, selection: Selection, done: Done) -> None:
        """Delete dead letters, all that the selection takes; answer with an `Outcome`."""
        _DeadPurge(self, selection, done).begin()

    def purge(self, endpoint: str, module: str, done: Done) -> None:
        """Drop what waits for an endpoint, from one module or with "" from any; answer with the number.

        Every drop is counted as purged, and settles the message as a delivery does. What is in flight stays.
        """
        point = self.lines.endpoints.get(endpoint)
        if point is None:
            done(0, "")
            return
        _Purge(self, point, module, done).step()

    def ask(self, question: Callable[[Disk], Any], done: Done) -> None:
        """Have a question answered from the disk."""
        self.committer.ask(Ask(question, done))


class _EachLetter:
    """Goes through the letters of a selection in steps, so that few of them are in RAM at once."""

    def __init__(self, upkeep: Upkeep, selection: Selection, done: Done) -> None:
        self._upkeep = upkeep
        self._lines = upkeep.lines
        # Letters that are written from now on are none of them: what fails again at once would come again for ever.
        before = upkeep.committer.next_letter + len(upkeep.lines.dead)
        self._selection = selection._replace(before=before)
        self._report = done
        self._done = self._kept = 0

    def begin(self) -> None:
        self._upkeep.peek_dead(self._selection, self._found)

    def _found(self, letters: list[Letter], trouble: str) -> None:
        if trouble or not letters:
            self._report(Outcome(self._done, self._kept), trouble)
            return
        self._selection = self._selection._replace(after=letters[-1].number)
        returning = {letter.number for letter in self._lines.returning.values()}
        self._take([letter for letter in letters if letter.number not in returning])

    def _saved(self, done: int, trouble: str) -> None:
        self._done += done
        if trouble:
            self._report(Outcome(self._done, self._kept), trouble)
        else:
            self.begin()

    def _take(self, letters: list[Letter]) -> None:
        raise NotImplementedError


class _DeadPurge(_EachLetter):
    def _take(self, letters: list[Letter]) -> None:
        self._lines.undead += [letter.number for letter in letters]
        self._lines.acks += len(letters)
        count = len(letters)
        self._upkeep.committer.when_saved(lambda trouble: self._saved(0 if trouble else count, trouble))


class _Replay(_EachLetter):
    def _take(self, letters: list[Letter]) -> None:
        now_ms = self._upkeep.now_ms()
        sent: dict[Entry, int] = {}
        for letter in letters:
            entry = self._lines.give_back(letter, now_ms)
            if entry is None:
                self._kept += 1
            else:
                sent[entry] = letter.number
        self._upkeep.changed()
        self._save(sent, len(sent) + 1)

    def _save(self, sent: dict[Entry, int], missing: int, trouble: str = "") -> None:
        """Wait until the letters are deleted, as long as it gets on: a transaction takes only so many."""
        left = sum(1 for entry in sent if entry in self._lines.returning)
        if left and left < missing and not trouble:
            self._upkeep.committer.when_saved(lambda trouble: self._save(sent, left, trouble))
            return
        refused = self._lines.refused.intersection(sent.values())
        self._lines.refused -= refused
        self._kept += len(refused)
        self._saved(len(sent) - len(refused), trouble)


class _Purge:
    """Drops what is in RAM at once, and rows on disk too when all of them go; otherwise they are read first."""

    def __init__(self, upkeep: Upkeep, endpoint: Endpoint, module: str, done: Done) -> None:
        self._upkeep = upkeep
        self._lines = upkeep.lines
        self._endpoint = endpoint
        self._module = module
        self._report = done
        self._purged = 0
        self._seen: set[Row] = set()
        self._until = upkeep.committer.next_id  # rows that are written from now on hold later messages

    def step(self) -> None:
        for line in self._endpoint.lines:
            self._purged += self._lines.purge(line, self._takes, PURGED)
            if not self._module:
                line.give_up_load()
                resting = ((row, range(row.n)) for row in line.backlog)
                self._purged += self._lines.purge_rows(line, resting, PURGED)
        self._lines.acks += min(1, self._purged)  # the count is worth a commit, even if nothing was on disk
        rows = self._unread()
        if rows:
            self._upkeep.ask(lambda disk: disk.load(rows), self._read)
        else:
            self._upkeep.committer.when_saved(lambda trouble: self._report(self._purged, trouble))
        self._upkeep.changed()

    def _takes(self, message: Message) -> bool:
        return self._module in ("", message.module)

    def _unread(self) -> list[Row]:
        if not self._module:
            return []
        rows = (row for line in self._endpoint.lines for row in chain(line.loading, line.backlog))
        unread = (row for row in rows if row.id < self._until and row not in self._seen)
        return list(islice(unread, _ROWS_AT_ONCE))

    def _read(self, loaded: list[Loaded] | None, trouble: str) -> None:
        if trouble or loaded is None:
            self._report(self._purged, trouble)
            return
        positions = {one.row: self._positions(one) for one in loaded}
        loading = {row for line in self._endpoint.lines for row in line.loading}  # looked at in RAM, soon
        self._seen.update(row for row in positions if row not in loading)
        for line in self._endpoint.lines:
            resting = ((row, positions[row]) for row in line.backlog if row in positions)
            self._purged += self._lines.purge_rows(line, resting, PURGED)
        self.step()

    def _positions(self, one: Loaded) -> list[int]:
        return [index for index, (_, message) in enumerate(one.messages) if self._takes(message)]
