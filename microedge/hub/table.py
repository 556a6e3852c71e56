"""All routes together: which endpoints a message goes to.

Every route looks at every message; a message goes to an endpoint once, however many routes lead there, with the
priority and TTL of the most urgent of them (edgeHub's rule). Modules send the same envelope again and again, so what
follows from module and envelope is kept for both: the routes whose source takes the message, and the answers of all
conditions that ask for nothing else. Only conditions that read the body, or what differs from message to message, are
asked each time, and the body is decoded at most once for all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from microedge.hub.facts import TWIN_CHANGE, Facts, Problem, names_of
from microedge.hub.route import Route
from microedge.message import Envelope, Message, Target
from microedge.names import UPSTREAM

if TYPE_CHECKING:
    from microedge.hub.compile import Code

_ANSWERS_MAX = 1_024  # kept; an output that varies its properties starts them over now and then
_DECISIONS_MAX = 64  # kept for each answer: combinations of conditions that were true
_OUTPUTS_MAX = 1_000  # remarked on: a module may invent names of outputs without end


class Decision:
    """Where messages of one kind go: the routes that take them, and how many they took since the last count.

    Without targets, `drop_reason` is "no_route", or "no_upstream" if they were meant for one there is not;
    `is_filtered` says that a condition stood between them and a route.
    """

    __slots__ = ("count", "drop_reason", "is_filtered", "is_upstream", "routes", "targets")

    def __init__(self, routes: Sequence[Route], targets: tuple[Target, ...], *, is_filtered: bool) -> None:
        self.routes = routes
        self.targets = targets
        self.drop_reason = "" if targets else "no_upstream" if routes else "no_route"
        self.is_filtered = is_filtered
        self.is_upstream = any(endpoint == UPSTREAM for endpoint, _, _ in targets)
        self.count = 0


class _Answer:
    """What follows from module and envelope: a decision, or routes of which some have to ask the message.

    `sure` are the positions, in the table, of routes that take it whatever it holds; `asked` those of routes whose
    condition is open, with that condition. `names` are the properties, as `Facts` wants them.
    """

    __slots__ = ("asked", "decisions", "final", "names", "sure")

    def __init__(self, envelope: Envelope) -> None:
        self.sure: list[int] = []
        self.asked: list[tuple[int, Code]] = []
        self.names = names_of(envelope.properties)
        self.decisions: dict[tuple[int, ...], Decision] = {}
        self.final: Decision | None = None


class RouteTable:
    """Answers where a message goes. Immutable but for its counters and for what is kept.

    `undefined_bodies` counts the messages whose body a condition asked for and could not read, by the code of the
    problem. `remarks` holds a sentence for the log at the first of them for each output; whoever logs it empties it.
    """

    def __init__(self, routes: Sequence[Route], *, ttl_s: int, device: str = "", has_upstream: bool = True) -> None:
        """`ttl_s` is the store's; without an upstream, `$upstream` is no endpoint."""
        self.routes = tuple(sorted(routes, key=lambda route: (route.priority, route.name)))
        self.undefined_bodies: Counter[str] = Counter()
        self.remarks: list[str] = []
        self._ttl_s = ttl_s
        self._device = device
        self._has_upstream = has_upstream
        self._counts = dict.fromkeys((route.name for route in routes), 0)
        self._answers: dict[tuple[str, Envelope], _Answer] = {}
        self._remarked: set[tuple[str, str, str]] = set()

    def decide(self, message: Message) -> Decision:
        """Return where a message goes, and count it for the routes that take it.

        Never raises, whatever the message holds: what a condition cannot read is undefined, and no match.
        """
        key = (message.module, message.envelope)
        answer = self._answers.get(key)
        if answer is None:
            answer = self._keep(key, self._answer(message))
        decision = answer.final
        if decision is None:
            decision = self._ask(answer, message)
        decision.count += 1
        return decision

    def decide_twin_change(self, message: Message) -> Decision:
        """Return where a message that says what changed in a twin goes, and count it. Nothing is kept: it is rare."""
        answer = _Answer(message.envelope)
        for index, route in enumerate(self.routes):
            if route.source.matches_twin_changes:
                if route.condition is None:
                    answer.sure.append(index)
                else:
                    answer.asked.append((index, route.condition.evaluate))
        decision = self._ask(answer, message, TWIN_CHANGE)
        decision.count += 1
        self._fold(decision)
        return decision

    def targets(self, message: Message) -> tuple[Target, ...]:
        """Return the targets for a message, most urgent first, each endpoint once; count it as `decide` does."""
        return self.decide(message).targets

    def counts(self) -> dict[str, int]:
        """Return how many messages each route has taken."""
        for answer in self._answers.values():
            self._fold_answer(answer)
        return dict(self._counts)

    def _answer(self, message: Message) -> _Answer:
        """Settle what module and envelope say."""
        answer, is_filtered = _Answer(message.envelope), False
        facts = Facts(message, self._device, names=answer.names)
        for index, route in enumerate(self.routes):
            condition = route.condition
            if not route.source.matches(message.module, message.output):
                continue
            if condition is not None and not condition.is_of_envelope:
                answer.asked.append((index, condition.evaluate))
            elif condition is None or condition.evaluate(facts) is True:
                answer.sure.append(index)
            else:
                is_filtered = True
        if not answer.asked:
            answer.final = self._decision(answer.sure, message, is_filtered)
        return answer

    def _ask(self, answer: _Answer, message: Message, system: Mapping[str, str] | None = None) -> Decision:
        """Ask the conditions that are open. The routes that took it name the decision, so it is made once for each."""
        facts = Facts(message, self._device, names=answer.names, system=system)
        hits = tuple([index for index, evaluate in answer.asked if evaluate(facts) is True])
        if facts.problem is not None:
            self._remark(message, facts.problem)
        decision = answer.decisions.get(hits)
        if decision is None:
            if len(answer.decisions) >= _DECISIONS_MAX:
                self._fold_answer(answer)
                answer.decisions.clear()
            decision = self._decision(sorted([*answer.sure, *hits]), message, is_filtered=True)
            answer.decisions[hits] = decision
        return decision

    def _decision(self, indexes: Sequence[int], message: Message, is_filtered: bool) -> Decision:
        routes = [self.routes[index] for index in indexes]
        targets: dict[str, Target] = {}
        for route in routes:
            endpoint = route.sink.endpoint
            if endpoint not in targets and (self._has_upstream or endpoint != UPSTREAM):
                targets[endpoint] = (endpoint, route.priority, self._ttl(route, message.envelope))
        return Decision(routes, tuple(targets.values()), is_filtered=is_filtered and not routes)

    def _ttl(self, route: Route, envelope: Envelope) -> int:
        """The operator's word (the route) goes before the producer's (the message), that before the store's."""
        if route.ttl_s is not None:
            return route.ttl_s
        return self._ttl_s if envelope.ttl_s is None else envelope.ttl_s

    def _remark(self, message: Message, problem: Problem) -> None:
        self.undefined_bodies[problem.code] += 1
        key = (message.module, message.output, problem.code)
        if key in self._remarked or len(self._remarked) >= _OUTPUTS_MAX:
            return
        self._remarked.add(key)
        where = f"{message.module}/{message.output}"
        self.remarks.append(f"a route asks for $body, which is undefined in messages of {where}: {problem.text}")

    def _keep(self, key: tuple[str, Envelope], answer: _Answer) -> _Answer:
        if len(self._answers) >= _ANSWERS_MAX:
            for old in self._answers.values():
                self._fold_answer(old)
            self._answers.clear()
        self._answers[key] = answer
        return answer

    def _fold_answer(self, answer: _Answer) -> None:
        if answer.final is not None:
            self._fold(answer.final)
        for decision in answer.decisions.values():
            self._fold(decision)

    def _fold(self, decision: Decision) -> None:
        for route in decision.routes:
            self._counts[route.name] += decision.count
        decision.count = 0
