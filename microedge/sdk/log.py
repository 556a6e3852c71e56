"""A module's log: lines on stderr with the level in front, as sd-daemon(3) writes it.

The standard library's logging costs 1.4 MiB in every module; the supervisor captures stderr anyway and understands
the prefix.
"""

from __future__ import annotations

import sys

DEBUG, INFO, WARNING, ERROR = 7, 6, 4, 3  # syslog levels
_LEVELS = {"debug": DEBUG, "info": INFO, "warning": WARNING, "error": ERROR}


class Log:
    """Writes one line per call to stderr. `%` arguments are formatted only when the line is written."""

    def __init__(self, level_name: str = "info") -> None:
        """`level_name` is debug, info, warning or error; anything else means info."""
        self._level = _LEVELS.get(level_name.lower(), INFO)

    def debug(self, text: str, *args: object) -> None:
        self._write(DEBUG, text, args)

    def info(self, text: str, *args: object) -> None:
        self._write(INFO, text, args)

    def warning(self, text: str, *args: object) -> None:
        self._write(WARNING, text, args)

    def error(self, text: str, *args: object) -> None:
        self._write(ERROR, text, args)

    def _write(self, level: int, text: str, args: tuple[object, ...]) -> None:
        if level > self._level:
            return
        line = (text % args if args else text).replace("\n", "\\n")
        sys.stderr.write(f"<{level}>{line}\n")
        sys.stderr.flush()
