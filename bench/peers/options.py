"""What the paho scripts have in common: settings as `key=value` words, a connection, and a report."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

TOPIC = "bench/device/module/readings"


def options() -> dict[str, str]:
    return dict(word.split("=", 1) for word in sys.argv[1:])


def connect(settings: dict[str, str], connected: Callable[[Client], object] = lambda client: None) -> Client:
    """Connect in the background, again and again; `connected(client)` is called each time."""
    client = Client(CallbackAPIVersion.VERSION2)
    client.on_connect = lambda *_: connected(client)
    client.max_inflight_messages_set(int(settings["window"]))
    client.connect_async("127.0.0.1", int(settings["port"]), keepalive=60)
    client.reconnect_delay_set(0.1, 1)
    client.loop_start()
    return client


def report(file: str, facts: dict[str, float]) -> None:
    with open(file + ".new", "w") as stream:
        json.dump(facts, stream)
    os.rename(file + ".new", file)
