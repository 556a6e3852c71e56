"""Reads a sensor on a serial port, line by line, and sends each reading; survives unplugging. See README.md."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from microedge import ModuleClient

EXIT_CONFIG = 78  # EX_CONFIG: starting again does not help, a person must edit


def main(client: ModuleClient) -> None:
    """Run until asked to stop; exit with 78 when the settings are wrong."""
    from .bridge import Bridge  # noqa: TID252 (works under whatever name the runner loads this package)
    from .settings import Settings, SettingsError  # noqa: TID252

    try:
        bridge = Bridge(client, Settings(client.desired))
    except SettingsError as error:
        client.log.error("desired properties: %s; this instance starts again when they have changed", error)
        sys.exit(EXIT_CONFIG)
    bridge.run()
