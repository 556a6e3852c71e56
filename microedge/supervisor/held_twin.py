"""One twin as the supervisor holds it: the twin itself, its file, the process that knows of it, and what is amiss."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from microedge.message import Message
from microedge.reactor import Timer
from microedge.supervisor.instance import Instance

if TYPE_CHECKING:
    from microedge.hub.session import Session
    from microedge.twin.file import TwinFile
    from microedge.twin.saving import SaveTimer
    from microedge.twin.twin import Twin

# Kinds of problems, in the order in which `status` says them.
FILE, SAVE, EDIT, CONFIGURED, UPSTREAM = "file", "save", "edit", "configuration", "upstream"
_KINDS = (FILE, SAVE, EDIT, CONFIGURED, UPSTREAM)

Report = tuple["Instance", "Session", int, object]
"""Who sent it, over which session, under which number, and the patch as it came."""


class HeldTwin:
    """`file` is None where it could not be read: then the twin lives in RAM alone, and the file stays as it is."""

    def __init__(self, twin: Twin, file: TwinFile | None, timer: SaveTimer) -> None:
        self.twin = twin
        self.file = file
        self.problems: dict[str, str] = {}
        # The module
        self.instance: Instance | None = None  # whose process was started with this twin
        self.sent_version = 0  # of desired properties: what that process was sent last
        self.reports: deque[Report] = deque()  # not yet looked at
        self.withheld: list[Callable[[], None]] = []  # answers with a version that the card must reserve first
        self.unsafe: list[tuple[int, Callable[[], None]]] = []  # what is told once the card has that change
        self.changes: deque[Message] = deque()  # messages that say what changed and are still on their way
        # The card
        self.timer = timer
        self.alarm: Timer | None = None
        self.due_ms: int | None = None
        self.is_saving = False
        self.wants_look = False  # somebody may have edited the file
        self.unsettled = 0  # times in a row that the file was just being written by somebody else
        self.refused: bytes | None = None  # an edit to be kept beside the file before that is put back
        # The upstream
        self.upstream_status: dict[str, Any] = {}  # what became of its last document
        self.published = 0  # checksum of what was last given to the upstream

    @property
    def name(self) -> str:
        return self.twin.module

    @property
    def is_saved(self) -> bool:
        """True when everything is on the card."""
        return self.file is not None and self.twin.is_saved and self.refused is None

    @property
    def must_reserve(self) -> bool:
        """True while the version of the reported properties could be given out again after a crash.

        With a card that cannot be written that has to be risked, or no module could report any more.
        """
        return self.twin.is_ahead and self.file is not None and SAVE not in self.problems

    @property
    def is_at_risk(self) -> bool:
        """True while a crash would undo a change of desired properties or tags; False where the card takes nothing."""
        return self.twin.urgent_change > self.twin.saved_change and self.file is not None and SAVE not in self.problems

    def take_safe(self) -> list[Callable[[], None]]:
        """Return what waited for the card and need not any longer, in order."""
        saved = self.twin.saved_change if self.is_at_risk else self.twin.urgent_change
        safe = [then for change, then in self.unsafe if change <= saved]
        self.unsafe = [(change, then) for change, then in self.unsafe if change > saved]
        return safe

    @property
    def problem(self) -> str:
        """What a person should know, "" when all is well."""
        return "; ".join(self.all_notes())

    def all_notes(self) -> list[str]:
        """Return what is amiss, one sentence each."""
        return [self.problems[kind] for kind in _KINDS if kind in self.problems]
