"""What does not arrive: counted by module, kept over a restart, told to the broker; and messages that only RAM has."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.mosquitto import Mosquitto, free_port
from support.runtime import Runtime, Source

MQTT = '[upstream]\ntype = "mqtt"\nurl = "mqtt://127.0.0.1:{port}"\n'
ONCE = """
def main(client):
    client.ready()
    for n in range({count}):
        client.send("readings", {{"n": n}})
    client.run()
"""


def microedge(runtime: Runtime, *arguments: str) -> str:
    command = [sys.executable, "-m", "microedge", "--config", str(runtime.config_file), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout


@pytest.mark.skipif(shutil.which("mosquitto") is None, reason="no Mosquitto")
def test_what_grew_too_old_is_counted_by_module_over_a_restart_and_told_to_the_broker(tmp_path: Path):
    modules = {"probe": Source(ONCE.format(count=30)), "valve": Source(ONCE.format(count=7))}
    broker = Mosquitto(str(tmp_path))
    config = "[store]\nttl_s = 1\nlinger_ms = 100\n"
    stopped = "[modules.probe]\nautostart = false\n[modules.valve]\nautostart = false\n"
    with Runtime(tmp_path / "device", modules, config=config, upstream=MQTT.format(port=broker.port)) as runtime:
        expected = {"probe": {"ttl": 30}, "valve": {"ttl": 7}}
        runtime.wait_for(lambda: runtime.status()["queue"]["disk_messages"] == 37, "all of it on disk")
        runtime.write_config(config + stopped)
        runtime.stop()
        runtime.start()
        with broker:
            heard = listen(broker.port, 2)
            runtime.wait_for(lambda: runtime.status()["queue"]["dropped_by_module"] == expected, "the losses", 30)
            records = [json.loads(line) for line in heard.communicate(timeout=30)[0].splitlines()]
            runtime.wait_for(lambda: runtime.status()["queue"]["gaps"] == 0, "an acknowledgement")

        assert {record["module"]: record["count"] for record in records} == {"probe": 30, "valve": 7}
        assert (records[0]["first"]["sequence"], records[0]["reason"]) == (1, "ttl")
        assert runtime.module("probe")["dropped"] == {"ttl": 30}
        assert "30 older than their time to live" in microedge(runtime, "status", "probe")
        assert "DROPPED FROM" in microedge(runtime, "queue", "status")


def listen(port: int, count: int) -> subprocess.Popen[str]:
    command = ["mosquitto_sub", "-p", str(port), "-t", "microedge/bench/+/$gap", "-C", str(count), "-W", "25"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_messages_that_the_configuration_calls_volatile_are_written_only_at_a_stop(tmp_path: Path):
    modules = {"probe": Source(ONCE.format(count=5)), "valve": Source(ONCE.format(count=3))}
    config = '[store]\nlinger_ms = 100\n[modules.probe]\ndurability = "volatile"\n[modules.valve]\n'
    with Runtime(tmp_path, modules, config=config, upstream=MQTT.format(port=free_port())) as runtime:
        waiting = runtime.wait_for(lambda: enough(runtime), "the messages of both")
        assert waiting["commits"] <= 2
        config += "autostart = false\n"
        runtime.write_config(config.replace('"volatile"\n', '"volatile"\nautostart = false\n'))
        assert runtime.stop() == 0
        runtime.start()

        assert runtime.status()["queue"]["disk_messages"] == 8


def enough(runtime: Runtime) -> dict[str, int]:
    queue = runtime.status()["queue"]
    return queue if queue["messages"] == 8 and queue["disk_messages"] >= 3 else {}
