"""GetModuleLogs: which lines of which logs somebody wants, and the answer as IoT Edge writes it.

A pattern comes from outside, and some patterns take longer than the universe for one line: all matching of one
request together may use a quarter of a second of CPU, watched by a timer signal, which `re` looks out for.
"""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from microedge.errors import literal, printable
from microedge.supervisor.logs import Line

SUPERVISOR_ID = "edgeAgent"  # under which IoT Edge lists the log of the agent itself
MAX_ANSWER_BYTES = 127_000  # edgeAgent keeps this distance from the 128 KiB of a payload
MAX_PATTERN_CHARS = 500
MAX_ITEMS = 32
_MATCHING_S = 0.25
_MAX_TAIL = 1_000_000
_LEVEL_NAMES = ("EMG", "ALR", "CRT", "ERR", "WRN", "NTC", "INF", "DBG")
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION = re.compile(r"([0-9]{1,9}) ?(s|m|h|d)[a-z]*")
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)")


@dataclass(frozen=True)
class Filter:
    """Which lines; None takes all. Times are milliseconds since the epoch."""

    tail: int | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    level: int | None = None
    pattern: re.Pattern[str] | None = None

    @classmethod
    def parse(cls, members: Any, now_ms: int) -> Filter:
        """Check a filter.

        Raises:
            ValueError: a member is unknown or wrong; the text says which and what was expected.
        """
        if not isinstance(members, dict) or members.keys() - {"tail", "since", "until", "regex", "loglevel"}:
            raise ValueError(f"filter = {printable(members, 80)}: expected tail, since, until, regex, loglevel")
        return cls(
            _whole(members, "tail", _MAX_TAIL),
            _moment_ms(members, "since", now_ms),
            _moment_ms(members, "until", now_ms),
            _whole(members, "loglevel", 7),
            _pattern(members["regex"]) if members.get("regex") is not None else None,
        )

    def choose(self, lines: Sequence[Line]) -> list[Line]:
        """Return the lines that pass, oldest first; `tail` counts behind everything else."""
        found = [line for line in lines if self._passes(line)]
        return found if self.tail is None else found[len(found) - min(self.tail, len(found)) :]

    def _passes(self, line: Line) -> bool:
        return (
            (self.since_ms is None or line.time_ms >= self.since_ms)
            and (self.until_ms is None or line.time_ms <= self.until_ms)
            and (self.level is None or line.level == self.level)
            and (self.pattern is None or self.pattern.search(line.text) is not None)
        )


@dataclass(frozen=True)
class LogRequest:
    """A whole request: (pattern of ids, filter) pairs, and the form of the answer."""

    items: tuple[tuple[re.Pattern[str], Filter], ...]
    is_gzip: bool = False
    is_json: bool = False

    @classmethod
    def parse(cls, arguments: Mapping[str, Any], now_ms: int | None = None) -> LogRequest:
        """Check the arguments of GetModuleLogs; `now_ms` is wall-clock time.

        Raises:
            ValueError: one is wrong; the text says which and what was expected.
        """
        now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
        items = arguments.get("items")
        if not isinstance(items, list) or not 1 <= len(items) <= MAX_ITEMS:
            raise ValueError(f"items: expected a list of 1 to {MAX_ITEMS} objects with id and filter")
        encoding = _choice(arguments, "encoding", ("none", "gzip"))
        content_type = _choice(arguments, "contentType", ("text", "json"))
        return cls(tuple(_item(item, now_ms) for item in items), encoding == "gzip", content_type == "json")


def answer_of(request: LogRequest, logs: Mapping[str, Sequence[Line]], device: str) -> list[dict[str, str]]:
    """Return what GetModuleLogs answers: an entry for each log that an item names, together at most 127,000 bytes.

    What is too much is left out at the old end of each log, evenly.

    Raises:
        ValueError: the patterns take too long, or name so many logs that not even empty ones fit.
    """
    with _limited_matching():
        chosen = {name: item[1].choose(lines) for name, lines in logs.items() for item in _of(request, name)}
    texts = {name: [_written(request, line, name, device) for line in lines] for name, lines in chosen.items()}
    budget = MAX_ANSWER_BYTES // max(1, len(texts)) - 200  # 200 for id, keys and brackets
    if budget < 0:
        raise ValueError(f"items name {len(texts)} logs: expected fewer, an answer has {MAX_ANSWER_BYTES} bytes")
    return [{"id": name, **_payload(request, _fitting(request, lines, budget))} for name, lines in texts.items()]


def _of(request: LogRequest, name: str) -> list[tuple[re.Pattern[str], Filter]]:
    """Return the first item that names this log: each log comes once."""
    return [item for item in request.items if item[0].search(name)][:1]


