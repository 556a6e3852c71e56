"""The simulated sensor: repeatable, plausible, and clear about mistakes."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from support.serial_line import ROOT, load_package

load_package("modules", "simulated_sensor")
from simulated_sensor import Dice, SettingsError, Simulation  # noqa: E402 (the package is where no import finds it)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CHANNEL = {"celsius": {"base": 20.0, "swing": 5.0, "walk": 0.1}}


def manifest_desired() -> dict[str, Any]:
    desired: dict[str, Any] = tomllib.loads((ROOT / "modules/simulated_sensor/module.toml").read_text())["desired"]
    return desired


def test_the_same_seed_gives_the_same_readings() -> None:
    first, again, other = (Simulation({"channels": CHANNEL, "seed": seed}) for seed in (7, 7, 8))
    times_s = [second * 60.0 for second in range(100)]

    walk = [first.next_reading(at_s) for at_s in times_s]

    assert walk == [again.next_reading(at_s) for at_s in times_s]
    assert walk != [other.next_reading(at_s) for at_s in times_s]


def test_the_afternoon_is_warmer_than_the_night_and_drier() -> None:
    simulation = Simulation(manifest_desired())

    night, afternoon = simulation.next_reading(3 * 3600.0), simulation.next_reading(15 * 3600.0)

    assert 24 < afternoon["celsius"] < 26 > night["celsius"] + 8
    assert afternoon["percent"] < night["percent"] - 20


def test_the_walk_stays_near_home() -> None:
    simulation = Simulation({"channels": {"x": {"walk": 1.0}}})

    values = [simulation.next_reading(0.0)["x"] for _ in range(20_000)]

    assert max(map(abs, values)) < 20
    assert len(set(values)) > 1_000


def test_dice_are_fair_enough() -> None:
    dice = Dice(1)
    rolls = [dice.roll() for _ in range(10_000)]

    assert 0 <= min(rolls) < 0.01 < 0.99 < max(rolls) < 1
    assert 0.48 < sum(rolls) / len(rolls) < 0.52


@pytest.mark.parametrize(
    ("desired", "message"),
    [
        ({"interval": 5}, "interval: unknown key"),
        ({"interval_s": 0, "channels": CHANNEL}, "interval_s = 0: expected a number from 0.001"),
        ({"seed": "x", "channels": CHANNEL}, "seed = 'x': expected a whole number"),
        ({"channels": {}}, "channels = {}: expected a table"),
        ({"channels": {"x": 5}}, "channels.x = 5: expected a table"),
        ({"channels": {"x": {"bias": 5}}}, "channels.x.bias = 5: expected a number for one of base"),
    ],
)
def test_a_wrong_property_is_named(desired: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Simulation(desired)
