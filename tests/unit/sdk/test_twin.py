"""A module's twin: what it is told of its desired properties, and what it reports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.module_hub import ModuleHub

from microedge import DesiredPatch, wire
from microedge.errors import TwinError
from microedge.hub.twin_frames import report_refused_frame
from microedge.message import Message

Calls = list[tuple[Any, Any, int, bool]]


@pytest.fixture
def hub() -> Iterator[ModuleHub]:
    with ModuleHub(desired_version=3) as one:
        yield one


def configured(hub: ModuleHub) -> Calls:
    """Return the list that each call of the module's on_desired callback is noted in, without the first."""
    calls: Calls = []

    def configure(patch: DesiredPatch, desired: dict[str, Any]) -> None:
        assert patch["$version"] == patch.version
        calls.append(({key: patch[key] for key in patch if key != "$version"}, desired, patch.version, patch.is_whole))

    hub.client.on_desired(configure)
    assert calls.pop() == (hub.client.desired, hub.client.desired, 3, True)
    return calls


def turn(hub: ModuleHub) -> None:
    """Let the module read what has arrived, and handle it."""
    hub.client.wait(0)
    hub.client.wait(0)


# --- Desired properties ---


def test_a_change_is_told_with_its_nulls_and_merged_into_a_new_document(hub: ModuleHub):
    before, calls = hub.client.desired, configured(hub)
    hub.desire(4, {"unit": None, "limits": {"high": 30}})
    turn(hub)

    now = {"interval_s": 5, "limits": {"high": 30}}
    assert calls == [({"unit": None, "limits": {"high": 30}}, now, 4, False)]
    assert hub.client.desired is calls[0][1]
    assert before == {"interval_s": 5, "unit": "C"}


def test_the_whole_document_says_that_it_is_whole_and_replaces_what_was(hub: ModuleHub):
    calls = configured(hub)
    hub.desire(9, {"interval_s": 1}, is_whole=True)
    turn(hub)

    assert calls == [({"interval_s": 1}, {"interval_s": 1}, 9, True)]


def test_a_change_that_is_known_already_is_ignored(hub: ModuleHub):
    calls = configured(hub)
    hub.desire(3, {"interval_s": 1})
    turn(hub)

    assert calls == []
    assert hub.client.desired["interval_s"] == 5


def test_changes_that_pile_up_become_one_that_leads_to_the_last(hub: ModuleHub):
    calls = configured(hub)
    for version, patch in enumerate(({"a": {"x": 1}, "unit": None}, {"a": None}, {"a": {"y": 2}, "b": 1}), start=4):
        hub.desire(version, patch)
    turn(hub)

    now = {"interval_s": 5, "a": {"y": 2}, "b": 1}
    assert calls == [({"unit": None, "a": {"y": 2}, "b": 1}, now, 6, False)]


def test_a_whole_document_among_changes_that_pile_up_stays_whole(hub: ModuleHub):
    calls = configured(hub)
    hub.desire(4, {"a": 1})
    hub.desire(5, {"b": 1}, is_whole=True)
    hub.desire(6, {"c": 1})
    turn(hub)

    assert calls == [({"b": 1, "c": 1}, {"b": 1, "c": 1}, 6, True)]


def test_a_module_that_only_flushes_keeps_one_document_however_many_changes_arrive(hub: ModuleHub):
    for version in range(4, 2_004):
        hub.desire(version, {"interval_s": version, f"key{version % 3}": "x" * 100})
        if not version % 100:
            hub.client.send("readings", 1)
            hub.client.flush(0)

    kept = vars(hub.client._twin)  # nothing else can hold them
    assert kept["_patch"] is None
    assert kept["_latest"][0]["interval_s"] >= 2_000
    assert hub.client.desired == {"interval_s": 5, "unit": "C"}


def test_desired_properties_change_without_a_callback_too_but_in_wait_only(hub: ModuleHub):
    hub.desire(4, {"interval_s": 1})
    hub.client.send("readings", 1)
    hub.put(wire.ACK, 1)
    assert hub.client.flush(5)
    assert hub.client.desired["interval_s"] == 5

    turn(hub)
    assert hub.client.desired["interval_s"] == 1


def test_an_exception_in_the_callback_comes_out_of_wait(hub: ModuleHub):
    def configure(patch: DesiredPatch, desired: dict[str, Any]) -> None:
        if not patch.is_whole:
            raise ValueError(desired["interval_s"])

    hub.client.on_desired(configure)
    hub.desire(4, {"interval_s": -1})

    with pytest.raises(ValueError, match="-1"):
        turn(hub)


