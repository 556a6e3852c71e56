"""Which line of a JSON text holds which member: what the parser knows and throws away. Pure.

The scanner trusts the parser to find mistakes: it is given texts that were parsed, and never raises.
"""

from __future__ import annotations

import json
import re

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:\n]', re.DOTALL)


def line_of(text: str, path: str) -> int:
    """Return the line, from 1, of the member at `path`, written like a.b[2].c; of what encloses it if it has none.

    0 if not even its first step is there.
    """
    lines = member_lines(text)
    while path:
        if path in lines:
            return lines[path]
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return 0


def member_lines(text: str) -> dict[str, int]:
    """Return the line, from 1, of every member of every object in `text`."""
    scanner = _Scanner()
    for token in _TOKEN.finditer(text):
        scanner.take(token.group())
    return scanner.lines


class _Scanner:
    def __init__(self) -> None:
        self.lines: dict[str, int] = {}
        self._line = 1
        self._steps: list[str | int] = []  # the member or the index that each open object or array is at
        self._wants_key = False

    def take(self, token: str) -> None:
        if token == "\n":
            self._line += 1
        elif token in "{[":
            self._steps.append("" if token == "{" else 0)
            self._wants_key = token == "{"
        elif token in "}]":
            del self._steps[-1:]
            self._wants_key = False
        elif token == ",":
            self._next()
        elif token[0] == '"' and self._wants_key:
            self._steps[-1] = json.loads(token, strict=False)
            self._wants_key = False
            self.lines.setdefault(self._path(), self._line)

    def _next(self) -> None:
        step = self._steps[-1] if self._steps else ""
        self._wants_key = isinstance(step, str)
        if isinstance(step, int):
            self._steps[-1] = step + 1

    def _path(self) -> str:
        steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in self._steps)
        return "".join(steps).lstrip(".")
