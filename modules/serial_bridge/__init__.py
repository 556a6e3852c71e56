"""Reads a sensor on a serial port, line by line, and sends each reading; survives unplugging. See README.md."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from microedge import ModuleClient


def main(client: ModuleClient) -> None:
    """Run until asked to stop; exit with 78 when the settings it starts with are wrong."""
    from microedge.sdk.settings import first_settings

    from .bridge import Bridge  # noqa: TID252 (works under whatever name the runner loads this package)
    from .settings import Settings  # noqa: TID252

    Bridge(client, first_settings(client, Settings)).run()
