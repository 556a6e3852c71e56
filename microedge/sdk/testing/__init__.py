"""A hub in memory, for the tests of a module: its author needs pytest, and neither supervisor nor broker.

    from microedge.sdk.testing import Hub

    def test_hot_readings_raise_an_alarm():
        with Hub("modules/soil_probe", desired={"limit": 30}) as hub:
            hub.send("readings", {"celsius": 31})

            assert hub.take("alarms").json() == {"celsius": 31}

The routes, the exchange, the sessions, the twin and the SDK are those of the real thing; processes, disk, network and
time are not. No module that runs ever loads this package.
"""

from __future__ import annotations

from microedge.sdk.testing.hub import Hub
from microedge.sdk.testing.log import LogLine
from microedge.sdk.testing.module import Module
from microedge.sdk.testing.store import DeadMessage

__all__ = ["DeadMessage", "Hub", "LogLine", "Module"]
