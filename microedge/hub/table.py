"""All routes together: which endpoints a message goes to.

Every route looks at every message; a message goes to an endpoint once, however many routes lead there, with the
priority and TTL of the most urgent of them (edgeHub's rule). Modules send the same envelope again and again, so the
answer is kept per module and envelope; a condition that reads the body cannot be kept and is asked each time.
"""

from __future__ import annotations

from collections.abc import Sequence

from microedge.hub.route import Route
from microedge.message import Envelope, Message, Target
from microedge.names import UPSTREAM

_ANSWERS_MAX = 1_024  # kept; an output that varies its properties starts them over now and then


class _Answer:
    """The routes that take one kind of message, and how many they took."""

    __slots__ = ("count", "routes", "targets")

    def __init__(self, routes: Sequence[Route], targets: tuple[Target, ...]) -> None:
        self.routes = routes
        self.targets = targets
        self.count = 0


class RouteTable:
    """Answers where a message goes. Immutable but for its counters."""

    def __init__(self, routes: Sequence[Route], *, ttl_s: int, has_upstream: bool = True) -> None:
        """`ttl_s` is the store's; without an upstream, `$upstream` is no endpoint."""
        self.routes = tuple(sorted(routes, key=lambda route: (route.priority, route.name)))
        self._ttl_s = ttl_s
        self._has_upstream = has_upstream
        self._counts = dict.fromkeys((route.name for route in routes), 0)
        self._answers: dict[tuple[str, Envelope], _Answer] = {}
        self._is_kept = all(route.condition is None for route in routes)

    def targets(self, message: Message) -> tuple[Target, ...]:
        """Return the targets for a message, most urgent first, each endpoint once.

        Empty means that it goes nowhere: the caller counts it as dropped, by `drop_reason`.
        """
        key = (message.module, message.envelope)
        answer = self._answers.get(key)
        if answer is None:
            answer = self._answer(message)
            if self._is_kept:
                self._keep(key, answer)
        answer.count += 1
        if not self._is_kept:
            self._fold(answer)
        return answer.targets

    def drop_reason(self, message: Message) -> str:
        """Return why a message has no target: "no_route", or "no_upstream" if it was meant for one there is not."""
        return "no_upstream" if any(self._takes(route, message) for route in self.routes) else "no_route"

    def counts(self) -> dict[str, int]:
        """Return how many messages each route has taken."""
        for answer in self._answers.values():
            self._fold(answer)
        return dict(self._counts)

    def _answer(self, message: Message) -> _Answer:
        hits = [route for route in self.routes if self._takes(route, message)]
        targets: dict[str, Target] = {}
        for route in hits:
            endpoint = route.sink.endpoint
            if endpoint not in targets and (self._has_upstream or endpoint != UPSTREAM):
                targets[endpoint] = (endpoint, route.priority, self._ttl(route, message.envelope))
        return _Answer(hits, tuple(targets.values()))

    @staticmethod
    def _takes(route: Route, message: Message) -> bool:
        if not route.source.matches(message.module, message.output):
            return False
        return route.condition is None or route.condition.evaluate(message) is True

    def _ttl(self, route: Route, envelope: Envelope) -> int:
        """The operator's word (the route) goes before the producer's (the message), that before the store's."""
        if route.ttl_s is not None:
            return route.ttl_s
        return self._ttl_s if envelope.ttl_s is None else envelope.ttl_s

    def _keep(self, key: tuple[str, Envelope], answer: _Answer) -> None:
        if len(self._answers) >= _ANSWERS_MAX:
            for old in self._answers.values():
                self._fold(old)
            self._answers.clear()
        self._answers[key] = answer

    def _fold(self, answer: _Answer) -> None:
        for route in answer.routes:
            self._counts[route.name] += answer.count
        answer.count = 0
