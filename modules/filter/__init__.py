"""Lets messages through, or not, by rules about their bodies. See README.md."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from microedge import ModuleClient

EXIT_CONFIG = 78  # EX_CONFIG: starting again does not help, a person must edit


def main(client: ModuleClient) -> None:
    """Run until asked to stop; exit with 78 when the settings are wrong."""
    from .gate import Gate  # noqa: TID252 (works under whatever name the runner loads this package)
    from .settings import Settings, SettingsError  # noqa: TID252

    try:
        gate = Gate(client, Settings(client.desired))
    except SettingsError as error:
        client.log.error("desired properties: %s; this instance starts again when they have changed", error)
        sys.exit(EXIT_CONFIG)
    gate.run()
