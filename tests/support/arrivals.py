"""What arrived at the broker, held against what the producers wrote down."""

from __future__ import annotations

import json
import struct
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

_RECORD = struct.Struct("<QQ")  # as the image `producer` writes it


class Arrival(NamedTuple):
    topic: str
    body: bytes
    message_id: str
    at_s: float  # monotonic


class Subscriber:
    """A client that misses nothing: QoS 1, a session that outlives disconnections, and it comes back by itself."""

    def __init__(self, port: int, topic: str = "microedge/+/+/readings") -> None:
        self.arrivals: list[Arrival] = []
        self._port = port
        self._topic = topic
        self._is_subscribed = threading.Event()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "test-subscriber", protocol=mqtt.MQTTv5)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._is_subscribed.set()
        self._client.on_message = self._on_message
        self._client.reconnect_delay_set(0.1, 0.1)  # type: ignore[arg-type]  # it only adds and multiplies

    def __enter__(self) -> Subscriber:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        self._client.connect("127.0.0.1", self._port, clean_start=False, properties=properties)
        self._client.loop_start()
        assert self._is_subscribed.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        del self._client  # it closes its last sockets when it goes, even if a failed test's traceback keeps us

    def wait_until(self, holds: Callable[[list[Arrival]], object], timeout_s: float = 10.0) -> None:
        """Block until `holds(arrivals)`; fail when that takes longer."""
        deadline_s = time.monotonic() + timeout_s
        while not holds(self.arrivals):
            assert time.monotonic() < deadline_s, f"{len(self.arrivals)} arrivals after {timeout_s} s"
            time.sleep(0.02)

    def wait_for_quiet(self, quiet_s: float = 0.5, timeout_s: float = 20.0) -> None:
        """Block until nothing has arrived for `quiet_s`."""
        self.wait_until(lambda all_: not all_ or time.monotonic() - all_[-1].at_s > quiet_s, timeout_s)

    def _on_connect(self, client: mqtt.Client, *_: object) -> None:
        client.subscribe(self._topic, qos=1)

    def _on_message(self, _client: object, _userdata: object, message: mqtt.MQTTMessage) -> None:
        properties = dict(getattr(message.properties, "UserProperty", ()))
        message_id = properties.get("microedge-id", "")
        self.arrivals.append(Arrival(message.topic, message.payload, message_id, time.monotonic()))


def read_handled(data_dir: Path, producer: str) -> list[Arrival]:
    """Return what the image `consumer` has handled of one producer's messages, in order."""
    lines = [line.split() for line in (data_dir / "handled").read_text().splitlines()]
    topic = f"module/inputs/{producer}"
    return [Arrival(topic, b'{"run":%d,"n":%d}' % (int(run), int(n)), message_id, 0.0) for message_id, run, n in lines]


class Run(NamedTuple):
    """One process of a producer: how many messages it sent, and up to which one it was acknowledged."""

    sent: int
    acknowledged: int


def read_record(data_dir: Path) -> list[Run]:
    """Return what the producer with this data directory wrote down; [] if it never ran."""
    file = data_dir / "record"
    data = file.read_bytes() if file.exists() else b""
    return [Run(*pair) for pair in _RECORD.iter_unpack(data)]


class Tally(NamedTuple):
    """The outcome of `audit`; `faults` is empty when every promise was kept."""

    messages: int
    duplicates: int
    acknowledged: int
    faults: list[str]


def audit(arrivals: Iterable[Arrival], records: dict[str, list[Run]]) -> Tally:
    """Check loss, order and identity of what arrived from each producer, by name."""
    auditor = _Auditor()
    for arrival in arrivals:
        auditor.take(arrival)
    for name, runs in records.items():
        auditor.check_losses(name, runs)
    acknowledged = sum(run.acknowledged for runs in records.values() for run in runs)
    return Tally(len(auditor.body_of), auditor.duplicates, acknowledged, auditor.faults)


class _Auditor:
    def __init__(self) -> None:
        self.body_of: dict[str, bytes] = {}
        self.duplicates = 0
        self.faults: list[str] = []
        self._last: dict[str, tuple[int, int]] = {}  # by topic
        self._last_of_run: dict[tuple[str, int], int] = {}
        self._seen: set[tuple[str, int, int]] = set()

    def take(self, arrival: Arrival) -> None:
        if not arrival.message_id:
            self.faults.append(f"{arrival.topic}: {arrival.body!r} has no id")
        elif arrival.message_id in self.body_of:
            self.duplicates += 1
            if self.body_of[arrival.message_id] != arrival.body:
                self.faults.append(f"id {arrival.message_id} for {arrival.body!r} too")
        else:
            self.body_of[arrival.message_id] = arrival.body
            self._take_first(arrival.topic, json.loads(arrival.body))

    def check_losses(self, name: str, runs: list[Run]) -> None:
        for number, run in enumerate(runs):
            last = self._last_of_run.get((name, number), 0)
            if last < run.acknowledged:
                self.faults.append(f"{name} run {number}: acknowledged up to {run.acknowledged}, arrived up to {last}")
            if last > run.sent:
                self.faults.append(f"{name} run {number}: sent {run.sent}, arrived up to {last}")

    def _take_first(self, topic: str, body: dict[str, Any]) -> None:
        name = topic.split("/")[2]
        run, n = body["run"], body["n"]
        last = self._last.get(topic, (-1, 0))
        expected = last[1] + 1 if run == last[0] else 1
        if run < last[0] or n != expected:
            self.faults.append(f"{name}: run {run} message {n} came behind run {last[0]} message {last[1]}")
        self._last[topic] = (run, n)
        self._last_of_run[name, run] = n
