"""What modules print: captured from a pipe, kept in a bounded ring in RAM, never written to the card.

A module that floods its stdout must cost the supervisor nothing: reading and throwing away takes 89 % of a core,
so reading stops when the module has used up its budget. The pipe fills, and the module blocks in its own write.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from microedge.errors import printable
from microedge.reactor import Reactor

ERROR, INFO = 3, 6  # syslog
LINE_BYTES = 4_096  # a longer line is cut into pieces
_RING_BYTES = 65_536  # some hundred lines
_OVERHEAD_BYTES = 200  # what a line costs in RAM beside its text: a module that prints empty lines fills the ring, too
_READ_BYTES = 16_384
_RATE_BYTES_PER_S = 65_536
_BURST_BYTES = 262_144
_PREFIX = re.compile(r"<([0-7])>")  # sd-daemon(3)
_SYSLOG_LEVELS = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


@dataclass(frozen=True)
class Line:
    """One line of a log. `time_ms` is wall-clock milliseconds since the epoch, `level` 0-7 as in syslog."""

    time_ms: int
    level: int
    text: str


Subscriber = Callable[[Line], None]


class LogRing:
    """The last lines of one module, at most 64 KiB of them; and who listens to new ones."""

    def __init__(self) -> None:
        self._lines: deque[Line] = deque()
        self._bytes = 0
        self._last_error = ""
        self._subscribers: list[Subscriber] = []

    def append(self, line: Line) -> None:
        self._lines.append(line)
        self._bytes += len(line.text) + _OVERHEAD_BYTES
        while self._bytes > _RING_BYTES:
            self._bytes -= len(self._lines.popleft().text) + _OVERHEAD_BYTES
        if line.level <= ERROR:
            self._last_error = line.text
        for subscriber in list(self._subscribers):  # one that finds its client gone takes itself off the list
            subscriber(line)

    def begin_run(self) -> None:
        """Another process begins: errors of earlier ones do not explain its end."""
        self._last_error = ""

    def tail(self, count: int) -> list[Line]:
        """Return the last `count` lines, oldest first."""
        return list(self._lines)[-count:] if count > 0 else []

    def last_error(self) -> str:
        """Return the last line of level error or worse in this run, "" if none: what to show beside "exited"."""
        return self._last_error

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call `subscriber` for each new line until the returned function is called."""
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)


class LogPipe:
    """Reads one process's stdout and stderr into a ring, within a budget of bytes."""

    def __init__(self, fd: int, ring: LogRing, reactor: Reactor) -> None:
        self._fd = fd
        self._ring = ring
        self._reactor = reactor
        self._rest = b""
        self._tokens = float(_BURST_BYTES)
        self._counted_s = time.monotonic()
        self.is_throttled = False

    def open(self) -> None:
        os.set_blocking(self._fd, False)
        self._reactor.add_reader(self._fd, self._read)

    def close(self) -> None:
        """Take what is left, as far as the budget of one burst goes, and close."""
        if self._fd < 0:
            return
        left = _BURST_BYTES
        while left > 0:
            data = self._read_once()
            if not data:
                break
            left -= len(data)
            self._take(data)
        if self._rest:
            self._append(self._rest)
        self._reactor.remove_reader(self._fd)
        os.close(self._fd)
        self._fd = -1

    def _read(self) -> None:
        data = self._read_once()
        if data is None:
            return
        if not data:
            self._reactor.remove_reader(self._fd)  # every writer closed it; the exit of the process ends this pipe
            return
        self._take(data)
        now_s = time.monotonic()
        earned = (now_s - self._counted_s) * _RATE_BYTES_PER_S
        self._tokens = min(float(_BURST_BYTES), self._tokens + earned) - len(data)
        self._counted_s = now_s
        if self._tokens < 0:
            self._pause(-self._tokens / _RATE_BYTES_PER_S)

    def _read_once(self) -> bytes | None:
        try:
            return os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def _pause(self, delay_s: float) -> None:
        self.is_throttled = True
        self._reactor.remove_reader(self._fd)
        self._reactor.call_later(max(0.25, delay_s), self._resume)

    def _resume(self) -> None:
        if self._fd >= 0:
            self.is_throttled = False
            self._reactor.add_reader(self._fd, self._read)

    def _take(self, data: bytes) -> None:
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            self._append(line)
        if len(self._rest) > LINE_BYTES:
            self._append(self._rest)
            self._rest = b""

    def _append(self, raw: bytes) -> None:
        level = INFO
        time_ms = time.time_ns() // 1_000_000
        for start in range(0, len(raw) or 1, LINE_BYTES):
            text = raw[start : start + LINE_BYTES].decode("utf-8", "backslashreplace").rstrip("\r")
            match = _PREFIX.match(text)
            if match and not start:
                level, text = int(match.group(1)), text[3:]
            self._ring.append(Line(time_ms, level, printable(text.expandtabs(4), LINE_BYTES)))


class SupervisorLog(logging.Handler):
    """The supervisor's own log: a ring for `microedge logs supervisor`, and stderr for journald or a person."""

    def __init__(self, ring: LogRing, *, is_journal: bool) -> None:
        """`is_journal`: stderr goes to journald, which adds the time itself and reads the level from a prefix."""
        super().__init__()
        self._ring = ring
        self._is_journal = is_journal

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        level = _SYSLOG_LEVELS.get(record.levelno, INFO)
        for line in text.split("\n"):
            self._ring.append(Line(int(record.created * 1000), level, printable(line, LINE_BYTES)))
        if self._is_journal:
            self._print(f"<{level}>{text}\n")
        else:
            clock = time.strftime("%H:%M:%S", time.localtime(record.created))
            mark = "" if level >= INFO else f"{record.levelname.lower()}: "
            self._print(f"{clock} {mark}{text}\n")

    @staticmethod
    def _print(text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # whoever read stderr is gone; the ring still has the line
            sys.stderr.write(text)
            sys.stderr.flush()