def test_a_change_is_told_before_the_messages_that_arrived_with_it(hub: ModuleHub):
    seen: list[object] = []
    configured(hub)
    hub.client.on_input("commands", lambda message: seen.append(hub.client.desired["interval_s"]))
    hub.deliver(1, "x")
    hub.desire(4, {"interval_s": 1})
    turn(hub)

    assert seen == [1]


def test_a_change_waits_until_a_handler_that_waits_has_returned(hub: ModuleHub):
    seen: list[object] = []

    def obey(message: Message) -> None:
        hub.desire(4, {"interval_s": 1})
        turn(hub)
        seen.append(hub.client.desired["interval_s"])

    calls = configured(hub)
    hub.client.on_input("commands", obey)
    hub.deliver(1, "x")
    turn(hub)

    assert seen == [5]
    assert len(calls) == 1


def test_no_change_is_lost_while_the_first_call_of_the_callback_waits(hub: ModuleHub):
    versions: list[int] = []

    def configure(patch: DesiredPatch, desired: dict[str, Any]) -> None:
        versions.append(patch.version)
        turn(hub)

    hub.desire(4, {"interval_s": 1})
    hub.client.on_desired(configure)
    turn(hub)

    assert versions == [3, 4]


def test_a_later_callback_replaces_the_earlier_one(hub: ModuleHub):
    first, second = configured(hub), configured(hub)
    hub.desire(4, {"interval_s": 1})
    turn(hub)

    assert (len(first), len(second)) == (0, 1)


# --- Reported properties ---


def test_a_report_returns_its_version_and_changes_what_is_reported():
    with ModuleHub(reported={"a": 1, "b": {"x": 1}}, reported_version=7) as hub:
        before = hub.client.reported
        hub.take_report(1, 8)

        assert hub.client.report({"a": None, "b": {"y": [2]}}) == 8
        ((kind, request, _, head, body),) = hub.frames()
        assert (kind, request, head, json.loads(body)) == (wire.REPORT, 1, b"", {"a": None, "b": {"y": [2]}})
        assert hub.client.reported == {"b": {"x": 1, "y": [2]}}
        assert before == {"a": 1, "b": {"x": 1}}


def test_a_hub_that_says_nothing_of_reports_leaves_them_empty(hub: ModuleHub):
    assert hub.client.reported == {}


def test_changing_a_patch_afterwards_changes_nothing_that_was_reported(hub: ModuleHub):
    hub.take_report(1, 2)
    patch = {"a": [1]}
    hub.client.report(patch)
    patch["a"].append(2)

    assert hub.client.reported == {"a": [1]}


def test_a_patch_of_desired_properties_is_reported_without_its_version(hub: ModuleHub):
    hub.take_report(1, 2)
    hub.client.report(DesiredPatch({"unit": "K"}, 4))

    assert hub.client.reported == {"unit": "K"}


def test_a_refused_report_raises_the_hubs_error_and_changes_nothing(hub: ModuleHub):
    error = TwinError("properties.reported.a$", "(the key)", "a key without $", hint="rename it")
    hub.socket.sendall(report_refused_frame(1, error))

    with pytest.raises(TwinError) as caught:
        hub.client.report({"a$": 1})

    assert (caught.value.path, caught.value.got, caught.value.expected) == (error.path, error.got, error.expected)
    assert str(caught.value) == str(error)
    assert hub.client.reported == {}


@pytest.mark.parametrize(
    ("patch", "error"),
    [({"a": {1, 2}}, TypeError), ({"a": float("nan")}, ValueError), ({"a": "x" * 140_000}, ValueError)],
)
def test_what_is_no_json_or_too_long_is_not_sent(hub: ModuleHub, patch: dict[str, Any], error: type[Exception]):
    with pytest.raises(error):
        hub.client.report(patch)

    assert hub.frames() == []


def test_a_callback_may_report(hub: ModuleHub):
    versions: list[int] = []

    def obey(message: Message) -> None:
        hub.take_report(1, 2)
        versions.append(hub.client.report({"a": 1}))

    hub.client.on_input("commands", obey)
    hub.deliver(1, "x")
    turn(hub)

    assert versions == [2]
    assert hub.answers() == [(1, "")]


def test_no_callback_runs_while_a_report_waits(hub: ModuleHub):
    obeyed: list[object] = []
    calls = configured(hub)
    hub.client.on_input("commands", obeyed.append)
    hub.deliver(1, "x")
    hub.desire(4, {"interval_s": 1})
    hub.take_report(1, 2)

    assert hub.client.report({"a": 1}) == 2
    assert (obeyed, calls) == ([], [])
