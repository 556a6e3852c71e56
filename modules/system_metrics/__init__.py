"""Reports the device itself: CPU, memory, temperature, disk, load, uptime. What is not available is left out."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from microedge import ModuleClient

EXIT_CONFIG = 78  # EX_CONFIG: a person must edit


def main(client: ModuleClient) -> None:
    """Send the metrics each `interval_s` until asked to stop; exit with 78 when the settings are wrong."""
    from .metrics import Metrics, SettingsError  # noqa: TID252 (works under whatever name the runner loads it)

    try:
        metrics = Metrics(client.desired)
    except SettingsError as error:
        client.log.error("desired properties: %s", error)
        sys.exit(EXIT_CONFIG)

    def change(patch: dict[str, Any], desired: dict[str, Any]) -> None:
        nonlocal metrics
        try:
            metrics = Metrics(desired)
        except SettingsError as error:
            client.log.error("desired properties: %s; keeping the previous ones until this is corrected", error)

    client.on_desired(change)
    client.ready()
    while client.wait(metrics.interval_s):  # CPU use is what happened between two looks, so the first look is silent
        client.send("metrics", metrics.collect())
