"""From desired properties to a module's settings: what is good is used, what is bad is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.live_hub import LiveHub

from microedge.sdk.settings import first_settings, follow_settings


@pytest.fixture
def hub() -> Iterator[LiveHub]:
    with LiveHub() as one:
        yield one


def parse(desired: dict[str, Any]) -> int:
    if desired["interval_s"] <= 0:
        raise ValueError(f"interval_s = {desired['interval_s']}: expected more than 0" + "." * 600)
    if desired["interval_s"] > 100:
        raise ZeroDivisionError("a bug")
    return int(desired["interval_s"])


def follow(hub: LiveHub) -> list[int]:
    used: list[int] = []
    follow_settings(hub.client, parse, used.append)
    return used


def change(hub: LiveHub, interval_s: int) -> None:
    version = hub.desire({"interval_s": interval_s})
    while hub.client.desired_version < version:
        hub.client.wait(0.01)


def test_good_settings_are_used_and_reported(hub: LiveHub) -> None:
    used = follow(hub)
    change(hub, 7)

    assert used == [5, 7]
    assert hub.client.reported == {"configuration": {"desired_version": 3, "applied_version": 3}}


def test_bad_ones_are_reported_and_the_last_good_ones_stay(hub: LiveHub) -> None:
    used = follow(hub)
    change(hub, -1)

    configuration = hub.client.reported["configuration"]
    assert used == [5]
    assert (configuration["desired_version"], configuration["applied_version"]) == (3, 2)
    assert configuration["problem"].startswith("interval_s = -1: expected more than 0")
    assert len(configuration["problem"]) <= 501

    change(hub, 1)
    assert used == [5, 1]
    assert "problem" not in hub.client.reported["configuration"]


def test_bad_ones_at_the_start_are_reported_and_end_the_module_with_78(hub: LiveHub) -> None:
    change(hub, -1)
    with pytest.raises(SystemExit) as end:
        first_settings(hub.client, parse)

    assert end.value.code == 78
    assert hub.client.reported["configuration"]["applied_version"] == 0


def test_a_restart_reports_nothing_that_stands_there_already(hub: LiveHub) -> None:
    follow(hub)
    version = hub.twin.state.reported.version
    follow(hub)

    assert hub.twin.state.reported.version == version


def test_a_report_that_is_refused_ends_nothing(hub: LiveHub, capsys: pytest.CaptureFixture[str]) -> None:
    for n in range(7):
        hub.client.report({f"full{n}": "x" * 4_096})
    hub.client.report({"full7": "x" * (32 * 1024 - 7 * (4_096 + 5) - 5 - 10)})

    assert follow(hub) == [5]
    assert "the state of the configuration cannot be reported: properties.reported" in capsys.readouterr().err


def test_a_bug_is_no_bad_setting(hub: LiveHub) -> None:
    follow(hub)

    with pytest.raises(ZeroDivisionError):
        change(hub, 101)
