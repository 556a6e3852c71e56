"""Direct methods between real clients and the real exchange, without processes."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from support.modules_in_process import InProcessModule, Site

from microedge import wire
from microedge.hub.calls import Invocation
from microedge.method import MethodResponse


@pytest.fixture
def site() -> Site:
    return Site("FROM /messages/* INTO $upstream")


@pytest.fixture
def pump(site: Site) -> Iterator[InProcessModule]:
    one = InProcessModule(site, "pump")
    one.client.on_method("echo", lambda payload: payload)
    yield one
    one.close()


@pytest.fixture
def asker(site: Site) -> Iterator[InProcessModule]:
    one = InProcessModule(site, "asker")
    yield one
    one.close()


def call(site: Site, invocation: Invocation) -> list[MethodResponse]:
    """Begin a call; the list gets its answer."""
    answers: list[MethodResponse] = []
    site.exchange.methods.call(invocation, answers.append)
    return answers


def ask(one: InProcessModule, request: int, **head: object) -> None:
    """Send a raw INVOKE from a module."""
    one.hub.link.put(wire.encode(wire.INVOKE, request, head=json.dumps(head).encode(), body=b'"x"'))
    one.hub.link.write()
    one.hub_reads()


def answers_of(module: InProcessModule) -> list[tuple[int, int]]:
    """Return (request, status) of each answer that has arrived at a module."""
    return [(frame[1], int(frame[3])) for frame in module.hub.link.read() if frame[0] == wire.INVOKED]


def test_a_call_is_answered_by_the_module(site: Site, pump: InProcessModule):
    answers = call(site, Invocation("pump", "echo", b'{"a":1}'))
    pump.module_runs()
    pump.hub_reads()

    assert answers == [MethodResponse(200, {"a": 1})]


def test_a_call_from_above_is_answered_as_a_document(site: Site, pump: InProcessModule):
    documents: list[bytes] = []
    for module, payload in (("pump", b"7"), ("pump", b"{"), ("other", b""), ("a b", b"")):
        site.exchange.upstream_called(module, "echo", payload, documents.append, {})
    pump.module_runs()
    pump.hub_reads()

    assert sorted(json.loads(document)["status"] for document in documents) == [200, 400, 400, 404]
    assert b'{"status":200,"payload":7}' in documents


@pytest.mark.parametrize(
    ("timeouts", "statuses"),
    [
        ({"connect_timeout_s": 60.0}, []),  # it waits for the module
        ({"connect_timeout_s": 301.0}, [400]),
        ({"response_timeout_s": 4.0}, [400]),
        ({"response_timeout_s": float("nan")}, [400]),
        ({"response_timeout_s": "soon"}, [400]),
        ({}, [404]),
    ],
)
def test_a_call_from_above_may_say_how_long_it_waits(site: Site, timeouts: dict[str, object], statuses: list[int]):
    documents: list[bytes] = []
    site.exchange.upstream_called("pump", "echo", b"1", documents.append, timeouts)

    assert [json.loads(document)["status"] for document in documents] == statuses


def test_a_module_calls_another_one(pump: InProcessModule, asker: InProcessModule):
    ask(asker, 3, module="pump", method="echo")
    pump.module_runs()
    pump.hub_reads()

    assert answers_of(asker) == [(3, 200)]


@pytest.mark.parametrize(
    ("module", "method", "status"),
    [
        ("asker", "echo", 400),
        ("nobody", "echo", 404),
        ("pump", "a/b", 400),
        ("$edgeAgent", "RestartModule", 403),
        ("$edgeAgent", "GetModuleLogs", 403),
        (["pump"], "echo", 400),
    ],
)
def test_what_a_module_cannot_call_is_answered_at_once(
    asker: InProcessModule, module: object, method: str, status: int
):
    ask(asker, 1, module=module, method=method)

    assert answers_of(asker) == [(1, status)]


def test_a_module_cannot_answer_the_call_of_another_one(site: Site, pump: InProcessModule, asker: InProcessModule):
    answers = call(site, Invocation("pump", "echo", b"1"))
    for number in range(5):
        asker.hub.link.put(wire.encode(wire.RESULT, number, head=b"200", body=b'"forged"'))
    asker.hub_reads()
    assert answers == []
    pump.module_runs()
    pump.hub_reads()

    assert answers == [MethodResponse(200, 1)]


def test_a_call_that_is_not_answered_in_time_is_504(site: Site, pump: InProcessModule):
    answers = call(site, Invocation("pump", "echo", b"1", 5))
    site.reactor.advance(4.0)
    assert answers == []
    site.reactor.advance(2.0)
    assert [answer.status for answer in answers] == [504]
    pump.module_runs()
    pump.hub_reads()

    assert len(answers) == 1


def test_a_call_waits_for_its_module_as_long_as_it_may(site: Site):
    answers = call(site, Invocation("late", "echo", b"1", 5, 10))
    late = InProcessModule(site, "late")
    try:
        late.client.on_method("echo", lambda payload: payload)
        late.module_runs()
        late.hub_reads()

        assert answers == [MethodResponse(200, 1)]
    finally:
        late.close()


def test_a_module_that_ends_leaves_nobody_waiting(site: Site, pump: InProcessModule):
    answers = call(site, Invocation("pump", "echo"))
    pump.restart()

    assert [answer.status for answer in answers] == [504]


def test_a_call_to_a_module_that_is_leaving_goes_to_its_next_process(site: Site, pump: InProcessModule):
    pump.is_leaving = True
    gone = call(site, Invocation("pump", "echo"))
    answers = call(site, Invocation("pump", "echo", b"1", 30, 10))
    pump.restart(is_asked=True)
    pump.client.on_method("echo", lambda payload: payload)
    pump.module_runs()
    pump.hub_reads()

    assert [answer.status for answer in gone] == [404]
    assert answers == [MethodResponse(200, 1)]


def test_an_answer_for_an_earlier_process_is_dropped(pump: InProcessModule, asker: InProcessModule):
    ask(asker, 1, module="pump", method="echo")
    asker.restart()
    pump.module_runs()
    pump.hub_reads()

    assert answers_of(asker) == []


def test_a_module_that_reads_no_answers_gets_no_more_of_them(asker: InProcessModule):
    asker.process.unsent_bytes = 2_000_000
    ask(asker, 1, module="nobody", method="echo")

    assert answers_of(asker) == []
