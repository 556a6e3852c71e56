"""Which endpoints a message goes to: each once, with the priority and TTL of the most urgent route."""

from __future__ import annotations

import pytest

from microedge.hub.parser import parse
from microedge.hub.route import Route, Sink, Source
from microedge.hub.table import RouteTable
from microedge.message import Envelope, Message

STORE_TTL_S = 7_200


class Says:
    """A condition with a fixed answer."""

    def __init__(self, answer: bool | None) -> None:
        self.answer = answer

    def evaluate(self, message: Message) -> bool | None:
        return self.answer


def table(*routes: Route, has_upstream: bool = True) -> RouteTable:
    return RouteTable(routes, ttl_s=STORE_TTL_S, has_upstream=has_upstream)


def message(module: str = "probe", output: str = "readings", *, ttl_s: int | None = None) -> Message:
    return Message(Envelope(output, ttl_s=ttl_s), b"{}", module, "s", 1, 0, 0)


def route(name: str, source: str, sink: str = "$upstream", *, priority: int = 9, ttl_s: int | None = None) -> Route:
    return parse(name, f"FROM {source} INTO {sink}", priority=priority, ttl_s=ttl_s)


VALVE = 'BrokeredEndpoint("/modules/valve/inputs/commands")'


def test_a_message_goes_to_every_endpoint_whose_route_takes_it_most_urgent_first():
    routes = table(
        route("all", "/messages/*"),
        route("alarms", "/messages/modules/*/outputs/alarms", VALVE, priority=0),
        route("other", "/messages/modules/other/*", VALVE),
    )

    assert routes.targets(message(output="alarms")) == (
        ("/modules/valve/inputs/commands", 0, STORE_TTL_S),
        ("$upstream", 9, STORE_TTL_S),
    )
    assert routes.targets(message()) == (("$upstream", 9, STORE_TTL_S),)


def test_a_message_goes_to_an_endpoint_once_with_the_priority_and_ttl_of_the_most_urgent_route():
    routes = table(
        route("late", "/messages/*", priority=9, ttl_s=1),
        route("early", "/messages/modules/probe/*", priority=2, ttl_s=60),
        route("middle", "/*", priority=5, ttl_s=2),
    )

    assert routes.targets(message()) == (("$upstream", 2, 60),)


def test_routes_of_one_priority_are_asked_in_the_order_of_their_names():
    routes = table(route("b", "/*", ttl_s=2), route("a", "/*", ttl_s=1))

    assert routes.targets(message()) == (("$upstream", 9, 1),)


@pytest.mark.parametrize(
    ("of_route", "of_message", "expected"),
    [(None, None, STORE_TTL_S), (None, 30, 30), (60, 30, 60), (60, None, 60), (-1, 30, -1), (None, -1, -1), (0, 5, 0)],
)
def test_the_ttl_of_the_route_goes_before_that_of_the_message_and_that_before_the_stores(
    of_route: int | None, of_message: int | None, expected: int
):
    routes = table(route("r", "/*", ttl_s=of_route))

    assert routes.targets(message(ttl_s=of_message)) == (("$upstream", 9, expected),)


def test_a_message_that_no_route_takes_has_no_target():
    assert table(route("r", "/messages/modules/other/*")).targets(message()) == ()
    assert table().targets(message()) == ()


def test_without_an_upstream_it_is_no_endpoint_but_the_other_targets_stay():
    routes = table(route("up", "/*"), route("valve", "/*", VALVE), has_upstream=False)

    assert routes.targets(message()) == (("/modules/valve/inputs/commands", 9, STORE_TTL_S),)


def test_every_route_counts_what_it_took_and_survives_any_number_of_envelopes():
    routes = table(
        route("all", "/*"), route("probe", "/messages/modules/probe/*"), route("none", "/messages/modules/x")
    )
    for number in range(3_000):  # more kinds of messages than answers are kept
        routes.targets(message("probe" if number % 3 else "other"))

    assert routes.counts() == {"all": 3_000, "probe": 2_000, "none": 0}
    assert routes.counts() == {"all": 3_000, "probe": 2_000, "none": 0}


@pytest.mark.parametrize(("answer", "expected"), [(True, 1), (False, 0), (None, 0)])
def test_only_a_condition_that_is_true_takes_a_message_and_undefined_does_not(answer: bool | None, expected: int):
    conditional = Route("r", "", Source(), Sink(), condition=Says(answer))
    routes = table(conditional)

    assert len(routes.targets(message())) == expected
    assert routes.counts() == {"r": expected}


def test_a_condition_is_asked_for_each_message():
    condition = Says(True)
    routes = table(Route("r", "", Source(), Sink(), condition=condition))
    same = message()
    assert routes.targets(same)

    condition.answer = False

    assert routes.targets(same) == ()
    assert routes.counts() == {"r": 1}
