"""The twin of `$edgeAgent` follows what runs, in few reports, each of them only what differs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fake_processes import World, plan
from support.virtual_reactor import VirtualReactor

from microedge.config.plan import Plan
from microedge.errors import ModuleImageError
from microedge.supervisor.agent_report import NEVER
from microedge.supervisor.agent_reporter import AgentReporter
from microedge.supervisor.fleet import Fleet
from microedge.supervisor.instance import boot_ms
from microedge.supervisor.logs import LogRing
from microedge.supervisor.runtime import Runtime
from microedge.supervisor.twins import Twins
from microedge.twin.twin import Twin

SET_MS = 1_795_447_805_000  # 2026-11-23 15:30:05 UTC


class Site:
    """A fleet without processes, a real twin, and the reports between them."""

    def __init__(self, data_dir: Path, epoch_ms: int = SET_MS) -> None:
        self.world = World(data_dir)
        nobody: Any = None
        own: Any = self
        fleet = Fleet(self.world.services)
        self.runtime = Runtime(nobody, LogRing(), fleet, nobody, nobody, nobody, nobody, twins=own)
        self.twin = Twin("bench", "$edgeAgent")
        self.patches: list[dict[str, Any]] = []
        self.epoch_ms = epoch_ms
        self.refused: dict[str, Any] = {}  # added to each report
        self.reporter = AgentReporter(self.runtime, self.world.reactor, offset_ms=lambda: self.epoch_ms - boot_ms())
        self.reporter.open()

    # Twins
    def find(self, name: str) -> Twin:
        assert name == "$edgeAgent"
        return self.twin

    def report(self, name: str, patch: dict[str, Any]) -> int:
        assert name == "$edgeAgent"
        self.patches.append(patch)
        return self.twin.patch_reported({**patch, **self.refused}, SET_MS).version

    def pass_second(self) -> dict[str, Any]:
        """Return what is reported of the module afterwards."""
        self.world.reactor.pass_time(1.1)
        return self.entry()

    def entry(self) -> dict[str, Any]:
        module: dict[str, Any] = self.twin.reported["modules"]["probe"]
        return module

    def code(self) -> int:
        return int(self.twin.reported["lastDesiredStatus"]["code"])


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    one = Site(tmp_path)
    yield one
    one.world.close()


def start(site: Site, **supervision: Any) -> None:
    site.runtime.fleet.apply([plan(**supervision)])
    site.world.processes[-1].appear().ready()
    site.pass_second()


def test_a_start_is_reported_at_once_and_what_became_of_it_within_a_second(site: Site):
    assert [patch["schemaVersion"] for patch in site.patches] == ["1.0"]
    start(site)

    assert len(site.patches) == 2
    assert (site.entry()["runtimeStatus"], site.entry()["settings"]) == (
        "running",
        {"image": "probe", "imageHash": "1"},
    )


def test_without_a_change_nothing_is_reported_for_an_hour(site: Site):
    start(site, hang_timeout_s=0)
    site.patches.clear()
    for _ in range(3_600):
        site.world.reactor.pass_time(1.0)

    assert site.patches == []


def test_a_crash_and_a_new_start_within_a_second_are_one_report_of_what_differs(site: Site):
    start(site)
    site.patches.clear()
    site.world.processes[0].end(code=3)
    site.world.processes[1].appear().ready()
    site.pass_second()

    (patch,) = site.patches
    assert patch.keys() == {"modules"}
    assert patch["modules"]["probe"].keys() <= {
        *("exitCode", "lastStartTimeUtc", "lastExitTimeUtc", "restartCount", "lastRestartTimeUtc")
    }
    assert (patch["modules"]["probe"]["exitCode"], patch["modules"]["probe"]["restartCount"]) == (3, 1)


def test_a_crash_loop_is_seen_as_backoff_and_then_runs_again(site: Site):
    start(site)
    site.world.processes[0].end(code=3)
    site.world.processes[1].appear().end(code=3)
    waiting = site.pass_second()
    site.world.reactor.pass_time(10)
    site.world.processes[2].appear().ready()
    running = site.pass_second()

    assert (waiting["runtimeStatus"], waiting["restartCount"]) == ("backoff", 1)
    assert waiting["statusDescription"].startswith("exited with code 3")
    assert (running["runtimeStatus"], running["restartCount"], running["exitCode"]) == ("running", 2, 3)
    assert running["statusDescription"] == ""


def test_a_module_that_is_gone_is_gone_from_the_report(site: Site):
    start(site)
    site.runtime.fleet.apply([])
    site.world.processes[0].end()
    site.world.reactor.pass_time(1.1)

    assert site.twin.reported["modules"] == {}
    assert site.code() == 417


def test_a_refused_reload_and_a_rejected_directory_are_reported_and_their_cure_too(site: Site):
    start(site)
    site.runtime.refusal = "microedge.toml:8: nonsense"
    site.runtime.config_version = 2
    site.runtime.plan = Plan((), (ModuleImageError("a/module.toml", "no name", 1),), ())
    site.reporter.look()
    site.pass_second()
    assert (site.code(), site.twin.reported["lastDesiredVersion"]) == (400, 2)

    site.runtime.refusal = ""
    site.runtime.plan = Plan((), (), ())
    site.reporter.look()
    site.pass_second()
    assert site.code() == 200


def test_a_stop_is_reported_at_once(site: Site):
    start(site)
    site.runtime.fleet.stop_all()
    site.world.processes[0].end()
    site.reporter.report_now()

    assert (site.code(), site.entry()["runtimeStatus"]) == (406, "unknown")
    site.patches.clear()
    site.world.reactor.pass_time(120)
    assert site.patches == []


def test_when_the_clock_is_set_the_times_become_right_without_another_change(tmp_path: Path):
    site = Site(tmp_path, epoch_ms=1_000_000)
    site.world.reactor.pass_time(1.1)
    assert site.twin.reported["systemModules"]["edgeAgent"]["lastStartTimeUtc"] == NEVER
    site.epoch_ms = SET_MS
    site.world.reactor.pass_time(62)

    assert site.twin.reported["systemModules"]["edgeAgent"]["lastStartTimeUtc"].startswith("2026-11-23T15:30:0")


def test_a_report_that_the_twin_refuses_stops_nobody(site: Site, caplog: pytest.LogCaptureFixture):
    site.refused = {"a.b": 1}
    site.runtime.config_version = 2
    site.reporter.report_now()

    assert "the twin of $edgeAgent refuses" in caplog.text


class Nowhere:
    """Takes what twins send on, and forgets it."""

    def set_reported(self, module: str, document: bytes) -> None: ...
    def route_twin_change(self, message: object) -> None: ...
    def drop_twin_change(self, module: str) -> None: ...


def test_a_crash_loop_writes_the_report_to_the_card_every_ten_minutes_only(tmp_path: Path):
    reactor = VirtualReactor()
    nowhere: Any = Nowhere()
    twins = Twins(str(tmp_path), "bench", reactor, nowhere, clock=reactor.now_s)
    twins.open([])
    file = tmp_path / "twins" / "$edgeAgent.json"
    writes = set()
    for second in range(3_600):
        twins.report("$edgeAgent", {"restarts": second})
        reactor.advance(1.0)
        for thread in threading.enumerate():
            if thread.name == "twin-files":
                thread.join()
        reactor.turn()
        writes.add(file.stat().st_mtime_ns if file.exists() else 0)
    twins.close(5.0)

    assert 6 <= len(writes) <= 8
