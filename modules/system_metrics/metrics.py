"""What psutil knows about the device, as one flat reading."""

from __future__ import annotations

import os
import time

import psutil

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

_MIB = 1024 * 1024
_KEYS = {"interval_s", "disk", "network"}
_CPU_SENSORS = ("cpu_thermal", "soc_thermal", "coretemp", "k10temp", "zenpower", "acpitz")  # the Pi's first
_UNAVAILABLE = (OSError, psutil.Error, AttributeError, NotImplementedError, ValueError)


class SettingsError(ValueError):
    """A desired property is wrong; the text says which, what was found and what was expected."""


class Metrics:
    """Collects what this device has. Network and CPU are counted from the construction on."""

    def __init__(self, desired: dict[str, Any]) -> None:
        """Check the settings and take the first look at the CPU.

        Raises:
            SettingsError: a desired property is wrong.
        """
        unknown = sorted(key for key in desired if key not in _KEYS and not key.startswith("$"))
        if unknown:
            raise SettingsError(f"{unknown[0]}: unknown key; known are {', '.join(sorted(_KEYS))}")
        interval_s, disk, network = (
            desired.get("interval_s", 10),
            desired.get("disk", "/"),
            desired.get("network", False),
        )
        if type(interval_s) not in (int, float) or not 0.1 <= interval_s <= 86_400:
            raise SettingsError(f"interval_s = {interval_s!r}: expected a number from 0.1 to 86400")
        if not isinstance(disk, str) or not disk.startswith("/"):
            raise SettingsError(f"disk = {disk!r}: expected an absolute path")
        if not isinstance(network, bool):
            raise SettingsError(f"network = {network!r}: expected true or false")
        self.interval_s = float(interval_s)
        self._disk = disk
        self._parts: list[Callable[[], Iterator[tuple[str, float]]]] = [_cpu, _memory, _temperature, self._disk_use]
        self._parts += [_load, _uptime, *([_network] if network else [])]
        _available(_cpu)

    def collect(self) -> dict[str, float]:
        """Return what is available now; a part that this device or this user does not have is left out."""
        return {name: value for part in self._parts for name, value in _available(part)}

    def _disk_use(self) -> Iterator[tuple[str, float]]:
        use = psutil.disk_usage(self._disk)
        yield "disk_percent", use.percent
        yield "disk_free_mib", round(use.free / _MIB, 1)


def device() -> dict[str, object]:
    """Return what does not change while the device is up, for the reported properties."""
    system = os.uname()
    return {
        "machine": system.machine,
        "kernel": system.release,
        "cpus": os.cpu_count() or 0,
        "memory_mib": round(psutil.virtual_memory().total / _MIB),
    }


def _available(part: Callable[[], Iterator[tuple[str, float]]]) -> list[tuple[str, float]]:
    try:
        return list(part())
    except _UNAVAILABLE:
        return []


def _cpu() -> Iterator[tuple[str, float]]:
    yield "cpu_percent", psutil.cpu_percent(interval=None)


def _memory() -> Iterator[tuple[str, float]]:
    memory = psutil.virtual_memory()
    yield "memory_percent", memory.percent
    yield "memory_available_mib", round(memory.available / _MIB, 1)


def _temperature() -> Iterator[tuple[str, float]]:
    sensors = psutil.sensors_temperatures()
    names = [name for name in _CPU_SENSORS if sensors.get(name)] or [name for name in sensors if sensors[name]]
    if names:
        yield "cpu_celsius", round(max(entry.current for entry in sensors[names[0]]), 1)


def _load() -> Iterator[tuple[str, float]]:
    yield "load_1min", round(os.getloadavg()[0], 2)


def _uptime() -> Iterator[tuple[str, float]]:
    yield "uptime_s", round(time.clock_gettime(time.CLOCK_BOOTTIME))


def _network() -> Iterator[tuple[str, float]]:
    cards = [counters for name, counters in psutil.net_io_counters(pernic=True).items() if name != "lo"]
    if cards:
        yield "network_sent_bytes", sum(card.bytes_sent for card in cards)
        yield "network_received_bytes", sum(card.bytes_recv for card in cards)
