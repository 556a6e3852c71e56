"""What microedge reports about itself: each fact in its place, and always something that a twin may hold."""

from __future__ import annotations

from dataclasses import replace

import pytest

from microedge.supervisor.agent_report import (
    NEVER,
    RUNTIME_STATUS,
    AgentFacts,
    ModuleFacts,
    desired_status,
    reported_document,
)
from microedge.supervisor.lifecycle import Exit, State
from microedge.twin.limits import REPORTED, check_document, size_bytes

OFFSET_MS = 1_795_447_805_000  # 2026-11-23 15:30:05 UTC, less the 5 s for which the device has been up
PUMP = ModuleFacts(
    image="pump_image",
    version="1.2.0",
    fingerprint="7-1f2e3d4c",
    restart_policy="always",
    start_order=100,
    is_wanted=True,
    state=State.RUNNING,
    began_ms=9_000,
)
FACTS = AgentFacts(
    version="0.1.0",
    python="3.11.7",
    system="linux",
    architecture="aarch64",
    kernel="6.6.31-v8",
    isolation="plain",
    began_ms=5_000,
    clock_offset_ms=OFFSET_MS,
    modules={"pump": PUMP},
)


def pump(**changes: object) -> dict[str, object]:
    module = replace(PUMP, **changes)  # type: ignore[arg-type]
    return reported_document(replace(FACTS, modules={"pump": module}))["modules"]["pump"]


def many(count: int, **changes: object) -> AgentFacts:
    module = replace(PUMP, **changes)  # type: ignore[arg-type]
    return replace(FACTS, modules={f"module-{number:03d}": module for number in range(count)})


def test_the_whole_document_has_the_shape_of_the_agent_of_iot_edge():
    crashed = replace(
        PUMP,
        state=State.BACKOFF,
        reason="exited with code 1; OSError: dry; restart in 10 s",
        last_exit=Exit(1),
        ended_ms=11_500,
        restarted_ms=9_000,
        restarts=1,
    )
    part = {"type": "microedge", "runtimeStatus": "running", "lastStartTimeUtc": "2026-11-23T15:30:10.000Z"}

    assert reported_document(replace(FACTS, modules={"pump": crashed})) == {
        "schemaVersion": "1.0",
        "version": {"version": "0.1.0"},
        "lastDesiredVersion": 1,
        "lastDesiredStatus": {"code": 200, "description": ""},
        "runtime": {
            "type": "microedge",
            "settings": {"python": "3.11.7"},
            "platform": {"os": "linux", "architecture": "aarch64", "version": "6.6.31-v8"},
        },
        "systemModules": {"edgeAgent": part, "edgeHub": {**part, "status": "running", "restartPolicy": "always"}},
        "modules": {
            "pump": {
                "type": "microedge",
                "version": "1.2.0",
                "status": "running",
                "restartPolicy": "always",
                "startupOrder": 100,
                "settings": {"image": "pump_image", "imageHash": "7-1f2e3d4c"},
                "isolation": "plain",
                "runtimeStatus": "backoff",
                "statusDescription": "exited with code 1; OSError: dry; restart in 10 s",
                "exitCode": 1,
                "lastStartTimeUtc": "2026-11-23T15:30:14.000Z",
                "lastExitTimeUtc": "2026-11-23T15:30:16.500Z",
                "restartCount": 1,
                "lastRestartTimeUtc": "2026-11-23T15:30:14.000Z",
            }
        },
    }


@pytest.mark.parametrize(
    ("state", "reason", "status", "description"),
    [
        (State.STOPPED, "stopped by hand", "stopped", "stopped by hand"),
        (State.STARTING, "exited with code 1; restarted at once", "running", "starting"),
        (State.RUNNING, "", "running", ""),
        (State.UNHEALTHY, "hung: no progress", "unhealthy", "hung: no progress"),
        (State.BACKOFF, "exited with code 1", "backoff", "exited with code 1"),
        (State.STOPPING, "stopping", "running", "stopping"),
        (State.RESTARTING, "stopping", "running", "restarting"),
        (State.FAILED, "exited with code 78", "failed", "exited with code 78"),
    ],
)
def test_each_state_has_a_word_of_iot_edge(state: State, reason: str, status: str, description: str):
    entry = pump(state=state, reason=reason)

    assert (entry["runtimeStatus"], entry["statusDescription"]) == (status, description)


def test_no_state_is_without_a_word():
    assert RUNTIME_STATUS.keys() == set(State)


@pytest.mark.parametrize(
    ("last_exit", "code"), [(None, 0), (Exit(0), 0), (Exit(3), 3), (Exit(None, 9), 137), (Exit(None, 15), 143)]
)
def test_the_exit_code_is_a_number_for_a_signal_too(last_exit: Exit | None, code: int):
    assert pump(last_exit=last_exit)["exitCode"] == code


