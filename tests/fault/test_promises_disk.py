"""What the card sees: nothing while the uplink is up, never more than the cap, and a full disk is not the end."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.arrivals import Subscriber, audit, read_record
from support.device import Device, configuration, producer
from support.mosquitto import Mosquitto
from support.proxy import DelayProxy

MIB = 1_048_576


def fingerprint(device: Device) -> list[tuple[str, str, int]]:
    """Return name, contents and time of change of every file of the queue."""
    files = sorted(device.state.glob("queue.db*"))
    return [(file.name, hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mtime_ns) for file in files]


def written_bytes(pid: int) -> int:
    """Return the bytes that a process has had written to disks."""
    facts = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(facts["write_bytes"])


def wait_until_quiet(device: Device) -> None:
    """What a start writes (identities of new modules, caches) is written a moment later, by a thread."""
    quiet, last = 0, -1
    while quiet < 5:
        written = written_bytes(device.pid)
        quiet, last = (quiet + 1, written) if written == last else (0, written)
        time.sleep(0.1)


def send_all(device: Device, subscriber: Subscriber, names: tuple[str, ...], total: int) -> None:
    device.wait_until(lambda: device.status()["upstream"]["state"] == "connected")
    device.wait_until(lambda: {one["name"] for one in device.status()["modules"]} >= set(names))
    wait_until_quiet(device)
    before = fingerprint(device), written_bytes(device.pid)

    device.pause(*names, is_paused=False)
    subscriber.wait_until(lambda arrivals: len(arrivals) >= total, 60)
    time.sleep(0.7)  # longer than the linger of the first test: its timer would have struck

    queue = device.status()["queue"]
    assert (queue["messages"], queue["commits"], queue["dropped"]) == (0, 0, {})
    assert (fingerprint(device), written_bytes(device.pid)) == before
    assert len(subscriber.arrivals) == total


@pytest.mark.timeout(60)
def test_ten_thousand_messages_leave_no_trace_on_disk_while_the_broker_is_up(tmp_path):
    with Mosquitto(str(tmp_path)) as broker, Subscriber(broker.port) as subscriber:
        config = configuration(broker.port, producer("alpha", total=10_000, burst=50))
        with Device(tmp_path, config, images=("producer",)) as device:
            device.pause("alpha")
            device.start()

            send_all(device, subscriber, ("alpha",), 10_000)


@pytest.mark.timeout(60)
def test_a_broker_that_takes_half_a_second_to_answer_costs_no_write_either(tmp_path):
    lines = ("allow_anonymous true", "max_inflight_messages 0")  # 0: as many under way as the device likes
    modules = [producer(name, total=1_500, burst=20) for name in ("alpha", "beta")]
    with ExitStack() as stack:
        broker = stack.enter_context(Mosquitto(str(tmp_path), lines=lines))
        subscriber = stack.enter_context(Subscriber(broker.port))
        proxy = stack.enter_context(DelayProxy(broker.port, (0.2, 0.5)))
        config = configuration(proxy.port, *modules, store="linger_ms = 5000")
        device = stack.enter_context(Device(tmp_path, config, images=("producer",)))
        device.pause("alpha", "beta")
        device.start()

        send_all(device, subscriber, ("alpha", "beta"), 3_000)


def used_bytes(device: Device) -> int:
    return sum(file.stat().st_blocks * 512 for file in device.state.rglob("*") if "queue" in str(file))


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("total", "load"),
    [
        (3_000, {"burst": 40, "pad_chars": 1000}),
        (6_000, {"burst": 4, "pad_chars": 300, "durability": "immediate", "interval_s": 0.001}),
    ],
    ids=["large commits", "many small commits"],
)
def test_the_size_cap_holds_at_every_look_and_the_newest_messages_survive(tmp_path, total, load):
    broker = Mosquitto(str(tmp_path))
    modules = producer("alpha", total=total, is_padding_random=True, **load)
    config = configuration(broker.port, modules, store="max_mib = 1\nlinger_ms = 100")
    with Device(tmp_path, config, images=("producer",)) as device:
        device.start()
        looks: list[int] = []

        def are_all_acknowledged() -> bool:
            looks.append(used_bytes(device))
            runs = read_record(device.data("alpha"))
            return bool(runs) and runs[0].acknowledged == total

        device.wait_until(are_all_acknowledged, 40, every_s=0.005)
        evicted = device.status()["queue"]["dropped"]["evicted"]
        assert max(looks) <= MIB, f"{max(looks)} bytes"
        assert max(looks) > MIB // 2
        device.stop()
        device.pause("alpha")  # a new process would send all over again

        with broker, Subscriber(broker.port) as subscriber:
            device.start()
            subscriber.wait_until(lambda arrivals: len(arrivals) >= total - evicted)
            numbers = [json.loads(arrival.body)["n"] for arrival in subscriber.arrivals]
            assert numbers == list(range(evicted + 1, total + 1))
            assert device.status()["queue"]["dropped"] == {"evicted": evicted}
            assert device.stop() == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MiB where the state directory will be."""
    directory = tmp_path / "state"
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=12m,mode=0700", "none", str(directory)]
    if os.getuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a file system; run as root to test a full disk")
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


def fill(directory: Path) -> Path:
    """Take all the space that is left; return the file to remove."""
    file = directory / "filler"
    with open(file, "wb", buffering=0) as stream:
        for size in (65_536, 4_096):
            try:
                while True:
                    stream.write(bytes(size))
            except OSError:
                continue
    return file


@pytest.mark.timeout(60)
def test_a_full_disk_degrades_the_queue_and_loses_nothing(tmp_path, small_disk):
    broker = Mosquitto(str(tmp_path))
    config = configuration(
        broker.port, producer("alpha", pad_chars=1000, is_padding_random=True), store="linger_ms = 100"
    )
    with Device(tmp_path, config, images=("producer",)) as device:
        device.start()
        device.wait_until(lambda: device.status()["queue"]["commits"] > 2)

        filler = fill(small_disk)
        device.wait_until(lambda: device.status()["queue"]["state"] == "degraded", 20)
        reason = device.status()["queue"]["reason"]
        assert device.module("alpha")["state"] == "running"

        filler.unlink()
        device.wait_until(lambda: device.status()["queue"]["state"] == "ok", 40)
        device.pause("alpha")
        with broker, Subscriber(broker.port) as subscriber:
            device.wait_until(lambda: device.status()["queue"]["messages"] == 0, 40)
            subscriber.wait_for_quiet()
            tally = audit(subscriber.arrivals, {"alpha": read_record(device.data("alpha"))})
            assert device.stop() == 0
        assert tally.faults == []
        assert "full" in reason
