"""How messages leave without being delivered, each counted by reason, and that a clean stop is none of these ways."""

from __future__ import annotations

import json
import time

import pytest
from support.arrivals import Subscriber, audit, read_record
from support.device import Device, configuration, producer
from support.fake_broker import CLOSE, FakeBroker
from support.mosquitto import Mosquitto, free_port

SHORT_LIVED = '[routes]\nshort = { route = "FROM /messages/* INTO $upstream", ttl_s = 1 }'


def queue_of(device: Device) -> dict:  # type: ignore[type-arg]
    queue: dict[str, object] = device.status()["queue"]
    return queue


@pytest.mark.timeout(40)
def test_what_outlives_its_time_to_live_is_counted_and_not_delivered_and_the_count_survives_restarts(tmp_path):
    broker = Mosquitto(str(tmp_path))
    modules = [producer(name, total=30, burst=30) for name in ("early", "late")]
    config = configuration(broker.port, *modules, SHORT_LIVED, store="linger_ms = 100")
    with Device(tmp_path, config, images=("producer",)) as device:
        device.pause("late")
        device.start()
        device.wait_until(lambda: queue_of(device)["disk_messages"] == 30)
        time.sleep(1.1)
        device.kill()
        device.pause("early", "late")

        with broker, Subscriber(broker.port) as subscriber:
            device.start()
            device.wait_until(lambda: queue_of(device)["dropped"] == {"ttl": 30})
            device.pause("late", is_paused=False)
            subscriber.wait_until(lambda arrivals: len(arrivals) >= 30)
            device.pause("late")
            assert device.stop() == 0
            device.start()
            subscriber.wait_for_quiet()

            assert {arrival.topic.split("/")[2] for arrival in subscriber.arrivals} == {"late"}
            assert queue_of(device)["dropped"] == {"ttl": 30}
            assert queue_of(device)["messages"] == 0
            assert device.stop() == 0


@pytest.mark.timeout(60)
def test_a_message_that_the_broker_chokes_on_is_set_aside_and_the_others_go_on(tmp_path):
    with FakeBroker(judge=lambda packet: CLOSE if b"POISON" in packet else 0) as broker:
        modules = [producer("alpha", total=1, burst=1, marked=[1]), producer("beta", total=40, burst=40)]
        with Device(tmp_path, configuration(broker.port, *modules), images=("producer",)) as device:
            device.pause("beta")
            device.start()
            device.wait_until(lambda: broker.bodies)
            device.pause("beta", is_paused=False)
            device.wait_until(lambda: queue_of(device)["dropped"] == {"poison": 1}, 20)
            device.wait_until(lambda: device.status()["upstream"]["delivered"] == 40, 4)  # tried again soon

            assert queue_of(device)["messages"] == 0
            assert device.log.count("upstream refuses a message: reason=poison") == 1
            assert device.stop() == 0
            device.pause("alpha", "beta")
            device.start()
            assert (queue_of(device)["dead"], queue_of(device)["dropped"]) == (1, {"poison": 1})
            assert device.stop() == 0
    numbers = [json.loads(body[body.index(b"{") :])["n"] for body in broker.bodies if b"POISON" not in body]
    assert numbers == list(range(1, 41))


def test_a_clean_stop_under_load_loses_nothing_that_was_acknowledged_not_even_volatile_messages(tmp_path):
    with Mosquitto(str(tmp_path)) as broker, Subscriber(broker.port) as subscriber:
        _stop_under_load(tmp_path, broker, subscriber, is_broker_up=True)


def test_a_clean_stop_without_a_broker_loses_nothing_that_was_acknowledged_either(tmp_path):
    broker = Mosquitto(str(tmp_path))
    _stop_under_load(tmp_path, broker, None, is_broker_up=False)


def _stop_under_load(tmp_path, broker, subscriber, *, is_broker_up):  # type: ignore[no-untyped-def]
    names = ("alpha", "beta", "volatile")
    modules = [producer(name, burst=10, durability="volatile" if name == "volatile" else "batched") for name in names]
    with Device(
        tmp_path, configuration(broker.port, *modules, store="linger_ms = 5000"), images=("producer",)
    ) as device:
        device.start()
        device.wait_until(lambda: all(_sent(device, name) > 300 for name in names))
        began_s = time.monotonic()
        assert device.stop() == 0
        took_s = time.monotonic() - began_s
        records = {name: read_record(device.data(name)) for name in names}

        device.pause(*names)
        if is_broker_up:
            _drain_and_audit(device, subscriber, records)
        else:
            with broker, Subscriber(broker.port) as late_subscriber:
                _drain_and_audit(device, late_subscriber, records)
        assert took_s < 5  # the modules' stop_timeout_s is 10
        assert all(runs[0].acknowledged > 100 for runs in records.values())


def _sent(device: Device, name: str) -> int:
    return sum(run.sent for run in read_record(device.data(name)))


def _drain_and_audit(device, subscriber, records):  # type: ignore[no-untyped-def]
    device.start()
    device.wait_until(lambda: device.status()["upstream"]["state"] == "connected")
    device.wait_until(lambda: queue_of(device)["messages"] == 0)
    subscriber.wait_for_quiet()
    assert device.stop() == 0
    assert audit(subscriber.arrivals, records).faults == []


def test_a_wrong_broker_address_is_one_message_that_says_what_to_do(tmp_path):
    port = free_port()
    with Device(tmp_path, configuration(port)) as device:
        device.start()
        device.wait_until(lambda: device.status()["upstream"]["state"] == "waiting")
        time.sleep(5)  # several attempts

        lines = [line for line in device.log.splitlines() if "upstream" in line]
        assert len(lines) == 1, lines
        assert f"nothing listens at 127.0.0.1:{port}; check the port, and whether the broker runs" in lines[0]
        assert f"nothing listens at 127.0.0.1:{port}" in device.status()["upstream"]["reason"]
        assert device.stop() == 0
