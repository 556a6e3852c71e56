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
from support.arrivals import Run, Subscriber, Tally, audit, read_handled, read_record
from support.device import Device
from support.mosquitto import Mosquitto
from support.proxy import DelayProxy

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

CONSUMER = """
[modules.consumer]
image = "consumer"
[routes]
everything = "FROM /messages/* INTO $upstream"
work = 'FROM /messages/modules/alpha/* INTO BrokeredEndpoint("/modules/consumer/inputs/work")'
"""

PHASES = ("broker up", "broker down", "draining", "right after start", "during a commit")


def persistent_broker(directory: Path) -> Mosquitto:
    """A broker that keeps sessions and queued messages over a stop, so that a loss cannot be its own."""
    directory.mkdir()
    directory.chmod(0o777)
    lines = ("allow_anonymous true", "persistence true", f"persistence_location {directory}/")
    lines += ("max_inflight_messages 200",)  # with Mosquitto's own 20, a far broker takes 60 messages a second
    return Mosquitto(str(directory), lines=lines)


class Campaign:
    """Kills the runtime in the phases of an outage, chosen by a seed."""

    def __init__(self, directory: Path, seed: int, *, is_far: bool = False) -> None:
        """`is_far`: the broker answers late, so that messages are on their way and on disk at the same time."""
        self.random = random.Random(seed)
        self.broker = persistent_broker(directory / "broker")
        self.proxy = DelayProxy(self.broker.port, (0.02, 0.4) if is_far else (0.0, 0.0))
        load = {"linger_ms": self.random.choice((20, 300, 5000)), "burst": self.random.choice((3, 30))}
        config = CONFIG.format(port=self.proxy.port if is_far else self.broker.port, **load) + CONSUMER
        self.device = Device(directory, config, images=("producer", "consumer"))
        self.phases: Counter[str] = Counter()
        self.is_broker_up = False

    def run(self, kills: int) -> list[Tally]:
        """Return the tallies of the broker and of the consumer."""
        with self.broker, Subscriber(self.broker.port) as subscriber, self.proxy, self.device:
            self.is_broker_up = True
            for number in range(kills):
                self._one(PHASES[number] if number < len(PHASES) else self.random.choice(PHASES))
            self._set_broker(True)
            self._finish()
            runs = self.records()
            subscriber.wait_until(lambda _: self.device.status()["queue"]["messages"] == 0, 60)
            subscriber.wait_for_quiet()
            assert self.device.stop() == 0
            handled = read_handled(self.device.data("consumer"), "alpha")
            return [audit(subscriber.arrivals, runs), audit(handled, {"alpha": runs["alpha"]})]

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

    for tally in campaign.run(kills=5):
        assert tally.faults == []
        assert tally.acknowledged > 300


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("seed", "is_far"), [(101, False), (102, False), (103, True), (104, True)])
def test_nothing_acknowledged_is_lost_over_a_hundred_kills_in_four_campaigns(tmp_path, seed, is_far):
    campaign = Campaign(tmp_path, seed, is_far=is_far)

    tallies = campaign.run(kills=25)

    print(f"seed={seed} is_far={is_far} kills=25 {dict(campaign.phases)}")
    for tally in tallies:
        print(tally._replace(faults=tally.faults[:5]))
    assert [tally.faults for tally in tallies] == [[], []]
