from __future__ import annotations

import os

import pytest

from microedge.cli.checks.outcome import FAILED, OK, SKIPPED, WARNING, Surroundings
from microedge.cli.checks.serial_ports import find
from microedge.config.model import Config, DeviceConfig, InstanceConfig, PathsConfig


@pytest.fixture
def port():
    ours, theirs = os.openpty()
    yield os.ttyname(theirs)
    os.close(ours)
    os.close(theirs)


def outcome_of(desired):
    module = InstanceConfig("north", "serial_bridge", desired=desired)
    config = Config("f", DeviceConfig("d"), PathsConfig("m", "s"), modules={"north": module})
    (outcome,) = find(Surroundings("f", config))
    return outcome


def test_a_port_that_is_free_is_well(port):
    assert (outcome_of({"port": port}).outcome, outcome_of({"port": port}).found) == (OK, f"north: {port}")


@pytest.mark.parametrize(
    ("desired", "outcome", "words"),
    [
        ({}, FAILED, "north: no port is set"),
        ({"port": "/dev/no-such-port"}, WARNING, "no such port now"),
        ({"port": "ttyUSB0"}, WARNING, "expected a path such as"),
        ({"port": "usb:ffff:ffff"}, WARNING, "no such USB device"),
    ],
)
def test_a_port_that_cannot_be_opened_says_why(desired, outcome, words):
    found = outcome_of(desired)

    assert found.outcome == outcome
    assert words in found.found
    assert "microedge serial list" in found.cure


def test_no_bridge_needs_no_port():
    config = Config("f", DeviceConfig("d"), PathsConfig("m", "s"))

    assert [one.outcome for one in find(Surroundings("f", config))] == [SKIPPED]
