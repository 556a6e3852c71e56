"""sd_notify without libsystemd."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from microedge.supervisor.notify import Notifier


@pytest.mark.parametrize("is_abstract", [False, True])
def test_a_service_manager_gets_one_datagram_per_call(tmp_path: Path, is_abstract: bool):
    name = f"microedge-test-{os.getpid()}-{os.urandom(4).hex()}"
    address = f"@{name}" if is_abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name if is_abstract else address)
        manager.settimeout(5)
        Notifier(address).send("READY=1", "STATUS=fine")

        assert manager.recv(1_024) == b"READY=1\nSTATUS=fine"


@pytest.mark.parametrize("address", ["", "/nowhere/notify", "@nobody-listens-here"])
def test_a_manager_that_is_not_there_is_no_error(address: str):
    Notifier(address).send("READY=1")


@pytest.mark.parametrize(
    ("watchdog_us", "watchdog_pid", "expected"),
    [
        ("30000000", "", 30.0),
        ("30000000", str(os.getpid()), 30.0),
        ("30000000", "1", 0.0),
        ("", "", 0.0),
        ("often", "", 0.0),
    ],
)
def test_the_watchdog_interval_counts_only_for_the_process_it_is_meant_for(
    watchdog_us: str, watchdog_pid: str, expected: float
):
    assert Notifier("", watchdog_us, watchdog_pid).watchdog_s == expected
