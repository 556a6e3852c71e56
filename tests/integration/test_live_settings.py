"""Every bundled module takes other desired properties while it runs, and says what it could not take."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.live_hub import LiveHub
from support.serial_line import ROOT, load_package, sersim

from microedge.sdk.run import read_manifest

Main = Callable[[Any], object]
RATE = {"kind": "rate", "interval_s": 3_600}


@contextmanager
def running(image: str, **desired: Any) -> Iterator[LiveHub]:
    """A module in this process, ready, with its manifest's defaults amended."""
    manifest = read_manifest(str(ROOT / "modules" / image))
    settings = {**manifest["desired"], **desired}
    with LiveHub(desired=settings, inputs=manifest["inputs"], outputs=manifest["outputs"]) as hub:
        hub.start(load_package("modules", image).main)
        hub.wait_until(lambda: hub.is_ready or hub.outcome)
        yield hub


def configuration(hub: LiveHub) -> Any:
    return hub.twin.reported.get("configuration")


CHANGES = [
    ("simulated_sensor", {"interval_s": 3_600}, {"interval_s": 0.01}, {"interval_s": 0}, "interval_s = 0: expected"),
    ("system_metrics", {"interval_s": 3_600}, {"interval_s": 0.1}, {"disk": "x"}, "disk = 'x': expected"),
    ("filter", {"rules": [RATE]}, {"status_interval_s": 1}, {"rules": []}, "rules = []: expected"),
    ("serial_bridge", {"port": "/no/such/port"}, {"baud": 115_200}, {"baud": 1}, "baud = 1: expected"),
]


@pytest.mark.parametrize(("image", "first", "good", "bad", "problem"), CHANGES)
def test_a_change_is_applied_a_bad_one_is_reported_and_the_last_good_one_stays(
    image: str, first: dict[str, Any], good: dict[str, Any], bad: dict[str, Any], problem: str, capfd: Any
) -> None:
    with running(image, **first) as hub:
        assert configuration(hub) == {"desired_version": 2, "applied_version": 2}
        version = hub.desire(good)
        hub.wait_until(lambda: configuration(hub) == {"desired_version": version, "applied_version": version})
        hub.desire(bad)
        hub.wait_until(lambda: "problem" in configuration(hub))
        assert configuration(hub)["problem"].startswith(problem)
        assert configuration(hub)["applied_version"] == version
        hub.desire(good | dict.fromkeys(bad.keys() - good.keys()) | ({"rules": [RATE]} if image == "filter" else {}))
        hub.wait_until(lambda: "problem" not in configuration(hub))
        hub.stop()
        hub.join()

    assert f"<3>desired properties: {problem}" in capfd.readouterr().err


@pytest.mark.parametrize(("image", "first", "good", "bad", "problem"), CHANGES)
def test_bad_settings_at_the_start_end_it_with_78_and_are_reported(
    image: str, first: dict[str, Any], good: dict[str, Any], bad: dict[str, Any], problem: str
) -> None:
    with running(image, **{**first, **bad}) as hub, pytest.raises(SystemExit) as end:
        hub.join()

    assert end.value.code == 78
    assert configuration(hub)["applied_version"] == 0
    assert configuration(hub)["problem"].startswith(problem)


@pytest.mark.parametrize(("image", "output"), [("simulated_sensor", "readings"), ("system_metrics", "metrics")])
def test_a_shorter_interval_does_not_wait_for_the_end_of_the_longer_one(image: str, output: str) -> None:
    with running(image, interval_s=3_600) as hub:
        hub.desire({"interval_s": 0.1})
        hub.wait_until(lambda: len(hub.bodies(output)) >= 3)


def test_system_metrics_reports_what_the_device_is() -> None:
    with running("system_metrics") as hub:
        hub.wait_until(lambda: "device" in hub.twin.reported)

        assert set(hub.twin.reported["device"]) == {"machine", "kernel", "cpus", "memory_mib"}


def test_the_bridge_opens_the_port_again_for_another_speed_and_goes_on_reading(tmp_path: Path) -> None:
    link = str(tmp_path / "tty")
    with sersim.SensorPty(link) as pty, running("serial_bridge", port=link, baud=9_600) as hub:

        def reads(number: int) -> bool:
            pty.write(json.dumps({"n": number}).encode() + b"\n")
            return {"n": number} in hub.bodies("readings")

        hub.wait_until(lambda: reads(1))
        hub.desire({"baud": 19_200})
        hub.wait_until(lambda: hub.twin.reported.get("configuration", {}).get("applied_version") == 3)
        hub.wait_until(lambda: reads(2))
        hub.wait_until(lambda: hub.twin.reported["port"]["baud"] == 19_200)

        port = hub.twin.reported["port"]
        assert (port["state"], port["connected"], port["reconnects"], port["path"]) == ("reading", True, 1, link)


def test_the_bridge_keeps_the_port_open_where_the_line_is_the_same(tmp_path: Path) -> None:
    link = str(tmp_path / "tty")
    with sersim.SensorPty(link) as pty, running("serial_bridge", port=link, status_interval_s=1) as hub:
        hub.desire({"fields": {"t": {"scale": 0.1}}})
        hub.wait_until(lambda: configuration(hub)["applied_version"] == 3)

        def reads() -> bool:
            pty.write(b'{"t": 215}\n')
            return {"t": 21.5} in hub.bodies("readings")

        hub.wait_until(reads)
        hub.stop()
        hub.join()

    assert hub.bodies("status")[-1]["reopened"] == 0
