"""From the votes of the rules to a decision, and what is remembered of each source. Pure, as are the rules."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .facts import Facts, Source  # noqa: TID252 (works under whatever name the runner loads this package)
    from .rules import Rule, Test  # noqa: TID252
    from .settings import Settings  # noqa: TID252

ALL, ANY = "all", "any"
PASS, DROP = "pass", "drop"

# An output of each of 256 modules. The source that was silent for the longest is forgotten for a new one.
MAX_SOURCES = 256
_MISSING = ""  # in place of a rule's name


class Decision:
    """What becomes of one message; `missed` holds the rules that did not find their field in it."""

    __slots__ = ("missed", "passes")

    def __init__(self, passes: bool, missed: list[Rule]) -> None:
        self.passes = passes
        self.missed = missed


class _Memory:
    """What is known of one source. `passed_s` is when something of it went on, at first when it was first seen."""

    __slots__ = ("passed_s", "tests")

    def __init__(self, rules: list[Rule], now_s: float) -> None:
        self.tests = [rule.new_test() for rule in rules]
        self.passed_s = now_s


class Judge:
    """Decides message by message, in the order in which they come, and counts."""

    def __init__(self, settings: Settings, *, max_sources: int = MAX_SOURCES) -> None:
        self._rules = settings.rules
        self._is_all = settings.mode == ALL
        self._missing_passes = settings.missing == PASS
        self._heartbeat_s = settings.heartbeat_s
        self._max_sources = max_sources
        self._memories: dict[Source, _Memory] = {}  # the one that was seen last is at the end
        self._received = self._passed = self._heartbeats = self._dropped_missing = self._forgotten = 0
        self._dropped = {rule.name: 0 for rule in self._rules}
        self._missed = {rule.name: 0 for rule in self._rules}

    def decide(self, facts: Facts, now_s: float) -> Decision:
        """Decide about one message and remember what follows from it. `now_s` is on the monotonic clock."""
        memory = self._memory_of(facts.source, now_s)
        cases = [
            (rule, test, _read(rule, test, facts))
            for rule, test in zip(self._rules, memory.tests)
            if rule.match.fits(facts)
        ]
        votes = [None if value is None else test.vote(value, now_s) for _, test, value in cases]
        refusal = self._refusal([rule.name for rule, _, _ in cases], votes)
        is_heartbeat = bool(refusal) and 0 < self._heartbeat_s <= now_s - memory.passed_s
        missed = [rule for (rule, _, _), vote in zip(cases, votes) if vote is None]
        self._count(refusal, missed, is_heartbeat=is_heartbeat)
        if refusal is not None and not is_heartbeat:
            return Decision(False, missed)
        memory.passed_s = now_s
        for _, test, value in cases:
            if value is not None:
                test.passed(value, now_s)
        return Decision(True, missed)

    def status(self) -> dict[str, object]:
        """Return the counters since this judge was made."""
        return {
            "received": self._received,
            "passed": self._passed,
            "heartbeats": self._heartbeats,
            "dropped": dict(self._dropped),
            "dropped_missing": self._dropped_missing,
            "field_missing": dict(self._missed),
            "sources": len(self._memories),
            "forgotten_sources": self._forgotten,
        }

    def _memory_of(self, source: Source, now_s: float) -> _Memory:
        memory = self._memories.pop(source, None) or _Memory(self._rules, now_s)
        self._memories[source] = memory
        if len(self._memories) > self._max_sources:
            del self._memories[next(iter(self._memories))]
            self._forgotten += 1
        return memory

    def _refusal(self, names: list[str], votes: list[bool | None]) -> str | None:
        """Return who holds the message back: a rule's name, _MISSING, or None when it goes on."""
        refused = [name for name, vote in zip(names, votes) if vote is False]
        is_missing = None in votes and not self._missing_passes
        if self._is_all:
            return _MISSING if is_missing else refused[0] if refused else None
        if True in votes or not votes or (None in votes and self._missing_passes):
            return None
        return refused[0] if refused else _MISSING

    def _count(self, refusal: str | None, missed: list[Rule], *, is_heartbeat: bool) -> None:
        self._received += 1
        for rule in missed:
            self._missed[rule.name] += 1
        if refusal is None or is_heartbeat:
            self._passed += 1
            self._heartbeats += is_heartbeat
        elif refusal == _MISSING:
            self._dropped_missing += 1
        else:
            self._dropped[refusal] += 1


def _read(rule: Rule, test: Test, facts: Facts) -> Any:
    return test.read(None if rule.path is None else facts.value_at(rule.path))
