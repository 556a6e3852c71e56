"""SerialPort against real pseudo terminals."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.serial_line import sersim

from microedge.serial.errors import PortError, PortLost
from microedge.serial.hotplug import PortEvents
from microedge.serial.port import LineSettings, SerialPort, lost_bytes


@pytest.fixture
def pty() -> Iterator[Any]:
    with sersim.SensorPty() as device:
        yield device


@pytest.fixture
def port(pty: Any) -> Iterator[SerialPort]:
    opened = SerialPort(pty.path, LineSettings(115_200))
    opened.open()
    yield opened
    opened.close()


def wait_until_readable(port: SerialPort) -> None:
    assert select.select([port.fileno()], [], [], 5)[0]


def test_bytes_pass_unchanged_in_both_directions(pty: Any, port: SerialPort) -> None:
    everything = bytes(range(256))

    pty.write(everything)
    port.write(everything)
    wait_until_readable(port)

    assert port.read() == everything
    assert pty.read() == everything


def test_nothing_to_read_is_no_loss(port: SerialPort) -> None:
    assert port.read() == b""


def test_an_unplugged_device_is_lost_on_reading_and_on_writing(pty: Any, port: SerialPort) -> None:
    pty.unplug()
    wait_until_readable(port)

    with pytest.raises(PortLost, match="lost: "):
        port.read()
    with pytest.raises(PortLost, match="lost: "):
        port.write(b"x")
    assert port.discard_if_overrun() == 0


def test_what_came_before_opening_is_thrown_away(pty: Any) -> None:
    os.write(pty._master, b"old\n")
    port = SerialPort(pty.path, LineSettings())

    port.open()

    assert port.read() == b""
    port.close()


def test_a_second_opener_is_told_who_has_the_port(pty: Any, port: SerialPort) -> None:
    script = (
        "import sys; from microedge.serial.port import *\n"
        "try: SerialPort(sys.argv[1], LineSettings()).open()\n"
        "except PortError as error: print(error.kind, error)"
    )

    said = subprocess.run([sys.executable, "-c", script, pty.path], capture_output=True, text=True, check=True).stdout

    name = Path(f"/proc/{os.getpid()}/comm").read_text().strip()
    assert said.startswith(f"busy {pty.path}: in use by {name} (pid {os.getpid()})")


def test_a_port_that_somebody_reads_without_a_lock_is_busy_too(pty: Any) -> None:
    with open(pty.path, "rb", buffering=0) as terminal:
        reader = subprocess.Popen(["sleep", "30"], stdin=terminal)
    try:
        with pytest.raises(PortError, match=rf"in use by sleep \(pid {reader.pid}\)") as error:
            SerialPort(pty.path, LineSettings()).open()
    finally:
        reader.kill()
        reader.wait()
    assert error.value.kind == "busy"


def test_a_closed_port_can_be_opened_by_the_next(pty: Any, port: SerialPort) -> None:
    port.close()
    port.close()

    port.open()

    pty.write(b"x")
    wait_until_readable(port)
    assert port.read() == b"x"


@pytest.mark.parametrize(
    ("path", "kind"), [("/dev/no-such-port", "missing"), ("/dev/null", "invalid"), ("/", "invalid")]
)
def test_what_is_no_port_is_told_apart(path: str, kind: str) -> None:
    with pytest.raises(PortError) as error:
        SerialPort(path, LineSettings()).open()

    assert error.value.kind == kind


def test_a_device_that_takes_no_bytes_stalls_the_writer_no_longer_than_allowed(port: SerialPort) -> None:
    started_s = time.monotonic()

    with pytest.raises(PortError, match="takes no bytes") as error:
        port.write(b"x" * 1_000_000, timeout_s=0.2)

    assert error.value.kind == "stalled"
    assert 0.2 <= time.monotonic() - started_s < 2


@pytest.mark.parametrize(
    "line", [LineSettings(74_880), LineSettings(1200, bytesize=7, parity="even"), LineSettings(9600, stopbits=2)]
)
def test_unusual_line_settings_are_accepted(pty: Any, line: LineSettings) -> None:
    port = SerialPort(pty.path, line)
    port.open()
    port.close()


def test_lost_bytes_are_read_from_the_counters_of_the_driver() -> None:
    counters = [0] * 20
    counters[7], counters[10] = 3, 4  # overrun, buf_overrun

    assert lost_bytes(b"".join(count.to_bytes(4, "little") for count in counters)) == 7


def test_listening_for_plugs_never_blocks_and_can_be_repeated() -> None:
    events = PortEvents()
    for _ in range(2):
        if events.open():
            assert events.fileno() >= 0
        assert events.take() in (True, False)
        events.close()
    assert events.take() is False
