"""Numbers as a person reads them: sizes, durations and times of day. Pure."""

from __future__ import annotations

import time

_SIZES = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_DURATIONS = (
    (86_400, "d", 3_600, "h"),
    (3_600, "h", 60, "min"),
    (60, "min", 1, "s"),
)


def size(byte_count: float) -> str:
    """Return bytes as B, KiB, MiB or GiB, with one decimal below ten."""
    for unit, name in _SIZES:
        if byte_count >= unit:
            value = byte_count / unit
            return f"{value:.1f} {name}" if value < 10 else f"{value:.0f} {name}"
    return f"{byte_count:.0f} B"


def duration(seconds: float) -> str:
    """Return seconds as the two units that matter: "0.4 s", "12 s", "3 min 5 s", "2 h 7 min", "4 d 1 h"."""
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f} s"
    whole = round(seconds)
    for unit, name, next_unit, next_name in _DURATIONS:
        if whole >= unit:
            rest = whole % unit // next_unit
            return f"{whole // unit} {name} {rest} {next_name}" if rest else f"{whole // unit} {name}"
    return f"{whole} s"


def count(number: int, noun: str) -> str:
    """Return "1 message" or "2,000 messages"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def clock(time_ms: float, now_s: float | None = None) -> str:
    """Return epoch milliseconds as local time of day, with the date before it unless that is today."""
    now_s = time.time() if now_s is None else now_s
    try:
        moment, today = time.localtime(time_ms // 1000), time.localtime(now_s)
    except (OverflowError, ValueError, OSError):  # a module may say anything
        return f"{time_ms:.0f} ms"
    text = f"{time.strftime('%H:%M:%S', moment)}.{int(time_ms % 1000):03d}"
    return text if moment[:3] == today[:3] else f"{time.strftime('%Y-%m-%d', moment)} {text}"
