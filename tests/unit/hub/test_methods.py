"""Which answer a call gets, and when: the table of calls under way."""

from __future__ import annotations

import pytest

from microedge import wire
from microedge.hub.calls import Invocation
from microedge.hub.methods import MAX_PENDING, MAX_PENDING_ALL, Deliver, MethodTable, Settle
from microedge.method import MAX_PAYLOAD_BYTES, MethodResponse

DONE = MethodResponse(418, "short and stout")


@pytest.fixture
def table() -> MethodTable:
    return MethodTable()


@pytest.fixture
def pump(table: MethodTable) -> MethodTable:
    """A table that knows a module `pump`."""
    assert table.connected("pump", 0.0) == []
    return table


def delivered(effects: list[Deliver | Settle]) -> list[tuple[str, int, str, bytes]]:
    """Return (module, call id, method, payload) of each frame."""
    found = []
    for effect in effects:
        if isinstance(effect, Deliver):
            ((kind, number, _, head, body),) = wire.Decoder(wire.FROM_HUB).feed(effect.frame)
            assert kind == wire.METHOD
            found.append((effect.module, number, head.decode(), body))
    return found


def settled(effects: list[Deliver | Settle]) -> list[tuple[object, int]]:
    return [(effect.asker, effect.response.status) for effect in effects if isinstance(effect, Settle)]


def test_a_call_reaches_the_module_and_its_own_status_comes_back(pump: MethodTable):
    assert delivered(pump.call(Invocation("pump", "on", b"[1]"), "cli", 1.0)) == [("pump", 1, "on", b"[1]")]
    assert pump.pending == 1

    assert pump.answered("pump", 1, DONE) == [Settle("cli", DONE)]
    assert (pump.pending, pump.next_deadline_s) == (0, None)


def test_a_call_that_is_wrong_is_answered_400_and_goes_nowhere(pump: MethodTable):
    effects = pump.call(Invocation("pump", "a/b"), "cli", 1.0)

    assert settled(effects) == [("cli", 400)]
    assert delivered(effects) == []


def test_without_a_connect_timeout_a_module_that_is_not_there_is_404_at_once(table: MethodTable):
    assert settled(table.call(Invocation("pump", "on"), "cli", 1.0)) == [("cli", 404)]
    assert table.pending == 0


def test_a_module_that_becomes_ready_within_the_connect_timeout_gets_the_call(table: MethodTable):
    assert table.call(Invocation("pump", "on", b"1", 30, 10), "a", 1.0) == []
    assert table.call(Invocation("pump", "off", b"2", 30, 10), "b", 2.0) == []

    assert [call[2] for call in delivered(table.connected("pump", 9.0))] == ["on", "off"]
    assert table.next_deadline_s == 39.0
    assert settled(table.answered("pump", 2, DONE)) == [("b", 418)]


def test_a_module_that_comes_too_late_is_404_and_gets_nothing(table: MethodTable):
    table.call(Invocation("pump", "on", b"1", 30, 10), "cli", 1.0)

    assert table.expired(10.9) == []
    assert settled(table.expired(11.0)) == [("cli", 404)]
    assert table.connected("pump", 12.0) == []


def test_no_answer_in_time_is_504_and_the_late_one_is_ignored(pump: MethodTable):
    pump.call(Invocation("pump", "on", b"1", 5), "cli", 1.0)

    assert pump.next_deadline_s == 6.0
    assert settled(pump.expired(6.0)) == [("cli", 504)]
    assert pump.expired(100.0) == []
    assert pump.answered("pump", 1, DONE) == []
    assert pump.answered("pump", 1, DONE) == []


def test_a_module_that_ends_before_it_answers_is_504_at_once(pump: MethodTable):
    pump.call(Invocation("pump", "on"), "cli", 1.0)

    assert settled(pump.disconnected("pump")) == [("cli", 504)]
    assert pump.answered("pump", 1, DONE) == []
    assert settled(pump.call(Invocation("pump", "on"), "cli", 2.0)) == [("cli", 404)]


def test_a_module_that_is_leaving_may_answer_and_gets_nothing_more(pump: MethodTable):
    pump.call(Invocation("pump", "on"), "a", 1.0)
    pump.leaving("pump")

    assert pump.call(Invocation("pump", "on", b"1", 30, 10), "b", 1.0) == []
    assert settled(pump.answered("pump", 1, DONE)) == [("a", 418)]
    assert pump.disconnected("pump") == []
    assert len(delivered(pump.connected("pump", 3.0))) == 1


@pytest.mark.parametrize(("module", "number"), [("valve", 1), ("pump", 2), ("pump", 0)])
def test_an_answer_from_another_module_or_for_no_call_changes_nothing(pump: MethodTable, module: str, number: int):
    pump.connected("valve", 0.0)
    pump.call(Invocation("pump", "on"), "cli", 1.0)

    assert pump.answered(module, number, DONE) == []
    assert settled(pump.answered("pump", 1, DONE)) == [("cli", 418)]


def test_an_answer_to_a_call_that_waits_for_its_module_changes_nothing(table: MethodTable):
    table.call(Invocation("pump", "on", b"1", 30, 10), "cli", 1.0)

    assert table.answered("pump", 1, DONE) == []
    assert table.pending == 1


def test_one_module_has_a_bounded_number_of_calls_and_late_ones_count(pump: MethodTable):
    pump.connected("valve", 0.0)
    for _ in range(MAX_PENDING):
        assert settled(pump.call(Invocation("pump", "on"), "cli", 0.0)) == []
    assert settled(pump.call(Invocation("pump", "on"), "cli", 0.0)) == [("cli", 429)]
    assert len(pump.expired(30.0)) == MAX_PENDING

    assert settled(pump.call(Invocation("pump", "on"), "cli", 31.0)) == [("cli", 429)]
    assert settled(pump.call(Invocation("valve", "on"), "cli", 31.0)) == []
    pump.answered("pump", 1, DONE)
    assert settled(pump.call(Invocation("pump", "on"), "cli", 31.0)) == []


def test_all_modules_together_have_a_bounded_number_of_calls(table: MethodTable):
    for number in range(MAX_PENDING_ALL):
        assert table.call(Invocation(f"m{number}", "on", b"1", 30, 10), "cli", 0.0) == []

    assert settled(table.call(Invocation("other", "on", b"1", 30, 10), "cli", 0.0)) == [("cli", 429)]


def test_the_largest_payload_travels_whole(pump: MethodTable):
    payload = b'"%b"' % (b"x" * (MAX_PAYLOAD_BYTES - 2))

    assert delivered(pump.call(Invocation("pump", "on", payload), "cli", 0.0))[0][3] == payload
