"""Which endpoints a message goes to: each once, with the priority and TTL of the most urgent route."""

from __future__ import annotations

import json

import pytest

from microedge.hub import facts as facts_of_the_hub
from microedge.hub.compile import Condition
from microedge.hub.expression import Literal
from microedge.hub.facts import Facts
from microedge.hub.parser import parse
from microedge.hub.route import Route, Sink, Source
from microedge.hub.table import RouteTable
from microedge.hub.values import NULL, Value
from microedge.message import Envelope, Message

STORE_TTL_S = 7_200


class Says:
    """The answers of a condition, and how often it was asked."""

    def __init__(self, answer: Value, *, is_of_envelope: bool = False) -> None:
        self.answer = answer
        self.asked = 0
        self.condition = Condition(Literal(answer), self.evaluate, is_of_envelope)

    def evaluate(self, facts: Facts) -> Value:
        self.asked += 1
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


@pytest.mark.parametrize(("answer", "expected"), [(True, 1), (False, 0), (None, 0), (NULL, 0), (1.0, 0), ("true", 0)])
@pytest.mark.parametrize("is_of_envelope", [True, False])
def test_only_a_condition_that_is_true_takes_a_message_and_undefined_does_not(
    answer: Value, expected: int, is_of_envelope: bool
):
    says = Says(answer, is_of_envelope=is_of_envelope)
    routes = table(Route("r", "", Source(), Sink(), condition=says.condition))

    assert len(routes.targets(message())) == expected
    assert routes.counts() == {"r": expected}


def test_a_condition_is_asked_for_each_message():
    says = Says(True)
    routes = table(Route("r", "", Source(), Sink(), condition=says.condition))
    same = message()
    assert routes.targets(same)

    says.answer = False

    assert routes.targets(same) == ()
    assert routes.counts() == {"r": 1}


def test_a_condition_of_the_envelope_is_asked_once_for_all_messages_of_one_envelope():
    of_envelope, of_message = Says(True, is_of_envelope=True), Says(True)
    routes = table(
        Route("a", "", Source(), Sink(), condition=of_envelope.condition),
        Route("b", "", Source(), Sink("valve", "x"), condition=of_message.condition),
    )
    same = message()
    for _ in range(10):
        routes.targets(same)

    assert (of_envelope.asked, of_message.asked) == (1, 10)
    assert routes.counts() == {"a": 10, "b": 10}


def test_conditions_are_asked_only_about_messages_of_their_source():
    says = Says(True)
    routes = table(Route("r", "", Source("other"), Sink(), condition=says.condition))

    assert routes.targets(message()) == ()
    assert says.asked == 0


def test_conditions_choose_among_endpoints_priorities_and_ttls():
    routes = table(
        parse("all", "FROM /* INTO $upstream", priority=9),
        parse("hot", "FROM /* WHERE $body.level >= 3 INTO $upstream", priority=0, ttl_s=-1),
        parse("on", f"FROM /* WHERE $body.on INTO {VALVE}", priority=5),
    )

    assert routes.targets(json_message({"level": 1})) == (("$upstream", 9, STORE_TTL_S),)
    assert routes.targets(json_message({"level": 3})) == (("$upstream", 0, -1),)
    assert routes.targets(json_message({"level": 3, "on": True})) == (
        ("$upstream", 0, -1),
        ("/modules/valve/inputs/commands", 5, STORE_TTL_S),
    )
    assert routes.counts() == {"all": 3, "hot": 2, "on": 1}


def json_message(body: object, *, content_type: str = "application/json") -> Message:
    envelope = Envelope("readings", content_type=content_type, content_encoding="utf-8")
    return Message(envelope, json.dumps(body).encode(), "probe", "s", 1, 0, 0)


def test_any_number_of_combinations_of_conditions_is_counted():
    routes = table(*[parse(f"r{bit}", f"FROM /* WHERE $body.b{bit} INTO {VALVE}") for bit in range(8)])
    envelope = Envelope("readings", content_type="application/json", content_encoding="utf-8")
    for number in range(256):  # more than decisions are kept
        body = {f"b{bit}": bool(number >> bit & 1) for bit in range(8)}
        routes.targets(Message(envelope, json.dumps(body).encode(), "probe", "s", 1, 0, 0))

    assert routes.counts() == {f"r{bit}": 128 for bit in range(8)}