def test_what_never_happened_has_the_time_never():
    entry = pump(state=State.STOPPED, is_wanted=False, began_ms=0)

    assert entry["status"] == "stopped"
    assert {entry[key] for key in ("lastStartTimeUtc", "lastExitTimeUtc", "lastRestartTimeUtc")} == {NEVER}


def test_while_the_clock_was_never_set_no_time_is_made_up_and_later_all_of_them_are_right():
    module = replace(PUMP, ended_ms=8_000)
    unset = reported_document(replace(FACTS, clock_offset_ms=1_000_000, modules={"pump": module}))
    later = reported_document(replace(FACTS, modules={"pump": module}))

    assert unset["systemModules"]["edgeAgent"]["lastStartTimeUtc"] == NEVER
    assert {unset["modules"]["pump"][key] for key in ("lastStartTimeUtc", "lastExitTimeUtc")} == {NEVER}
    assert later["modules"]["pump"]["lastExitTimeUtc"] == "2026-11-23T15:30:13.000Z"


NOT_RELOADED = "not reloaded, the running configuration stays: "


@pytest.mark.parametrize(
    ("changes", "code", "description"),
    [
        ({}, 200, ""),
        ({"refusal": "microedge.toml:3: no"}, 400, f"{NOT_RELOADED}microedge.toml:3: no"),
        ({"rejected": ("a/module.toml:1: no",)}, 400, "a/module.toml:1: no"),
        ({"rejected": ("one", "two", "three")}, 400, "one (and 2 more, see: microedge list)"),
        ({"refusal": "no", "rejected": ("one",)}, 400, f"{NOT_RELOADED}no (and 1 more, see: microedge list)"),
        (
            {"modules": {}},
            417,
            "nothing to run: put an image into the modules directory, or write [modules.NAME]",
        ),
        ({"modules": {}, "rejected": ("one",)}, 400, "one"),
        (
            {"is_stopping": True, "modules": {}, "rejected": ("one",)},
            406,
            "microedge was told to stop; what its modules do is not known any more",
        ),
    ],
)
def test_the_code_says_how_well_what_was_asked_for_can_be_run(changes: dict[str, object], code: int, description: str):
    facts = replace(FACTS, **changes)  # type: ignore[arg-type]

    assert desired_status(facts) == (code, description)
    assert reported_document(facts)["lastDesiredStatus"] == {"code": code, "description": description}


def test_at_a_stop_nothing_is_known_of_any_module_but_its_history():
    stopping = replace(PUMP, state=State.STOPPING, reason="stopping", last_exit=Exit(1), ended_ms=6_000, restarts=3)
    document = reported_document(replace(FACTS, is_stopping=True, modules={"pump": stopping}))
    entry = document["modules"]["pump"]

    assert {part["runtimeStatus"] for part in document["systemModules"].values()} == {"unknown"}
    assert (entry["runtimeStatus"], entry["statusDescription"]) == ("unknown", "")
    assert (entry["exitCode"], entry["restartCount"]) == (1, 3)


def test_a_reason_is_cut_and_made_safe():
    entry = pump(state=State.BACKOFF, reason="\x1b[31mred\n" + "x" * 5_000)

    assert entry["statusDescription"].startswith("\\x1b[31mred\\n")  # type: ignore[attr-defined]
    assert len(str(entry["statusDescription"])) == 201


def test_twenty_modules_in_trouble_are_reported_in_full():
    document = reported_document(many(20, state=State.BACKOFF, reason="ü" * 1_000))

    assert {len(entry["statusDescription"]) for entry in document["modules"].values()} == {201}
    assert document["lastDesiredStatus"] == {"code": 200, "description": ""}


@pytest.mark.parametrize(
    ("count", "keys", "note"),
    [
        (80, 13, "the report is too large: modules are without statusDescription"),
        (200, 3, "the report is too large: modules have runtimeStatus, exitCode, restartCount only"),
        (800, 1, "the report is too large: modules have runtimeStatus only"),
        (3_000, 0, "the report is too large: 3000 modules are left out"),
    ],
)
def test_with_very_many_modules_it_says_less_of_each_and_that_it_does(count: int, keys: int, note: str):
    document = reported_document(many(count, state=State.BACKOFF, reason="x" * 1_000))

    assert {len(entry) for entry in document["modules"].values()} == ({keys} if keys else set())
    assert document["lastDesiredStatus"] == {"code": 200, "description": note}


@pytest.mark.parametrize("count", [0, 20, 45, 80, 200, 800])
@pytest.mark.parametrize("char", ["x", "ü", "😀", "\ud800", "\0"])
def test_whatever_the_facts_are_a_twin_takes_the_document(count: int, char: str):
    facts = many(count, state=State.FAILED, reason=char * 9_000, last_exit=Exit(255), version=char * 9_000)
    facts = replace(facts, refusal=char * 9_000, rejected=(char * 9_000,) * 50, kernel=char * 9_000, python="3.13.0")
    document = reported_document(facts)

    check_document(document, REPORTED)
    assert size_bytes(document) <= REPORTED.max_bytes
