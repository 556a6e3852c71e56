"""All instances: in line with a plan, started in order, and never against a person's word."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.fake_processes import World, plan

from microedge.config.model import InstanceConfig
from microedge.config.plan import InstancePlan
from microedge.supervisor.fleet import Fleet
from microedge.supervisor.lifecycle import State


class Site:
    def __init__(self, data_dir: Path) -> None:
        self.world = World(data_dir)
        self.fleet = Fleet(self.world.services)

    def states(self) -> dict[str, str]:
        return {name: one.state.value for name, one in sorted(self.fleet.instances.items())}

    def stop(self, name: str) -> None:
        """As the command does."""
        self.fleet.instances[name].is_stopped_by_hand = True
        self.fleet.instances[name].stop()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    one = Site(tmp_path)
    yield one
    one.world.close()


def test_modules_start_in_their_order_each_group_when_the_one_before_is_ready(site: Site):
    site.fleet.apply([plan("c", start_order=2), plan("a", start_order=1), plan("b", start_order=1)])
    assert site.states() == {"a": "starting", "b": "starting", "c": "stopped"}
    site.world.processes[0].appear().ready()
    assert site.states()["c"] == "stopped"
    site.world.processes[1].appear().end(code=1)  # failed: nobody waits for it any longer

    assert site.states() == {"a": "running", "b": "starting", "c": "starting"} or site.states()["c"] == "starting"


def test_a_group_that_takes_its_time_holds_up_the_next_one_for_five_seconds_only(site: Site):
    site.fleet.apply([plan("a", start_order=1), plan("b", start_order=2), plan("c", start_order=3)])
    site.world.reactor.pass_time(4.9)
    assert site.states() == {"a": "starting", "b": "stopped", "c": "stopped"}
    site.world.reactor.pass_time(0.2)
    assert site.states() == {"a": "starting", "b": "starting", "c": "stopped"}
    site.world.reactor.pass_time(5)

    assert site.states() == {"a": "starting", "b": "starting", "c": "starting"}


def test_a_module_that_is_dropped_in_does_not_wait_for_one_that_is_never_ready(site: Site):
    site.fleet.apply([plan("a", ready_timeout_s=3_600)])
    site.world.reactor.pass_time(10)
    site.fleet.apply([plan("a", ready_timeout_s=3_600), plan("b")])

    assert site.states() == {"a": "starting", "b": "starting"}


def test_a_module_that_was_stopped_while_it_waited_for_its_turn_is_not_started(site: Site):
    site.fleet.apply([plan("a", start_order=1), plan("b", start_order=2), plan("c", start_order=3)])
    site.stop("b")
    site.world.processes[0].appear().ready()

    assert site.states() == {"a": "running", "b": "stopped", "c": "starting"}


def test_the_same_plan_again_changes_nothing(site: Site):
    plans = [plan("a", start_order=1), plan("b", start_order=2)]
    site.fleet.apply(plans)
    site.fleet.apply([plan("a", start_order=1), plan("b", start_order=2)])

    assert site.states() == {"a": "starting", "b": "stopped"}
    assert len(site.world.processes) == 1


def test_a_changed_plan_restarts_that_module_only(site: Site):
    site.fleet.apply([plan("a"), plan("b")])
    for process in list(site.world.processes):
        process.appear().ready()
    site.fleet.apply([plan("a", fingerprint="2"), plan("b")])

    assert site.states() == {"a": "restarting", "b": "running"}


def test_a_module_that_was_stopped_by_hand_stays_stopped_when_its_plan_changes_and_uses_it_later(site: Site):
    site.fleet.apply([plan("a")])
    site.world.processes[0].appear().ready()
    site.stop("a")
    site.world.processes[0].end()
    site.fleet.apply([plan("a", fingerprint="2")])

    assert site.states() == {"a": "stopped"}
    assert site.fleet.instances["a"].plan.image.fingerprint == "2"


def test_a_module_that_is_gone_is_stopped_and_then_forgotten(site: Site):
    site.fleet.apply([plan("a"), plan("b")])
    site.world.processes[0].appear().ready()
    site.fleet.apply([plan("b")])
    assert site.states()["a"] == "stopping"
    site.world.processes[0].end()

    assert "a" not in site.states()


def test_a_module_that_comes_back_while_it_stops_starts_again(site: Site):
    site.fleet.apply([plan("a")])
    site.world.processes[0].appear().ready()
    site.fleet.apply([])
    site.fleet.apply([plan("a")])
    site.world.processes[0].end()
    site.world.processes[1].appear().ready()

    assert site.states() == {"a": "running"}


def test_autostart_false_waits_for_a_person_and_autostart_true_starts_it(site: Site):
    site.fleet.apply([plan("a", autostart=False)])
    assert site.states() == {"a": "stopped"}
    assert site.fleet.instances["a"].reason == "autostart = false"
    site.fleet.apply([plan("a", autostart=True)])

    assert site.states() == {"a": "starting"}


def test_stopping_all_ends_the_start_and_is_down_when_the_last_one_has_ended(site: Site):
    changes: list[bool] = []
    site.fleet.when_changed(lambda: changes.append(site.fleet.is_down))
    site.fleet.apply([plan("a", start_order=1), plan("b", start_order=2)])
    site.world.processes[0].appear().ready()
    site.world.processes[1].appear().ready()
    site.fleet.stop_all()
    assert not site.fleet.is_down
    site.world.processes[0].end()
    assert not site.fleet.is_down
    site.world.processes[1].end()

    assert site.fleet.is_down
    assert changes[-1]
    assert len(site.world.processes) == 2


def test_a_fleet_that_stops_while_it_starts_begins_nothing_new(site: Site):
    site.fleet.apply([plan("a", start_order=1), plan("b", start_order=2)])
    site.fleet.stop_all()
    site.world.processes[0].appear().end(signum=15)
    site.world.reactor.pass_time(100)

    assert site.fleet.is_down
    assert len(site.world.processes) == 1


def test_states_are_those_of_the_contract():
    assert {state.value for state in State} >= {"stopped", "starting", "running", "unhealthy", "backoff", "failed"}


def configured(**config: Any) -> InstancePlan:
    return replace(plan("a"), config=InstanceConfig("a", "a", **config))


def test_other_desired_properties_alone_restart_nothing(site: Site):
    site.fleet.apply([plan("a")])
    site.world.processes[0].appear().ready()
    site.fleet.apply([configured(desired={"unit": "K"})])
    site.fleet.apply([configured(desired={"unit": "C"})])
    assert site.states() == {"a": "running"}
    assert site.fleet.instances["a"].plan.config == configured(desired={"unit": "C"}).config
    site.fleet.apply([configured(desired={"unit": "C"}, limits={"memory_mib": 32})])

    assert site.states() == {"a": "restarting"}


@pytest.mark.parametrize(
    ("policy", "code", "is_by_hand", "state"),
    [
        ("always", 78, False, "starting"),  # its settings were wrong
        ("always", 1, False, "starting"),  # in back-off
        ("never", 1, False, "failed"),  # its policy says no more
        ("always", 1, True, "backoff"),  # a person has stopped it
    ],
)
def test_other_settings_start_what_waits_or_failed_for_them(
    site: Site, policy: str, code: int, is_by_hand: bool, state: str
):
    site.fleet.apply([plan("a", restart=policy)])
    site.world.processes[0].appear().end(code=code)
    for process in site.world.processes[1:]:  # the first retry comes at once
        process.appear().end(code=code)
    site.fleet.instances["a"].is_stopped_by_hand = is_by_hand
    site.fleet.retry("a")
    site.fleet.retry("unknown")

    assert site.states() == {"a": state}


def test_other_settings_change_nothing_for_one_that_runs(site: Site):
    site.fleet.apply([plan("a")])
    site.world.processes[0].appear().ready()
    site.fleet.retry("a")

    assert site.states() == {"a": "running"}
