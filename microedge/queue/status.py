"""What `microedge queue status` shows, counted from the lines when somebody asks; pure."""

from __future__ import annotations

from itertools import islice

from microedge.queue.line import Entry, Line
from microedge.queue.lines import Lines, stored_bytes


class LineCount:
    """The messages of one line: all, on disk, leased, in RAM."""

    def __init__(self, line: Line, leased: list[Entry], now_ms: int) -> None:
        ram = [entry for entry in (*line.loaded, *line.fresh, *leased) if entry.message is not None]
        self.line = line
        self.in_flight = len(leased)
        self.disk_messages = line.disk_messages
        self.messages = self.disk_messages + sum(1 for entry in ram if entry.row is None)
        self.ram_messages = len(ram)
        self.ram_bytes = sum(stored_bytes(entry.message) for entry in ram if entry.message is not None)
        times = [entry.at_ms for entry in ram] + [row.at_ms for row in islice(line.rows(), 1)]
        self.oldest_age_s = max(0, now_ms - min(times, default=now_ms)) / 1000

    def describe(self) -> dict[str, object]:
        """Return the line as the status document shows it."""
        return {
            "endpoint": self.line.endpoint.name,
            "priority": self.line.priority,
            "messages": self.messages,
            "disk_messages": self.disk_messages,
            "in_flight": self.in_flight,
            "oldest_age_s": self.oldest_age_s,
        }


def count_lines(lines: Lines, now_ms: int) -> list[LineCount]:
    """Return the counts of every line that was ever used, by endpoint and priority."""
    leased: dict[Line, list[Entry]] = {}
    for entry in lines.leased.values():
        leased.setdefault(entry.line, []).append(entry)
    counts = [LineCount(line, leased.get(line, []), now_ms) for line in lines.lines()]
    return sorted(counts, key=lambda count: (count.line.endpoint.name, count.line.priority))


def describe(lines: Lines, now_ms: int) -> dict[str, object]:
    """Return the part of the status document that the lines know."""
    counts = count_lines(lines, now_ms)
    return {
        "messages": sum(count.messages for count in counts),
        "ram_messages": sum(count.ram_messages for count in counts),
        "ram_bytes": sum(count.ram_bytes for count in counts),
        "disk_messages": sum(count.disk_messages for count in counts),
        "oldest_age_s": max((count.oldest_age_s for count in counts), default=0.0),
        "dropped": lines.dropped,
        "dropped_by_module": lines.losses.by_module(),
        "gaps": len(lines.losses.due) + len(lines.losses.told),
        "endpoints": [count.describe() for count in counts],
    }
