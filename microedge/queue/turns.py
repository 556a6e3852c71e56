"""Whose turn it is when an endpoint takes messages: strictly by priority, weighted, or with a live lane; pure.

    strict     the most urgent line goes first, and while it waits for the disk nobody goes in its place
    weighted   each line has a weight of 2 ** (9 - priority), and of all that wait at once each gets its share
    live lane  what is in RAM only does not wait for the backlog of its line: three turns of four, the fourth is the
               backlog's, so that neither stands still

Weighted is start-time fair queueing with messages of one size. With a line for each of the ten priorities the weights
add up to 1023, so between two messages of any line no more than 1023 others leave.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from microedge.message import Message, Ticket
from microedge.queue.line import Endpoint, Entry, Line

LIVE_TURNS = 3  # that the live lane takes before the backlog has one
LOWEST_PRIORITY = 9

Lease = tuple[Ticket, Message]
Take = Callable[["deque[Entry]", list[Lease], tuple[int, int, int]], int]
"""Leases from the left of a deque until a limit of (messages, bytes, now) is reached; returns the bytes of room left,
below 0 at a limit."""


class Rule(NamedTuple):
    """How turns are given. Both are off by default: then an endpoint's messages are in order within each priority."""

    is_weighted: bool = False
    has_live_lane: bool = False


STRICT_RULE = Rule()
NO_LIMIT = 1 << 30


class Limits(NamedTuple):
    """Of one lease: messages, how many of them may be other than live ones while a backlog drains, bytes, the time."""

    messages: int
    backlog_messages: int
    max_bytes: int
    now_ms: int


def lease(endpoint: Endpoint, rule: Rule, limits: Limits, take: Take) -> list[Lease]:
    """Return the next messages; empty when there are none, or when they have to be loaded first."""
    taken: list[Lease] = []
    if limits.backlog_messages < limits.messages and not any(map(_is_draining, endpoint.lines)):
        limits = limits._replace(backlog_messages=limits.messages)
    is_live = rule.has_live_lane and live_line(endpoint) is not None
    if is_live or (rule.is_weighted and len(endpoint.lines) > 1):
        _take_turns(endpoint, rule, limits, take, taken)
    else:
        _take_strictly(endpoint, limits, take, taken)
    return taken


def live_line(endpoint: Endpoint) -> Line | None:
    """Return the most urgent line that has messages in RAM which a backlog on disk holds up."""
    for line in endpoint.lines:
        if line.fresh and _is_draining(line):
            return line
    return None


def is_anything_ready(endpoint: Endpoint, rule: Rule) -> bool:
    """True when something can be leased without a look at the disk."""
    if rule.has_live_lane and live_line(endpoint) is not None:
        return True
    return bool(_ready(endpoint, rule))


def _is_draining(line: Line) -> bool:
    return bool(line.loaded or line.backlog or line.loading)


def _take_strictly(endpoint: Endpoint, limits: Limits, take: Take, taken: list[Lease]) -> None:
    room, count = limits.max_bytes, min(limits.messages, limits.backlog_messages)
    for line in endpoint.lines:
        if line.loaded:
            room = take(line.loaded, taken, (count, room, limits.now_ms))
        if room >= 0 and line.fresh and not line.backlog and not line.loading:
            room = take(line.fresh, taken, (count, room, limits.now_ms))
        if room < 0 or line.backlog or line.loading:
            break


def _take_turns(endpoint: Endpoint, rule: Rule, limits: Limits, take: Take, taken: list[Lease]) -> None:
    room, backlog = limits.max_bytes, limits.backlog_messages
    while len(taken) < limits.messages:
        live = live_line(endpoint) if rule.has_live_lane else None
        rest = _ready(endpoint, rule) if backlog > 0 else []
        is_live = live is not None and (not rest or endpoint.live_turns < LIVE_TURNS)
        line = live if is_live else min(rest, key=lambda one: _start(endpoint, one), default=None)
        if line is None:
            break
        before = len(taken)
        entries = line.fresh if is_live or not line.loaded else line.loaded
        left = take(entries, taken, (before + 1, room, limits.now_ms))
        if len(taken) == before:
            if left < 0:
                break
            continue  # all of it had expired
        message = taken[-1][1]
        room = max(0, room - message.size_bytes)
        _note_turn(endpoint, line, is_live)
        backlog -= not is_live


def _ready(endpoint: Endpoint, rule: Rule) -> list[Line]:
    """Return the lines that may have the next turn, beside the live lane."""
    ready: list[Line] = []
    for line in endpoint.lines:
        is_blocked = line.is_blocked
        if line.loaded or (line.fresh and not is_blocked):
            ready.append(line)
        if not rule.is_weighted and (ready or is_blocked):
            break
    return ready


def _start(endpoint: Endpoint, line: Line) -> float:
    """Return when a line's next message is due; one that was idle has saved nothing up."""
    return max(endpoint.served, line.due)


def _note_turn(endpoint: Endpoint, line: Line, is_live: bool) -> None:
    if is_live:
        endpoint.live_turns += 1
        return
    endpoint.live_turns = 0
    endpoint.served = _start(endpoint, line)
    line.due = endpoint.served + 2.0 ** (line.priority - LOWEST_PRIORITY)
