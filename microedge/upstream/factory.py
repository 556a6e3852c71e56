"""Which class carries messages for which type of upstream; loads only what is asked for."""

from __future__ import annotations

from microedge.upstream.settings import FILE, MQTT, UpstreamSettings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from microedge.reactor import Reactor
    from microedge.upstream.connector import Connector


def create(settings: UpstreamSettings, reactor: Reactor) -> Connector | None:
    """Return the connector for `settings.type`, not yet opened; None for "none". Does no I/O."""
    if settings.type == FILE:
        from microedge.upstream.file import FileConnector

        return FileConnector(settings, reactor)
    if settings.type == MQTT:
        from microedge.upstream.mqtt import MqttConnector

        return MqttConnector(settings, reactor)
    return None