def _fitting(request: LogRequest, lines: list[str], budget: int) -> list[str]:
    """Return the newest lines whose encoded form fits."""
    fits, too_many = 0, len(lines) + 1
    count = len(lines)
    while too_many - fits > 1:
        if _size(_payload(request, lines[len(lines) - count :])) <= budget:
            fits = count
        else:
            too_many = count
        count = (fits + too_many) // 2
    return lines[len(lines) - fits :]


def _size(payload: dict[str, str]) -> int:
    return len(json.dumps(payload, ensure_ascii=False).encode())


def _payload(request: LogRequest, lines: list[str]) -> dict[str, str]:
    content = f"[{','.join(lines)}]" if request.is_json else "".join(lines)
    if not request.is_gzip:
        return {"payload": content}
    import base64
    import gzip  # few ask for it, and everybody would pay

    return {"payloadBytes": base64.b64encode(gzip.compress(content.encode(), mtime=0)).decode()}


def _written(request: LogRequest, line: Line, name: str, device: str) -> str:
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(line.time_ms // 1000))
    clock += f".{line.time_ms % 1000:03d} +00:00"
    if not request.is_json:
        return f"<{line.level}> {clock} [{_LEVEL_NAMES[line.level]}] {line.text}\n"
    members = {"timestamp": clock, "loglevel": line.level, "text": line.text}
    return json.dumps({"device": device, "id": name, "stream": "stdout", **members}, ensure_ascii=False)


def _item(item: Any, now_ms: int) -> tuple[re.Pattern[str], Filter]:
    if not isinstance(item, dict) or "id" not in item or item.keys() - {"id", "filter"}:
        raise ValueError(f"items: {printable(item, 80)}: expected an object with id and filter")
    filter_ = item.get("filter")
    return _pattern(item["id"]), Filter.parse(filter_ if filter_ is not None else {}, now_ms)


def _pattern(text: Any) -> re.Pattern[str]:
    if not isinstance(text, str) or len(text) > MAX_PATTERN_CHARS:
        raise ValueError(f"pattern {literal(text, 40)}: expected a text of at most {MAX_PATTERN_CHARS} characters")
    try:
        return re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"pattern {literal(text, 80)}: {error}") from error


def _whole(members: Mapping[str, Any], key: str, most: int) -> int | None:
    value = members.get(key)
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        value = int(value)
    if value is not None and (type(value) is not int or not 0 <= value <= most):
        raise ValueError(f"{key} = {literal(value, 40)}: expected a whole number from 0 to {most}")
    return value


def _choice(members: Mapping[str, Any], key: str, known: tuple[str, str]) -> str:
    value = members.get(key)
    if value is None:
        return known[0]
    if not isinstance(value, str) or value.lower() not in known:
        raise ValueError(f"{key} = {literal(value, 40)}: expected {known[0]} or {known[1]}")
    return value.lower()


def _moment_ms(members: Mapping[str, Any], key: str, now_ms: int) -> int | None:
    """Return a time as RFC 3339, epoch seconds, or how long ago (`90m`, `1d`, `2 hours`)."""
    value = members.get(key)
    if value is None:
        return None
    text = str(value).strip()[:100]
    if text.isdecimal() and len(text) < 12:
        return int(text) * 1_000
    ago = _DURATION.fullmatch(text)
    if ago:
        return now_ms - int(ago[1]) * _UNITS_S[ago[2]] * 1_000
    match = _RFC3339.fullmatch(text)
    if match:
        return _rfc3339_ms(match, text)
    raise ValueError(f"{key} = {literal(text, 40)}: expected RFC 3339, seconds since the epoch, or 90m, 1d")


def _rfc3339_ms(match: re.Match[str], text: str) -> int:
    from datetime import datetime  # few ask for it

    day, clock, fraction, zone = match.groups()
    offset = "+00:00" if zone in "Zz" else zone  # Python 3.9 does not know Z
    try:
        whole_s = int(datetime.fromisoformat(f"{day}T{clock}{offset}").timestamp())
        return whole_s * 1_000 + int(f"{fraction or ''}000"[:3])
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{literal(text, 40)}: {error}") from error


@contextmanager
def _limited_matching() -> Iterator[None]:
    """Raise ValueError when what is inside takes more than a quarter of a second of CPU; on the main thread only."""

    def too_long(_signum: int, _frame: object) -> None:
        raise ValueError(f"the patterns take longer than {_MATCHING_S} s: expected simpler ones")

    previous = signal.signal(signal.SIGVTALRM, too_long)
    signal.setitimer(signal.ITIMER_VIRTUAL, _MATCHING_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, previous)
