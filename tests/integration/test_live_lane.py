"""Fresh readings while a backlog drains through a slow link to a real broker."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from support.arrivals import Arrival, Subscriber
from support.device import Device, configuration, producer
from support.mosquitto import Mosquitto
from support.slow_link import SlowLink

BACKLOG = 5_000
BYTES_PER_S = 200_000
COMMON: dict[str, Any] = {
    "pad_chars": 40,
    "is_padding_random": False,
    "is_flushing": False,
    "marked": [],
    "durability": "batched",
}


class LateSubscriber(Subscriber):
    """Notes how old each message is when it arrives."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.late_s: list[float] = []

    def _on_message(self, client: Any, userdata: object, message: Any) -> None:
        created = dict(message.properties.UserProperty)["microedge-created"]
        self.late_s.append(time.time() - datetime.fromisoformat(created.replace("Z", "+00:00")).timestamp())
        super()._on_message(client, userdata, message)


def numbers(arrivals: list[Arrival], module: str) -> list[int]:
    return [json.loads(one.body)["n"] for one in arrivals if f"/{module}/" in one.topic]


def last_of(arrivals: list[Arrival], module: str) -> Arrival:
    return [one for one in arrivals if f"/{module}/" in one.topic][-1]


@pytest.mark.timeout(180)
def test_fresh_readings_do_not_wait_for_a_backlog_where_that_is_asked_for(tmp_path: Path, capsys):
    store = "linger_ms = 1000\nttl_s = -1\nlive_lane = true"
    with ExitStack() as stack:
        broker = stack.enter_context(Mosquitto(str(tmp_path)))
        subscriber = stack.enter_context(LateSubscriber(broker.port))
        link = stack.enter_context(SlowLink(broker.port, BYTES_PER_S))
        config = configuration(
            link.port,
            producer("old", interval_s=0.05, total=BACKLOG, burst=50, **COMMON),
            producer("fresh", interval_s=0.2, total=0, burst=1, **COMMON),
            store=store,
        )
        device = stack.enter_context(Device(tmp_path, config, images=("producer",)))
        device.pause("fresh")
        device.start()
        device.wait_until(lambda: device.status()["queue"]["disk_messages"] >= BACKLOG, 60)
        link.is_open = True
        subscriber.wait_until(lambda arrivals: len(arrivals) > 200, 70)
        device.pause("fresh", is_paused=False)
        subscriber.wait_until(lambda arrivals: len(numbers(arrivals, "old")) == BACKLOG, 70)
        arrivals = list(subscriber.arrivals)
        before_end = len(numbers(arrivals[: arrivals.index(last_of(arrivals, "old"))], "fresh"))
        subscriber.wait_until(lambda arrivals: numbers(arrivals, "fresh"))
        arrivals = list(subscriber.arrivals)
        late_s = sorted(late for late, one in zip(subscriber.late_s, arrivals) if "/fresh/" in one.topic)
        device.pause("fresh")

    fresh = numbers(arrivals, "fresh")
    assert numbers(arrivals, "old") == list(range(1, BACKLOG + 1))
    assert fresh == list(range(1, len(fresh) + 1))
    with capsys.disabled():
        median_s, worst_s = late_s[len(late_s) // 2], late_s[-1]
        print(f"\nfresh={len(fresh)} late_s p50={median_s:.2f} max={worst_s:.2f}")
    assert before_end > 10