def test_the_body_is_decoded_once_however_many_routes_ask(monkeypatch: pytest.MonkeyPatch):
    decoded = []
    read = facts_of_the_hub.read_body
    monkeypatch.setattr(facts_of_the_hub, "read_body", lambda one: decoded.append(one) or read(one))
    routes = table(
        *[parse(f"r{level}", f"FROM /* WHERE $body.level = {level} INTO $upstream") for level in range(20)],
        parse("plain", "FROM /* WHERE state = 'on' INTO $upstream"),
    )

    assert routes.targets(json_message({"level": 7}))
    assert len(decoded) == 1


def test_the_body_is_not_decoded_when_no_route_asks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(facts_of_the_hub, "read_body", lambda one: pytest.fail("the body was read"))
    routes = table(parse("plain", "FROM /* WHERE $outputName = 'readings' INTO $upstream"))

    assert routes.targets(json_message({"level": 7}))


def test_a_body_that_cannot_be_read_is_remarked_on_once_for_an_output_and_counted_for_each_message():
    routes = table(
        parse("a", "FROM /* WHERE $body.level > 1 INTO $upstream"),
        parse("b", "FROM /* WHERE $body.level > 2 INTO $upstream"),
    )
    for _ in range(5):
        assert routes.targets(json_message({"level": 3}, content_type="text/plain")) == ()

    assert routes.remarks == [
        "a route asks for $body, which is undefined in messages of probe/readings: "
        "content type is 'text/plain', expected 'application/json'"
    ]
    assert routes.undefined_bodies == {"content_type": 5}


def test_names_of_outputs_without_end_are_not_remarked_on_without_end():
    routes = table(parse("a", "FROM /* WHERE $body.level > 1 INTO $upstream"))
    for number in range(2_000):
        routes.targets(message(output=f"o{number}"))

    assert len(routes.remarks) == 1_000
    assert routes.undefined_bodies == {"content_type": 2_000}


def test_the_device_is_known_to_conditions():
    routes = RouteTable(
        [parse("r", "FROM /* WHERE $connectionDeviceId = 'greenhouse-7' INTO $upstream")],
        ttl_s=STORE_TTL_S,
        device="greenhouse-7",
    )

    assert routes.targets(message())


@pytest.mark.parametrize(
    ("source", "condition", "has_upstream", "expected"),
    [
        ("/messages/modules/other/*", "", True, ("no_route", False)),
        ("/messages/*", "", False, ("no_upstream", False)),
        ("/messages/*", "WHERE false", True, ("no_route", True)),
        ("/messages/*", "WHERE $body.level > 3", True, ("no_route", True)),
        ("/messages/*", "WHERE $body.level > 0", False, ("no_upstream", False)),
        ("/messages/*", "", True, ("", False)),
    ],
)
def test_a_decision_without_target_says_why(
    source: str, condition: str, has_upstream: bool, expected: tuple[str, bool]
):
    routes = table(parse("r", f"FROM {source} {condition} INTO $upstream"), has_upstream=has_upstream)

    decision = routes.decide(json_message({"level": 1}))

    assert (decision.drop_reason, decision.is_filtered) == expected


def test_changes_of_twins_take_their_own_routes():
    routes = table(
        parse("messages", "FROM /messages/* INTO $upstream"),
        parse("twins", f"FROM /twinChangeNotifications WHERE twin_change_includes(tags.site) INTO {VALVE}", priority=1),
        parse("all", "FROM /* INTO $upstream"),
    )

    assert routes.decide_twin_change(json_message({"tags": {"site": "x"}})).targets == (
        ("/modules/valve/inputs/commands", 1, STORE_TTL_S),
        ("$upstream", 9, STORE_TTL_S),
    )
    assert routes.decide_twin_change(json_message({})).targets == (("$upstream", 9, STORE_TTL_S),)
    assert routes.decide(json_message({})).targets == (("$upstream", 9, STORE_TTL_S),)
    assert routes.counts() == {"messages": 1, "twins": 1, "all": 3}


def test_a_twin_change_says_so_in_its_system_properties():
    routes = table(
        parse("type", "FROM /twinChangeNotifications WHERE $messageType = 'twinChangeNotification' INTO $upstream"),
        parse("schema", f"FROM /* WHERE $messageSchema = 'twinChangeNotification' INTO {VALVE}"),
    )

    assert len(routes.decide_twin_change(json_message({})).targets) == 2
    assert routes.decide(json_message({})).targets == ()
