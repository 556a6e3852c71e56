"""What a module prints, line by line."""

from __future__ import annotations

_LEVELS = {"3": "error", "4": "warning", "6": "info", "7": "debug"}


class LogLine(str):
    """The text of one line; `level` is debug, info, warning or error."""

    __slots__ = ("level",)

    level: str

    @classmethod
    def parse(cls, line: str) -> LogLine:
        """Return a line as the supervisor reads it: `<3>` in front says that it is an error, nothing means info."""
        mark, text = line[:3], line[3:]
        is_marked = len(mark) == 3 and mark[0] == "<" and mark[2] == ">" and mark[1].isdigit()
        found = cls(text if is_marked else line)
        found.level = _LEVELS.get(mark[1], "error" if mark[1] < "3" else "info") if is_marked else "info"
        return found
