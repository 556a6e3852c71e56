"""From a serial line to the broker, and from module to module, through the whole runtime."""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.arrivals import Subscriber
from support.device import Device, configuration, producer
from support.mosquitto import Mosquitto
from support.serial_line import Feeder, sersim

BRIDGE = '[modules.north]\nimage = "serial_bridge"\ndesired = {{ port = "{port}", decode = "json" }}'


def _broker(stack: ExitStack, directory: Path) -> tuple[Mosquitto, Subscriber]:
    broker = stack.enter_context(Mosquitto(str(directory)))
    return broker, stack.enter_context(Subscriber(broker.port))


def numbers_of(subscriber: Subscriber) -> list[int]:
    """Return the number of each reading, after a look at every one: it is exactly what the sensor said."""
    bodies = [json.loads(arrival.body) for arrival in subscriber.arrivals]
    values = [body.get("values", body) for body in bodies]
    for value in values:
        assert value == sersim.reading(value["n"])
    return [value["n"] for value in values]


@pytest.mark.parametrize("protocol", [5, 311])
def test_readings_of_a_serial_sensor_arrive_at_the_broker_whole_and_in_order(tmp_path, protocol):
    with ExitStack() as stack:
        broker, subscriber = _broker(stack, tmp_path)
        pty = stack.enter_context(sersim.SensorPty(str(tmp_path / "ttySENSOR")))
        stack.enter_context(Feeder(pty, interval_s=0.01))
        config = configuration(broker.port, BRIDGE.format(port=pty.path))
        device = Device(tmp_path, config.replace("[store]", f"protocol = {protocol}\n[store]"))
        stack.enter_context(device).start()
        subscriber.wait_until(lambda arrivals: len(arrivals) >= 200)

        numbers = numbers_of(subscriber)
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert device.stop() == 0
    ids = [arrival.message_id for arrival in subscriber.arrivals]
    assert len(set(ids)) == (len(ids) if protocol == 5 else 1)


@pytest.mark.timeout(30)
def test_unplugging_during_a_reading_loses_that_one_only_and_never_gives_a_wrong_one(tmp_path):
    cut: set[int] = set()
    with ExitStack() as stack:
        broker, subscriber = _broker(stack, tmp_path)
        pty = stack.enter_context(sersim.SensorPty(str(tmp_path / "ttySENSOR")))
        feeder = stack.enter_context(Feeder(pty, interval_s=0.05))
        device = stack.enter_context(Device(tmp_path, configuration(broker.port, BRIDGE.format(port=pty.path))))
        device.start()
        subscriber.wait_until(lambda arrivals: len(arrivals) >= 3)
        for cycle in range(3):
            count = len(subscriber.arrivals)
            number = feeder.sent + 1
            feeder.cut(sersim.encode(sersim.reading(number))[: 10 + 20 * cycle])
            feeder.sent = number  # the sensor goes on behind it
            cut.add(number)
            _plug(device, feeder, cycle + 1)
            subscriber.wait_until(lambda arrivals, count=count: len(arrivals) >= count + 3)

        numbers = numbers_of(subscriber)
        assert device.module("north")["restarts"] == 0
        assert device.stop() == 0
    assert set(range(numbers[0], numbers[-1] + 1)) - set(numbers) == cut
    assert numbers == sorted(set(numbers))


def _plug(device: Device, feeder: Feeder, times: int) -> None:
    """Plug the sensor in; it boots for a moment after the port was opened, as an Arduino does."""
    with feeder._lock:
        feeder.pty.plug()
        device.wait_until(lambda: sum("is back" in line for line in device.module_log("north")) == times)
        time.sleep(0.1)


def test_a_busy_serial_port_is_one_message_that_names_who_has_it(tmp_path):
    with sersim.SensorPty(str(tmp_path / "ttySENSOR")) as pty:
        holder = os.open(pty.path, os.O_RDWR | os.O_NOCTTY)
        try:
            fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            config = configuration(1, BRIDGE.format(port=pty.path))
            with Device(tmp_path, config) as device:
                device.start()
                device.wait_until(lambda: any("in use" in line for line in device.module_log("north")))
                time.sleep(6)  # it is tried again every 5 s
                lines = device.module_log("north")
                assert len(lines) == 1, lines
                assert f"(pid {os.getpid()}); stop it, or give it another port" in lines[0]
                os.close(holder)
                holder = -1
                device.wait_until(lambda: any("is open" in line for line in device.module_log("north")))
                assert device.stop() == 0
        finally:
            if holder >= 0:
                os.close(holder)


ROUTE = '[routes]\nwork = "FROM /messages/modules/alpha/* INTO BrokeredEndpoint(\\"/modules/consumer/inputs/work\\")"'


@pytest.mark.timeout(60)
def test_a_consumer_that_crashes_every_fifty_messages_handles_each_one_in_order(tmp_path):
    total = 250
    consumer = '[modules.consumer]\nimage = "consumer"\ndesired = { crash_every = 50 }'
    modules = (producer("alpha", total=total, burst=50), consumer)
    config = configuration(1, *modules, ROUTE).replace('type = "mqtt"\nurl = "mqtt://127.0.0.1:1"', 'type = "none"')
    with Device(tmp_path, config, images=("producer", "consumer")) as device:
        device.start()
        handled = device.data("consumer") / "handled"
        device.wait_until(lambda: _help_up(device) or (handled.exists() and len(set(_numbers(handled))) >= total), 40)

        numbers = _numbers(handled)
        assert list(dict.fromkeys(numbers)) == list(range(1, total + 1))
        assert len(numbers) - total <= 5 * 32  # redelivered: at most what was sent ahead at each crash
        device.wait_until(lambda: device.status()["queue"]["messages"] == 0)
        assert device.status()["queue"]["dropped"] == {}
        assert device.stop() == 0


def _help_up(device: Device) -> None:
    """Do not wait for the back-off of a module that crashes again and again."""
    if device.module("consumer")["state"] == "backoff":
        device.ask("restart", module="consumer")


def _numbers(file: Path) -> list[int]:
    return [int(line.split()[2]) for line in file.read_text().splitlines()]
