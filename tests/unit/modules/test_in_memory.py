"""Bundled modules as a whole: hours of their life in milliseconds."""

from __future__ import annotations

import os
import pty
import tty
from collections.abc import Iterator
from typing import Any

import pytest

from microedge import ModuleClient
from microedge.sdk.testing import Hub

BAND = {"kind": "deadband", "field": "t", "absolute": 1}
RATE = {"kind": "rate", "interval_s": 10}


def bodies(hub: Hub, output: str) -> list[Any]:
    return [message.json() for message in hub.take_all(output)]


# --- filter ---


def test_the_filter_lets_one_message_through_per_interval() -> None:
    with Hub("filter", desired={"rules": [RATE]}) as hub:
        for number in range(30):
            hub.send("in", {"n": number}, sender="north/readings")
            hub.advance(1)

        passed = hub.take_all("out")
        assert [message.json()["n"] for message in passed] == [0, 10, 20]
        assert passed[0].properties == {"source-module": "north", "source-output": "readings"}


def test_the_filter_counts_what_it_does_every_minute() -> None:
    with Hub("filter", desired={"rules": [BAND], "status_interval_s": 60}) as hub:
        hub.send("in", {"t": 20})
        hub.send("in", {"t": 20.5})
        hub.advance(60)

        status = bodies(hub, "status")[-1]
        assert (status["received"], status["passed"], status["dropped"]) == (2, 1, {"deadband-1": 1})


def test_the_filter_takes_other_rules_while_it_runs_and_keeps_the_old_ones_instead_of_wrong_ones() -> None:
    with Hub("filter", desired={"rules": [RATE]}) as hub:
        hub.set_desired({"rules": [BAND]})
        for value in (20, 25):
            hub.send("in", {"t": value})
        assert bodies(hub, "out") == [{"t": 20}, {"t": 25}]

        hub.set_desired({"rules": []})
        hub.send("in", {"t": 30})
        assert bodies(hub, "out") == [{"t": 30}]
        assert [line.level for line in hub.log if "rules = []" in line] == ["error"]


def test_the_filter_keeps_all_that_a_sender_says_of_a_message() -> None:
    def sender(client: ModuleClient) -> None:
        client.wait(1)
        client.send("cbor", b"\xa0", content_type="application/cbor", properties={"site": "roof"}, ttl_s=60)
        client.send("text", "21 °C", durability="immediate")

    route = 'FROM /messages/modules/north/* INTO BrokeredEndpoint("/modules/calm/inputs/in")'
    with Hub(routes=[route]) as hub:
        hub.add(sender, name="north", outputs=["cbor", "text"])
        calm = hub.add("filter", name="calm", desired={"rules": [RATE]})
        hub.advance(1)

        cbor, text = (message.envelope for message in calm.take_all("out"))
        assert (cbor.content_type, cbor.content_encoding, cbor.ttl_s) == ("application/cbor", "", 60)
        assert cbor.properties == {"site": "roof", "source-module": "north", "source-output": "cbor"}
        assert (text.content_type, text.content_encoding, text.durability) == ("text/plain", "utf-8", "immediate")


# --- simulated_sensor and system_metrics ---


def test_the_simulated_sensor_sends_a_day_of_readings() -> None:
    with Hub("simulated_sensor", desired={"interval_s": 600}) as hub:
        hub.advance(86_400)

        celsius = [reading["celsius"] for reading in bodies(hub, "readings")]
        assert len(celsius) == 145
        assert max(celsius) == pytest.approx(celsius[90], abs=1)  # at 15 o'clock


def test_system_metrics_are_sent_at_their_interval() -> None:
    with Hub("system_metrics", desired={"interval_s": 60}) as hub:
        hub.advance(3_600)

        readings = bodies(hub, "metrics")
        assert len(readings) >= 60
        assert {"cpu_percent", "memory_percent"} <= readings[-1].keys()


# --- serial_bridge ---


@pytest.fixture
def line() -> Iterator[tuple[int, str]]:
    """The device's end of a serial line, and the port's name."""
    device, port = pty.openpty()
    tty.setraw(port)
    yield device, os.ttyname(port)
    os.close(device)
    os.close(port)


def test_the_serial_bridge_reads_and_writes_lines(line: tuple[int, str]) -> None:
    device, port = line
    with Hub("serial_bridge", desired={"port": port, "decode": "json"}) as hub:
        os.write(device, b'{"celsius": 21.5}\n')
        assert hub.take("readings").json() == {"celsius": 21.5}

        hub.send("write", "start")
        assert os.read(device, 100) == b"start\n"


def test_the_serial_bridge_says_that_a_device_is_silent(line: tuple[int, str]) -> None:
    device, port = line
    with Hub("serial_bridge", desired={"port": port, "decode": "json", "stale_s": 300}) as hub:
        os.write(device, b'{"celsius": 21.5}\n')
        hub.take("readings")

        hub.advance(299)
        assert "stale" not in {status["state"] for status in bodies(hub, "status")}
        hub.advance(62)
        assert "stale" in {status["state"] for status in bodies(hub, "status")}


def test_the_serial_bridge_looks_for_a_port_that_is_not_there_and_opens_it_when_it_comes(line: tuple[int, str]) -> None:
    device, port = line
    with Hub("serial_bridge", desired={"port": "/dev/serial/by-id/none", "decode": "json"}) as hub:
        hub.advance(3_600)
        assert len([text for text in hub.log if "none" in text]) < 5  # one line per change, not per attempt

        hub.set_desired({"port": port})
        hub.advance(1)
        os.write(device, b'{"celsius": 21.5}\n')
        assert hub.take("readings").json() == {"celsius": 21.5}
