"""Sends made-up readings that look like weather: for trying out routes, upstreams and dashboards without a sensor."""

from __future__ import annotations

import math
import time

from microedge.sdk.settings import first_settings, follow_settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from microedge import ModuleClient

_DAY_S = 86_400.0
_WARMEST = 15 / 24  # of the day
_PULL = 0.02  # of the walk is undone with each reading, so that it does not walk away
_MASK = 0xFFFF_FFFF_FFFF_FFFF
_KEYS = {"interval_s", "seed", "channels"}
_CHANNEL_KEYS = {"base": 0.0, "swing": 0.0, "walk": 0.0, "digits": 2}


class SettingsError(ValueError):
    """A desired property is wrong; the text says which, what was found and what was expected."""


class Dice:
    """Random numbers from 0 to 1 by a seed (splitmix64). The standard library's `random` costs a module 1 MiB."""

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK

    def roll(self) -> float:
        """Return the next number, 0 <= number < 1."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self._state
        mixed = ((mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ mixed >> 27) * 0x94D049BB133111EB) & _MASK
        return (mixed ^ mixed >> 31) / 2.0**64


class Channel:
    """One simulated quantity: base + swing * daily wave + random walk."""

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        """Raise SettingsError for an unknown key or a value that is no number."""
        self.name = name
        if not isinstance(options, dict):
            raise SettingsError(f"channels.{name} = {options!r}: expected a table with {', '.join(_CHANNEL_KEYS)}")
        for key, value in options.items():
            if key not in _CHANNEL_KEYS or type(value) not in (int, float) or not math.isfinite(value):
                known = ", ".join(_CHANNEL_KEYS)
                raise SettingsError(f"channels.{name}.{key} = {value!r}: expected a number for one of {known}")
        self._base, self._swing, self._walk, digits = ({**_CHANNEL_KEYS, **options}[key] for key in _CHANNEL_KEYS)
        self._digits = int(digits)
        self._wandered = 0.0

    def next_value(self, day_s: float, dice: Dice) -> float:
        """Take one step of the walk and return the value at `day_s` seconds after midnight."""
        self._wandered += self._walk * (2.0 * dice.roll() - 1.0) - _PULL * self._wandered
        wave = math.cos(2.0 * math.pi * (day_s / _DAY_S - _WARMEST))
        value: float = round(self._base + self._swing * wave + self._wandered, self._digits)
        return value


class Simulation:
    """All channels of one instance."""

    def __init__(self, desired: dict[str, Any]) -> None:
        """Check and store.

        Raises:
            SettingsError: a desired property is wrong.
        """
        unknown = sorted(key for key in desired if key not in _KEYS and not key.startswith("$"))
        if unknown:
            raise SettingsError(f"{unknown[0]}: unknown key; known are {', '.join(sorted(_KEYS))}")
        interval_s, seed = desired.get("interval_s", 5), desired.get("seed", 1)
        channels = desired.get("channels", {})
        if type(interval_s) not in (int, float) or not 0.001 <= interval_s <= _DAY_S:
            raise SettingsError(f"interval_s = {interval_s!r}: expected a number from 0.001 to {_DAY_S:.0f}")
        if type(seed) is not int:
            raise SettingsError(f"seed = {seed!r}: expected a whole number")
        if not isinstance(channels, dict) or not channels:
            raise SettingsError(f"channels = {channels!r}: expected a table with at least one channel")
        self.interval_s = float(interval_s)
        self._channels = [Channel(name, options) for name, options in channels.items()]
        self._dice = Dice(seed)

    def next_reading(self, wall_s: float) -> dict[str, float]:
        """Return the next value of each channel for the wall-clock time `wall_s`, in seconds since the epoch."""
        day_s = wall_s % _DAY_S
        return {channel.name: channel.next_value(day_s, self._dice) for channel in self._channels}


def main(client: ModuleClient) -> None:
    """Send a reading each `interval_s` until asked to stop; exit with 78 when the settings it starts with are wrong."""
    simulation = first_settings(client, Simulation)

    def send() -> None:
        client.send("readings", simulation.next_reading(time.time()))

    def change(settings: Simulation) -> None:
        nonlocal simulation
        simulation = settings
        client.every(simulation.interval_s, send)

    follow_settings(client, Simulation, change)
    client.ready()
    send()
    client.run()
