"""The bridge as a real process between a simulated sensor and a hub: nothing wrong ever comes through."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.serial_line import ROOT, Feeder, RunningModule, sersim


def assert_all_right(readings: list[dict[str, Any]]) -> None:
    """Each reading is exactly what the sensor sent under that number, and none comes twice."""
    wrong = [found for found in readings if found != sersim.reading(found["n"])]
    assert wrong == []
    numbers = [found["n"] for found in readings]
    assert numbers == sorted(set(numbers))


def bridge(link: str, **desired: Any) -> RunningModule:
    return RunningModule("serial_bridge", {"port": link, "reopen_max_s": 0.25, **desired})


def test_unplugging_loses_the_reading_in_flight_and_never_gives_a_wrong_one(tmp_path: Path) -> None:
    link = str(tmp_path / "tty")
    with sersim.SensorPty(link) as pty, bridge(link) as module, Feeder(pty) as feeder:
        module.wait_for_readings(20)
        for cycle in range(3):
            seen = len(module.readings)
            cut_line = sersim.encode(sersim.reading(feeder.sent + 1))
            feeder.cut(cut_line[: 10 + 20 * cycle])
            module.wait_until(lambda count=cycle + 1: sum("; waiting for it" in line for line in module.log) == count)
            feeder.plug()
            module.wait_for_readings(seen + 20)
    module.stop()

    assert_all_right(module.readings)
    assert module.last_status["reopened"] == 3
    assert [line for line in module.log if "is open" in line or "is back" in line or ": lost" in line] == module.log
    assert sum("is back" in line for line in module.log) == 3


def test_at_most_the_reading_in_flight_is_missing_after_an_unplug(tmp_path: Path) -> None:
    link = str(tmp_path / "tty")
    with sersim.SensorPty(link) as pty, bridge(link) as module, Feeder(pty, interval_s=0.1) as feeder:
        module.wait_for_readings(5)
        feeder.cut(b'{"n":')
        module.wait_for_log("lost")
        feeder.plug()
        module.wait_for_log("back")
        module.wait_for_readings(10)
    module.stop()

    numbers = [found["n"] for found in module.readings]
    missing = set(range(numbers[0], numbers[-1] + 1)) - set(numbers)
    assert_all_right(module.readings)
    assert len(missing) <= 1  # the one in flight


def test_on_a_noisy_line_with_a_checksum_no_wrong_reading_comes_through(tmp_path: Path) -> None:
    link = str(tmp_path / "tty")
    noise = sersim.Noise(0.002, seed=3)
    with (
        sersim.SensorPty(link) as pty,
        bridge(link, check="crc32") as module,
        Feeder(pty, interval_s=0.0005, format="crc32", noise=noise) as feeder,
    ):
        module.wait_until(lambda: feeder.sent >= 3_000, 15)
    module.stop()

    assert_all_right(module.readings)
    assert 200 < len(module.readings) < feeder.sent
    assert module.last_status["bad_check"] > 200
    assert sum("refused" in line for line in module.log) <= 2


def test_garbage_of_every_kind_stops_nothing(tmp_path: Path) -> None:
    link = str(tmp_path / "tty")
    with sersim.SensorPty(link) as pty, bridge(link, max_line_bytes=256) as module:
        module.wait_for_log("open")
        time.sleep(0.1)
        for piece in (bytes(range(256)) * 8, b"\xff" * 3_000 + b"\n", b'{"a": NaN}\n', b"[" * 200 + b"\n", b"\0\n"):
            pty.write(piece)
        pty.write(sersim.encode(sersim.reading(1)) + b"\r\n")
        module.wait_for_readings(1)
    assert module.stop() == 0

    assert module.readings == [sersim.reading(1)]
    assert module.last_status["too_long"] >= 1
    assert all(line.isprintable() for line in module.log)


def test_a_port_in_use_is_reported_with_its_holder(tmp_path: Path) -> None:
    link = str(tmp_path / "tty")
    with sersim.SensorPty(link) as pty:
        with open(link, "rb", buffering=0) as terminal:
            holder = subprocess.Popen(["sleep", "30"], stdin=terminal)
        try:
            with bridge(link) as module:
                module.wait_for_log(f"in use by sleep (pid {holder.pid})")
        finally:
            holder.kill()
            holder.wait()
    assert pty.is_plugged is False
    assert module.last_status["state"] == "busy"
    assert len(module.log) == 1


def test_a_port_that_appears_later_is_opened_then(tmp_path: Path) -> None:
    link = str(tmp_path / "tty")
    with bridge(link) as module:
        module.wait_for_log("no such port now")
        with sersim.SensorPty(link) as pty, Feeder(pty):
            module.wait_for_readings(3)
    assert_all_right(module.readings)


def test_a_message_to_the_input_is_written_to_the_device(tmp_path: Path) -> None:
    link = str(tmp_path / "tty")
    received = b""
    with (
        sersim.SensorPty(link) as pty,
        RunningModule(
            "serial_bridge",
            {"port": link, "write_eol": "crlf"},
            "--input",
            "write",
            '"LED 1"',
            "--input",
            "write",
            '{"a":1}',
        ) as module,
    ):
        deadline_s = time.monotonic() + 10
        while received.count(b"\n") < 2 and time.monotonic() < deadline_s:
            received += pty.read()
            time.sleep(0.01)
    module.stop()

    assert received == b'LED 1\r\n{"a":1}\r\n'


@pytest.mark.parametrize(
    ("image", "desired", "message"),
    [
        ("serial_bridge", {"port": "/dev/x", "baudrate": 1}, "baudrate: unknown key; did you mean baud?"),
        ("serial_bridge", {"port": "/dev/x", "decode": "regex", "pattern": "("}, "not a regular expression"),
        ("simulated_sensor", {"interval_s": "5"}, "interval_s = '5'"),
        ("system_metrics", {"disk": 1}, "disk = 1"),
    ],
)
def test_settings_that_a_person_must_edit_end_the_module_with_78(
    image: str, desired: dict[str, Any], message: str
) -> None:
    module = RunningModule(image, desired)
    module.process.wait(10)

    assert module.stop() == 78
    assert len(module.log) == 1
    assert message in module.log[0]


def test_a_silent_sensor_is_reported_once_as_stale_and_once_as_well_again(tmp_path: Path) -> None:
    link = str(tmp_path / "tty")
    with sersim.SensorPty(link) as pty, bridge(link, stale_s=0.5) as module:
        module.wait_for_log("no reading for stale_s=0.5; check the device's power")
        with Feeder(pty):
            module.wait_for_log("readings again")
    assert sum("no reading" in line for line in module.log) == 1


@pytest.mark.parametrize("image", ["simulated_sensor", "system_metrics"])
def test_the_other_modules_send_and_stop_when_asked(image: str) -> None:
    with RunningModule(image, {"interval_s": 0.1}) as module:
        module.wait_until(lambda: len(module.messages) >= 2)
    assert module.stop() == 0
    assert module.log == []


def test_the_simulator_runs_as_a_program_and_obeys_its_signals(tmp_path: Path) -> None:
    link = tmp_path / "tty"
    command = [sys.executable, str(ROOT / "firmware-tools/sersim.py"), "--link", str(link), "--rate", "200"]
    simulator = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert simulator.stdout is not None
    try:
        assert simulator.stdout.readline().strip() == str(link)
        with bridge(str(link)) as module:
            module.wait_for_readings(10)
            simulator.send_signal(signal.SIGUSR1)
            module.wait_for_log("lost")
            assert not link.exists()
            simulator.send_signal(signal.SIGUSR2)
            module.wait_for_log("back")
            module.wait_for_readings(len(module.readings) + 10)
    finally:
        simulator.terminate()
        code = simulator.wait(5)
        simulator.stdout.close()

    assert code == 0
    assert not link.is_symlink()
    assert_all_right(module.readings)
