"""Lines that scroll above a footer that stays: on a terminal by drawing over it, elsewhere by printing it anew."""

from __future__ import annotations

import re
import shutil
from typing import IO

from microedge.cli.terminal import Look

_MIN_MESSAGE_ROWS = 6
_COLOUR = re.compile(r"\x1b\[[0-9]*m")


class Screen:
    """Writes to one stream. Nothing is drawn over on a stream that is no terminal."""

    def __init__(self, stream: IO[str], look: Look) -> None:
        self.look = look
        self.is_terminal = stream.isatty()
        self._stream = stream
        self._pending: list[str] = []
        self._footer: list[str] = []
        self._is_footer_new = False
        self._drawn_rows = 0

    def print(self, text: str) -> None:
        """Show a text above the footer, with the next `draw` on a terminal, else at once."""
        if self.is_terminal and (self._footer or self._drawn_rows):
            self._pending.append(text)
            return
        self._stream.write(text + "\n")
        self._stream.flush()

    def set_footer(self, text: str) -> None:
        """Replace the footer; shown with the next `draw`."""
        self._footer = text.split("\n")
        self._is_footer_new = True

    def draw(self) -> None:
        """Show what came since the last call."""
        if not self._pending and not self._is_footer_new:
            return
        self._is_footer_new = False
        if self.is_terminal:
            self._draw_over()
        else:
            self._stream.write("\n" + "\n".join(self._footer) + "\n\n")
        self._stream.flush()

    def end(self) -> None:
        """Leave the footer where it is; what follows is printed below it."""
        self.draw()
        self._footer, self._drawn_rows = [], 0

    def _draw_over(self) -> None:
        columns, rows = shutil.get_terminal_size((80, 24))
        up = f"\x1b[{self._drawn_rows}A" if self._drawn_rows else ""
        footer = self._fitting(columns, rows)
        # "\x1b[J" erases the old footer; a long message wraps above the new one and does no harm.
        self._stream.write(up + "\r\x1b[J" + "".join(line + "\n" for line in (*self._pending, *footer)))
        self._pending = []
        self._drawn_rows = sum(max(len(_COLOUR.sub("", line)) - 1, 0) // columns + 1 for line in footer)

    def _fitting(self, columns: int, rows: int) -> list[str]:
        """Return the footer as rows of the terminal: none wraps, and messages keep some room above it."""
        room = max(rows - _MIN_MESSAGE_ROWS, 1)
        rule = self.look.paint(("─" if self.look.unicode else "-") * min(columns - 1, self.look.width), "dim")
        return [rule, *self._footer[: room - 1]]
