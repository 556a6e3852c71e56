"""A table of text columns that fits the terminal. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from microedge.cli.terminal import Look

_GAP = "  "


@dataclass(frozen=True)
class Column:
    """One column: its heading, the least width it may be cut to (0: never cut), and its side."""

    title: str
    min_width: int = 0
    is_number: bool = False


@dataclass
class Row:
    """One row: cells, the style of each painted cell by column number, and lines of remark under it."""

    cells: list[str]
    styles: dict[int, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def render(look: Look, columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    """Return the lines of a table, headings first, its cuttable columns cut so that it fits `look.width`."""
    widths = _fit(look.width, columns, rows)
    titles = Row([column.title for column in columns], dict.fromkeys(range(len(columns)), "dim"))
    lines = []
    for row in (titles, *rows):
        lines.append(_line(look, columns, widths, row))
        lines.extend(row.remarks)
    return lines


def _fit(width: int, columns: Sequence[Column], rows: Sequence[Row]) -> list[int]:
    widths = [
        max(len(column.title), *(len(row.cells[n]) for row in rows)) if rows else len(column.title)
        for n, column in enumerate(columns)
    ]
    excess = sum(widths) + len(_GAP) * (len(columns) - 1) - width
    while excess > 0:
        spare = [w - column.min_width if column.min_width else 0 for w, column in zip(widths, columns)]
        widest = max(range(len(widths)), key=lambda n: spare[n])
        if spare[widest] <= 0:
            break  # a wrapped line is better than a wrong one
        widths[widest] -= 1
        excess -= 1
    return widths


def _line(look: Look, columns: Sequence[Column], widths: Sequence[int], row: Row) -> str:
    parts = []
    for n, (column, width, cell) in enumerate(zip(columns, widths, row.cells)):
        text = look.clip(cell, width)
        padding = " " * (width - len(text))
        painted = look.paint(text, row.styles.get(n, ""))
        parts.append(padding + painted if column.is_number else painted + padding)
    return _GAP.join(parts).rstrip()
