"""The device's own metrics: what is there is reported, what is not is left out."""

from __future__ import annotations

from typing import Any

import pytest
from support.serial_line import load_package

load_package("modules", "system_metrics")
from system_metrics.metrics import Metrics, SettingsError  # noqa: E402 (the package is where no import finds it)


def test_what_every_linux_device_has_is_reported() -> None:
    metrics = Metrics({}).collect()

    assert {"cpu_percent", "memory_percent", "disk_percent", "load_1min", "uptime_s"} <= set(metrics)
    assert 0 <= metrics["memory_percent"] <= 100
    assert metrics["uptime_s"] > 0
    assert all(type(value) in (int, float) for value in metrics.values())


def test_what_is_not_available_is_left_out() -> None:
    metrics = Metrics({"disk": "/no/such/place"}).collect()

    assert "disk_percent" not in metrics
    assert "memory_percent" in metrics


def test_network_is_reported_only_on_request() -> None:
    assert "network_sent_bytes" not in Metrics({}).collect()


@pytest.mark.parametrize(
    ("desired", "message"),
    [
        ({"every_s": 1}, "every_s: unknown key"),
        ({"interval_s": "1"}, "interval_s = '1': expected a number"),
        ({"disk": "root"}, "disk = 'root': expected an absolute path"),
        ({"network": 1}, "network = 1: expected true or false"),
    ],
)
def test_a_wrong_property_is_named(desired: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Metrics(desired)
