"""Promise 1 under the worst day: the broker goes and comes while the runtime is killed again and again, under load.

Every acknowledged message arrives, in order per module and output; what arrives twice has the same message id.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest
from support.arrivals import Run, Subscriber, Tally, audit, read_record
from support.device import Device
from support.mosquitto import Mosquitto

PRODUCERS = ("alpha", "beta", "gamma")

CONFIG = """
[device]
id = "greenhouse-7"
[upstream]
type = "mqtt"
url = "mqtt://127.0.0.1:{port}"
[store]
keep_free_mib = 0
linger_ms = {linger_ms}
[modules.alpha]
image = "producer"
desired = {{ burst = {burst} }}
[modules.beta]
image = "producer"
desired = {{ is_flushing = true, burst = 10, interval_s = 0.02 }}
[modules.gamma]
image = "producer"
desired = {{ durability = "immediate", burst = 1, interval_s = 0.02 }}
"""

PHASES = ("broker up", "broker down", "draining", "right after start", "during a commit")


def persistent_broker(directory: Path) -> Mosquitto:
    """A broker that keeps sessions and queued messages over a stop, so that a loss cannot be its own."""
    directory.mkdir()
    directory.chmod(0o777)
    lines = ("allow_anonymous true", "persistence true", f"persistence_location {directory}/")
    return Mosquitto(str(directory), lines=lines)


class Campaign:
    """Kills the runtime in the phases of an outage, chosen by a seed."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.broker = persistent_broker(directory / "broker")
        load = {"linger_ms": self.random.choice((20, 300, 5000)), "burst": self.random.choice((3, 30))}
        config = CONFIG.format(port=self.broker.port, **load)
        self.device = Device(directory, config, images=("producer",))
        self.phases: Counter[str] = Counter()
        self.is_broker_up = False

    def run(self, kills: int) -> Tally:
        with self.broker, Subscriber(self.broker.port) as subscriber, self.device:
            self.is_broker_up = True
            for number in range(kills):
                self._one(PHASES[number] if number < len(PHASES) else self.random.choice(PHASES))
            self._set_broker(True)
            self._finish()
            runs = self.records()
            subscriber.wait_until(lambda _: self.device.status()["queue"]["messages"] == 0, 60)
            subscriber.wait_for_quiet()
            assert self.device.stop() == 0
            return audit(subscriber.arrivals, runs)

    def records(self) -> dict[str, list[Run]]:
        return {name: read_record(self.device.data(name)) for name in PRODUCERS}

    def _one(self, phase: str) -> None:
        self.phases[phase] += 1
        self._set_broker(phase not in ("broker down", "draining", "during a commit"))
        self.device.start(is_awaited=phase != "right after start")
        time.sleep(self.random.uniform(0.0, 0.8))
        if phase == "draining":
            self._set_broker(True)
            self.device.kill()
            self.device.start()
            time.sleep(self.random.uniform(0.0, 0.3))
        elif phase == "during a commit":
            self._wait_for_commit()
        elif phase == "broker up" and self.random.random() < 0.5:
            self._set_broker(False)  # and killed within moments of the loss
            time.sleep(self.random.uniform(0.0, 0.05))
        self.device.kill()

    def _wait_for_commit(self) -> None:
        """Return at the moment in which the write-ahead log changes: its fsync is under way, or next."""
        file = self.device.state / "queue.db-wal"
        before = _changed_ns(file)
        self.device.wait_until(lambda: _changed_ns(file) != before, 10, every_s=0)

    def _set_broker(self, is_up: bool) -> None:
        if is_up != self.is_broker_up:
            self.is_broker_up = is_up
            (self.broker.start if is_up else self.broker.stop)()

    def _finish(self) -> None:
        for name in PRODUCERS:
            (self.device.data(name) / "pause").touch()
        self.device.start()


def _changed_ns(file: Path) -> int:
    return os.stat(file).st_mtime_ns if file.exists() else 0


@pytest.mark.timeout(60)
@pytest.mark.parametrize("seed", [1])
def test_nothing_acknowledged_is_lost_when_the_runtime_is_killed_five_times_in_an_outage(tmp_path, seed):
    campaign = Campaign(tmp_path, seed)

    tally = campaign.run(kills=5)

    assert tally.faults == []
    assert tally.acknowledged > 300


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [101, 102, 103, 104])
def test_nothing_acknowledged_is_lost_over_a_hundred_kills_in_four_campaigns(tmp_path, seed):
    campaign = Campaign(tmp_path, seed)

    tally = campaign.run(kills=25)

    print(f"seed={seed} kills=25 {dict(campaign.phases)} {tally._replace(faults=tally.faults[:5])}")
    assert tally.faults == []
