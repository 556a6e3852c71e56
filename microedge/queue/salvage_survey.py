"""What a damaged database still holds, and exactly how much it does not; pure, given an `Image` of its pages.

The tree of a table leads to every row that was waiting. A page that cannot be read leaves a gap in the row ids. Only
rows in a gap are looked for elsewhere: in pages that no tree leads to any more, and in earlier states of a page. There
also stand rows that were delivered long ago, so a row is taken from there only as long as messages are missing. How
many are missing is known: the newest row says how many waited when it was written, and what was only deleted since is
noted in `meta`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from microedge.queue.jobs import WAITING, WAITING_NEXT
from microedge.queue.record import UNKNOWN, RowHead, read_head
from microedge.queue.salvage_image import Image, Place
from microedge.queue.salvage_pages import (
    INDEX_LEAF,
    Cell,
    Value,
    carve,
    children,
    columns,
    leaf_cells,
)

LAST_ID = (1 << 63) - 1
_MAX_DEPTH = 20


class Leaf(NamedTuple):
    """A leaf page of a table, with the keys above `low` up to `high`; `page` is None where it cannot be read."""

    number: int
    page: bytes | None
    low: int
    high: int


class Found(NamedTuple):
    """A row that can be read: where it is. `slot` counts cells, or is -1 minus the byte where it stands by itself."""

    row_id: int
    messages: int
    left: int  # of the messages, those that were not delivered
    place: Place
    slot: int


class Stored(NamedTuple):
    """A batch row as the table has it."""

    head: RowHead
    expires_ms: int | None  # None: the column does not say
    data: bytes


def walk(image: Image, root: int, *, is_backwards: bool = False) -> Iterator[Leaf]:
    """Yield the leaves of a table in order; a page that is no such page counts as one that cannot be read."""
    seen: set[int] = set()
    stack = [(root, 0, LAST_ID, 0)]
    while stack:
        number, low, high, depth = stack.pop()
        page = image.page(number) if number not in seen and depth < _MAX_DEPTH else None
        seen.add(number)
        try:
            below = children(page or b"", low, high)
        except ValueError:
            yield Leaf(number, page, low, high)
            continue
        lows = [low, *(child.key for child in below)]
        steps = [(child.page, start, child.key, depth + 1) for child, start in zip(below, lows)]
        stack += steps if is_backwards else steps[::-1]


def rows_of(image: Image, root: int) -> Iterator[tuple[Leaf, int, Cell | None]]:
    """Yield (leaf, slot, cell) for all that can be read of a table; (leaf, -1, None) for a leaf that cannot."""
    for leaf in walk(image, root):
        try:
            cells = leaf_cells(leaf.page or b"")
        except ValueError:
            cells = [None]
        if not cells and leaf.number != root:  # only a table without any row has a leaf without any
            cells = [None]
        for slot, cell in enumerate(cells):
            yield leaf, slot, cell


def record(image: Image, cell: Cell) -> list[Value]:
    """Return the columns of a row.

    Raises:
        ValueError: not all of them can be read.
    """
    payload = image.payload(cell)
    if payload is None:
        raise ValueError(f"row {cell.key}: a page of it cannot be read")
    return columns(payload, cell.size)


def stored_row(image: Image, cell: Cell) -> Stored:
    """Return a batch row whose content is as it was written.

    Raises:
        ValueError: it is no batch row, or not all of it can be read.
    """
    values = record(image, cell)
    if len(values) != 8 or not isinstance(values[7], bytes):
        raise ValueError(f"record of {len(values)} columns: expected a batch row")
    head = read_head(values[7])
    if head.row_id != cell.key:
        raise ValueError(f"row {cell.key} says it is row {head.row_id}")
    _, endpoint, priority, messages, expires_ms, boot, at_ms, _ = values
    said = (endpoint, priority, messages, boot, at_ms)
    is_whole = said == (head.endpoint, head.priority, head.messages, head.boot, head.at_ms)
    return Stored(head, expires_ms if is_whole and isinstance(expires_ms, int) else None, values[7])


def row_at(image: Image, place: Place, slot: int) -> Stored:
    """Return the row that a survey has found.

    Raises:
        ValueError: it cannot be read any more.
    """
    page = image.read(place) or b""
    if slot < 0:
        data = next(carve(page[-1 - slot :]), b"")
        return Stored(read_head(data), None, data)
    cell = leaf_cells(page)[slot]
    if cell is None:
        raise ValueError("the row is gone")
    return stored_row(image, cell)


def read_meta(image: Image, root: int) -> dict[str, Value]:
    """Return the notes of a database, {} when they cannot be read."""
    notes: dict[str, Value] = {}
    try:
        for cell in leaf_cells(image.page(root) or b"", INDEX_LEAF):
            key, value = record(image, cell) if cell is not None else ("", None)
            if isinstance(key, str):
                notes[key] = value
    except ValueError:  # the page is lost, or no such page
        return {}
    return notes


class Survey:
    """Run `steps` to the end, then read the results: `rows` in the order of their ids, numbers, dead letters."""

    def __init__(self, image: Image, roots: dict[str, int], known: dict[int, tuple[int, int]] | None = None) -> None:
        """`known` maps the ids of rows that waited to (number of messages, bit set of those delivered), if known."""
        self.rows: list[Found] = []
        self.lost = 0
        self.repeats = 0  # messages beyond those that waited: delivered before
        self.is_exact = True  # `lost` is not less than what was lost
        self.done: dict[int, int] = {row_id: done for row_id, (_, done) in (known or {}).items()}
        self.letters: list[tuple[int, Place, int]] = []
        self.lost_letters = False
        self._image = image
        self._roots = roots
        self._known = known
        self._notes: dict[str, Value] = {}
        self._found: dict[int, Found] = {}
        self._elsewhere: dict[int, Found] = {}
        self._bad: dict[int, int] = {}  # rows that are there and cannot be read: messages that waited in them
        self._gaps: list[tuple[int, int]] = []
        self._is_done_known = True
        self._newest = (0, UNKNOWN)  # the last row, and how many messages waited then

    def steps(self) -> Iterator[None]:
        """Do the work; each step reads a page and the rows on it."""
        yield from self._image.read_wal()
        if self._image.bad_frames:
            self._gaps.append((0, LAST_ID))  # any page may be in the state that it had before
        self._notes = read_meta(self._image, self._roots["meta"])
        if self._known is None:
            self._read_done()
        yield from self._read_rows()
        if self._is_something_missing():
            yield from self._search()
        self._count()
        yield from self._read_letters()

    def _read_done(self) -> None:
        for _, _, cell in rows_of(self._image, self._roots["partial"]):
            try:
                values = record(self._image, cell) if cell is not None else []
            except ValueError:
                values = []
            if cell is not None and len(values) == 2 and isinstance(values[1], bytes):
                self.done[cell.key] = int.from_bytes(values[1], "little")
            else:
                self._is_done_known = False

    def _read_rows(self) -> Iterator[None]:
        number = 0
        for leaf, slot, cell in rows_of(self._image, self._roots["batch"]):
            if leaf.number != number:
                number = leaf.number
                yield
            if cell is None or not leaf.low < cell.key <= leaf.high:
                self._gaps.append((leaf.low, leaf.high))
            else:
                self._image.uses(number)
                self._take(leaf, slot, cell)

    def _take(self, leaf: Leaf, slot: int, cell: Cell) -> None:
        try:
            place = self._image.current(leaf.number)
            self._keep(self._found, stored_row(self._image, cell).head, place, slot)
        except ValueError:
            try:
                messages = columns(cell.local, cell.size)[3]
            except (ValueError, IndexError):
                messages = None
            if isinstance(messages, int) and 0 < messages < 1 << 20:
                self._bad[cell.key] = self._left(cell.key, messages)
            else:
                self._gaps.append((cell.key - 1, cell.key))

    def _keep(self, rows: dict[int, Found], head: RowHead, place: Place, slot: int) -> None:
        if self._known is None or head.row_id in self._known:
            left = self._left(head.row_id, head.messages)
            rows[head.row_id] = Found(head.row_id, head.messages, left, place, slot)
        self._newest = max(self._newest, (head.row_id, head.waiting))

    def _left(self, row_id: int, messages: int) -> int:
        done = self.done.get(row_id, 0) & ((1 << messages) - 1)
        return messages - bin(done).count("1")

    def _is_something_missing(self) -> bool:
        if self._known is not None:
            return len(self._found) < len(self._known)
        missing = self._missing()
        return missing > 0 or bool(self._bad) or not self.is_exact

    def _missing(self) -> int:
        """Return how many messages waited in rows of which nothing is left in the tree: at least so many."""
        if not self._gaps:
            return 0
        waiting, self.is_exact = self._count_waiting()
        known = sum(row.left for row in self._found.values()) + sum(self._bad.values())
        return max(0, waiting - known)

    def _count_waiting(self) -> tuple[int, bool]:
        """Return how many messages waited at the end, as far as that is known, and whether it is."""
        last, waiting = self._newest
        last = max(last, *self._bad, 0)
        note, before = self._notes.get(WAITING), self._notes.get(WAITING_NEXT)
        is_noted = False
        if isinstance(note, int) and isinstance(before, int) and before > last:
            waiting, is_noted = note, True
        is_end_lost = last in self._bad or any(high > last for _, high in self._gaps)
        is_known = waiting != UNKNOWN and (not is_end_lost or (is_noted and self._notes.get("clean") == 1))
        return waiting, is_known

    def _search(self) -> Iterator[None]:
        """Look for rows in the gaps wherever they may stand."""
        self._image.use_free_pages()
        for place in self._image.unused():
            page = self._image.read(place)
            if page is not None:
                for head, slot in self._candidates(page):
                    if self._is_wanted(head.row_id):
                        self._keep(self._elsewhere, head, place, slot)
            yield

    def _candidates(self, page: bytes) -> Iterable[tuple[RowHead, int]]:
        try:
            cells = leaf_cells(page)
        except ValueError:
            cells = []
        for slot, cell in enumerate(cells):
            try:
                if cell is not None and self._is_wanted(cell.key):
                    yield stored_row(self._image, cell).head, slot
            except ValueError:
                continue
        for data in carve(page):
            try:
                yield read_head(data), -1 - page.index(data)
            except ValueError:
                continue

    def _is_wanted(self, row_id: int) -> bool:
        if row_id in self._found or row_id in self._elsewhere:
            return False
        if self._known is not None:
            return row_id in self._known
        return row_id in self._bad or any(low < row_id <= high for low, high in self._gaps)

    def _count(self) -> None:
        known, elsewhere = self._known, self._elsewhere
        if known is not None:
            waited = sum(self._left(row_id, messages) for row_id, (messages, _) in known.items())
            self.lost = max(0, waited - sum(row.left for row in (*self._found.values(), *elsewhere.values())))
        else:
            missing = self._missing()
            between = sum(row.left for row_id, row in elsewhere.items() if row_id not in self._bad)
            self.lost = sum(left for row_id, left in self._bad.items() if row_id not in elsewhere)
            self.lost += max(0, missing - between)
            self.repeats = max(0, between - missing) if self.is_exact else 0
            self.is_exact = self.is_exact and not (between and self.lost)  # who knows which of these had left
            if not self._is_done_known:  # some of what is recovered was delivered, and hides what is lost
                waiting, is_known = self._count_waiting()
                recovered = sum(row.left for row in (*self._found.values(), *elsewhere.values()))
                self.repeats = max(0, recovered + self.lost - waiting) if is_known else recovered
                self.is_exact = self.is_exact and not self.lost
        self.rows = sorted(row for row in (*self._found.values(), *elsewhere.values()) if row.left)

    def _read_letters(self) -> Iterator[None]:
        for leaf, slot, cell in rows_of(self._image, self._roots["dead"]):
            if cell is None:
                self.lost_letters = True
            else:
                self.letters.append((cell.key, self._image.current(leaf.number), slot))
            yield
