"""Reports the device itself: CPU, memory, temperature, disk, load, uptime. What is not available is left out."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from microedge import ModuleClient


def main(client: ModuleClient) -> None:
    """Send the metrics each `interval_s` until asked to stop; exit with 78 when the first settings are wrong."""
    from microedge.sdk.settings import first_settings, follow_settings

    from .metrics import Metrics, device  # noqa: TID252 (works under whatever name the runner loads it)

    metrics = first_settings(client, Metrics)

    def send() -> None:
        client.send("metrics", metrics.collect())

    def change(settings: Metrics) -> None:
        nonlocal metrics
        metrics = settings
        client.every(metrics.interval_s, send)  # CPU use is what happened between two looks: the first look is silent

    follow_settings(client, Metrics, change)
    client.ready()
    facts = device()
    if client.reported.get("device") != facts:
        client.report({"device": facts})
    client.run()
