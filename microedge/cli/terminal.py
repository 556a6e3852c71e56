"""What the terminal can show, and text made safe and fit for it.

Rendering functions take a `Look` and return text, so that a test sees exactly what a person sees.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from dataclasses import dataclass
from typing import IO

from microedge.errors import printable

MIN_COLUMNS, MAX_COLUMNS = 60, 120  # narrower cannot hold the status table; wider is hard to read across

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


@dataclass(frozen=True)
class Look:
    """How to render: columns, whether colour may be used, whether the output takes more than ASCII."""

    width: int = 80
    colour: bool = False
    unicode: bool = True

    def paint(self, text: str, style: str) -> str:
        """Return `text` in bold, dim, red, green, yellow or cyan; unchanged without colour or style."""
        code = _CODES.get(style)
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and code and text else text

    def clip(self, text: str, columns: int) -> str:
        """Return `text` in at most `columns` characters, a cut one marked."""
        if len(text) <= columns:
            return text
        mark = "…" if self.unicode else "~"
        return text[: max(columns - 1, 0)] + mark

    def plain(self, text: str) -> str:
        """Return `text` as the output can encode it."""
        return text if self.unicode else text.encode("ascii", "backslashreplace").decode()


def look_of(stream: IO[str]) -> Look:
    """Return what `stream` can show: colour only on a terminal without NO_COLOR, and not on TERM=dumb."""
    is_terminal = stream.isatty()
    colour = is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    width = shutil.get_terminal_size((100, 24)).columns
    encoding = (getattr(stream, "encoding", None) or "ascii").lower().replace("-", "")
    return Look(max(MIN_COLUMNS, min(width, MAX_COLUMNS)), colour, encoding == "utf8")


def clean(value: object, max_chars: int = 500) -> str:
    """Return a text from outside as one line that cannot move the cursor or change colours."""
    return printable(value, max_chars)


def labelled(look: Look, label: str, text: str, label_columns: int = 15) -> list[str]:
    """Return `label   text` with the text wrapped in its own column."""
    columns = max(look.width - label_columns, 20)
    lines = textwrap.wrap(text, columns, break_on_hyphens=False) or [""]
    head = look.paint(label, "dim") + " " * (label_columns - len(label)) + lines[0]
    return [head, *(" " * label_columns + line for line in lines[1:])]


def say(text: str) -> None:
    """Print one text to standard output, and at once: a reader may be waiting at the other end of a pipe."""
    encoding = sys.stdout.encoding or "ascii"
    print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
