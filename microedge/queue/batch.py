"""Cuts what waits into rows of one transaction; pure."""

from __future__ import annotations

from microedge.queue.jobs import NewRow
from microedge.queue.line import Entry, Line, Row
from microedge.queue.lines import stored_bytes
from microedge.queue.policy import ROW_BYTES, TRANSACTION_BYTES


def cut_rows(unsaved: dict[Line, list[Entry]], first_id: int) -> tuple[list[NewRow], bool]:
    """Return rows for the beginning of each line, at most TRANSACTION_BYTES together, and whether something is left.

    Lines come in the order given. A message that is larger than a row gets a row of its own.
    """
    rows: list[NewRow] = []
    room = TRANSACTION_BYTES
    for line, entries in unsaved.items():
        start = 0
        while start < len(entries):
            end, size = _row_end(entries, start)
            if size > room and rows:
                return rows, True
            rows.append(_new_row(line, entries[start:end], first_id + len(rows), size))
            room -= size
            start = end
    return rows, False


def _row_end(entries: list[Entry], start: int) -> tuple[int, int]:
    size = 0
    for index in range(start, len(entries)):
        message = entries[index].message
        entry_bytes = stored_bytes(message) if message is not None else 0
        if size and size + entry_bytes > ROW_BYTES:
            return index, size
        size += entry_bytes
    return len(entries), size


def _new_row(line: Line, entries: list[Entry], row_id: int, size: int) -> NewRow:
    expires_ms = max(entry.expires_ms for entry in entries)
    row = Row(row_id, len(entries), size, entries[0].at_ms, expires_ms)
    return NewRow(line, row, entries, size)
