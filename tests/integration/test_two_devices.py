"""Two devices on one broker, and a person with mosquitto_pub and mosquitto_sub: who gets what, whatever is off."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.mosquitto import Mosquitto
from support.requirements import require_program
from support.runtime import DEADLINE_S, Runtime, Source

from microedge.cli.failure import CommandError
from microedge.errors import NotRunningError

PUMP = """
import os

def main(client):
    def obey(patch, desired):
        client.report({"device": os.environ["MICROEDGE_TEST_DEVICE"], "applied": desired.get("level")})

    def note(payload):
        client.report({"note": payload})
        return client.reported

    client.on_desired(obey)
    client.on_method("note", note)
    client.on_method("echo", lambda payload: payload)
    client.ready()
    client.run()
"""
pytestmark = pytest.mark.timeout(60)  # two devices start, and a broker that was away is found after seconds

DEVICES = ("greenhouse-1", "greenhouse-2")


class Watcher:
    """mosquitto_sub on everything; `latest` is what a topic has said last."""

    def __init__(self, broker: Mosquitto, directory: Path) -> None:
        self._file = directory / f"watched-{time.monotonic_ns()}"
        command = [require_program("mosquitto_sub"), "-p", str(broker.port), "-q", "1", "-t", "#", "-F", "%t %p"]
        with open(self._file, "wb") as out:
            self._process = subprocess.Popen(command, stdout=out)

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(5)

    def everything(self, topic: str) -> list[Any]:
        lines = self._file.read_text().splitlines(keepends=True)
        found = [line.partition(" ")[2] for line in lines if line.startswith(f"{topic} ") and line.endswith("\n")]
        return [json.loads(text) for text in found if text.strip()]

    def latest(self, topic: str) -> Any:
        return (self.everything(topic) or [{}])[-1]


class Site:
    def __init__(self, directory: Path, broker: Mosquitto) -> None:
        self.directory, self.broker = directory, broker
        self.devices = [self._device(name) for name in DEVICES]

    def _device(self, name: str) -> Runtime:
        upstream = f'[upstream]\ntype = "mqtt"\nurl = "mqtt://127.0.0.1:{self.broker.port}"\n'
        config = f'[modules.pump]\nenv = {{ MICROEDGE_TEST_DEVICE = "{name}" }}\n'
        runtime = Runtime(self.directory / name, {"pump": Source(PUMP)}, upstream=upstream, config=config)
        runtime.config_file.write_text(runtime.config_file.read_text().replace('"bench"', f'"{name}"'))
        return runtime

    def start(self, *devices: Runtime) -> None:
        for device in devices:
            device.launch()
        for device in devices:
            device.wait_for(lambda device=device: answers(device), "an answer on the control socket")
        self.wait_until_connected(*devices)

    def wait_until_connected(self, *devices: Runtime) -> None:
        for device in devices:
            device.wait_running("pump")
            device.wait_for(lambda device=device: device.status()["upstream"]["state"] == "connected", "connection", 30)

    def watch(self) -> Watcher:
        return Watcher(self.broker, self.directory)

    def publish(self, topic: str, document: str, *flags: str) -> None:
        command = [require_program("mosquitto_pub"), "-p", str(self.broker.port), "-q", "1", "-t", topic, *flags, "-s"]
        subprocess.run(command, input=document.encode(), check=True)

    def want(self, device: Runtime, document: dict[str, Any]) -> None:
        """Publish what is desired of the pump, retained."""
        self.publish(f"microedge/{device.directory.name}/pump/twin/desired", json.dumps(document), "-r")

    def call(self, device: Runtime, method: str, payload: str, answer_to: str) -> None:
        answer = ("-V", "5", "-D", "PUBLISH", "response-topic", answer_to)
        self.publish(f"microedge/{device.directory.name}/pump/methods/{method}", payload, *answer)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Mosquitto(str(tmp_path)) as broker:
        one = Site(tmp_path, broker)
        try:
            one.start(*one.devices)
            yield one
        finally:
            for device in one.devices:
                device.kill_everything()


def answers(device: Runtime) -> bool:
    try:
        return bool(device.status())
    except (NotRunningError, CommandError):
        return False


def wait_for(holds: Any, what: str, timeout_s: float = DEADLINE_S) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline_s, f"no {what} within {timeout_s} s"
        time.sleep(0.05)


def reported(device: Runtime) -> str:
    return f"microedge/{device.directory.name}/pump/twin/reported"


def twin(device: Runtime) -> dict[str, Any]:
    found: dict[str, Any] = device.request("twin", module="pump")["twin"]
    return found


def test_each_device_is_itself_and_takes_its_own_documents_only(site: Site):
    one, two = site.devices
    before = twin(two)["properties"]["desired"]
    with site.watch() as watcher:
        site.want(one, {"level": 3})
        wait_for(lambda: watcher.latest(reported(one)).get("applied") == 3, "report of the first device")

        assert watcher.latest(reported(one))["device"] == "greenhouse-1"
        assert watcher.latest(reported(two)) in ({}, {**watcher.latest(reported(two)), "device": "greenhouse-2"})
    assert twin(two)["properties"]["desired"] == before
    assert [twin(device)["deviceId"] for device in site.devices] == list(DEVICES)
    identities = [device.request("identity", reveal=True) for device in site.devices]
    keys = [json.dumps(found) for found in identities]
    assert keys[0] != keys[1]


def test_what_was_desired_while_a_device_was_off_reaches_it_and_nobody_else(site: Site):
    one, two = site.devices
    assert one.stop() == 0
    site.want(one, {"level": 10})
    site.want(two, {"level": 20})
    site.want(one, {"level": 11})
    site.start(one)
    with site.watch() as watcher:
        wait_for(lambda: watcher.latest(reported(one)).get("applied") == 11, "the last document at the first")
        wait_for(lambda: watcher.latest(reported(two)).get("applied") == 20, "the document at the second")

        assert 20 not in [document.get("applied") for document in watcher.everything(reported(one))]
        status = watcher.latest(reported(one))["$metadata"]["lastDesiredStatus"]
    assert status == {"code": 200, "description": ""}
    assert twin(one)["properties"]["desired"]["level"] == 11


def test_both_killed_and_changed_meanwhile_each_comes_back_to_its_own(site: Site):
    one, two = site.devices
    for device in site.devices:
        device.kill_everything()
    site.want(one, {"level": 31})
    site.want(two, {"level": 32})
    site.start(one, two)
    with site.watch() as watcher:
        wait_for(lambda: watcher.latest(reported(one)).get("applied") == 31, "the document at the first")
        wait_for(lambda: watcher.latest(reported(two)).get("applied") == 32, "the document at the second")


def test_what_is_reported_while_the_broker_is_off_arrives_from_each(site: Site):
    site.broker.stop()
    for number, device in enumerate(site.devices):
        answer = device.request("call", module="pump", method="note", payload=f"dark {number}", timeout_s=30)
        assert answer["status"] == 200
    site.broker.start()
    with site.watch() as watcher:
        for number, device in enumerate(site.devices):
            topic, note = reported(device), f"dark {number}"
            wait_for(lambda topic=topic, note=note: watcher.latest(topic).get("note") == note, "report", 40)
            assert watcher.latest(reported(device))["device"] == DEVICES[number]
    site.wait_until_connected(*site.devices)


def test_a_call_is_answered_by_the_device_that_was_called(site: Site):
    with site.watch() as watcher:
        for number, device in enumerate(site.devices):
            site.call(device, "note", json.dumps(number), f"desk/{number}")
        for number in range(2):
            wait_for(lambda topic=f"desk/{number}": watcher.latest(topic), "answer")

        answers = [watcher.everything(f"desk/{number}") for number in range(2)]
    assert [len(some) for some in answers] == [1, 1]
    assert [some[0]["status"] for some in answers] == [200, 200]
    assert [some[0]["payload"]["note"] for some in answers] == [0, 1]
    assert [some[0]["payload"]["device"] for some in answers] == list(DEVICES)


def test_a_call_to_a_stopped_module_is_404_while_the_other_device_answers(site: Site):
    one = site.devices[0]
    one.request("stop", module="pump")
    with site.watch() as watcher:
        for number, device in enumerate(site.devices):
            site.call(device, "echo", '"hello"', f"bell/{number}")
        for number in range(2):
            wait_for(lambda topic=f"bell/{number}": watcher.latest(topic), "answer")

        stopped, running = (watcher.latest(f"bell/{number}") for number in range(2))
    assert (stopped["status"], running) == (404, {"status": 200, "payload": "hello"})
    assert "pump is not connected" in stopped["payload"]["message"]
    one.request("start", module="pump")
    one.wait_running("pump")


def test_a_document_over_the_limit_is_refused_above_and_here_and_changes_nothing(site: Site):
    one, two = site.devices
    site.want(one, {"level": 50})
    one.wait_for(lambda: twin(one)["properties"]["desired"].get("level") == 50, "document")
    with site.watch() as watcher:
        site.want(one, {"level": 51, **{f"k{number}": "x" * 4_000 for number in range(9)}})
        wait_for(lambda: refusal(watcher.latest(reported(one)))["code"] == 400, "refusal")

        said = refusal(watcher.latest(reported(one)))["description"]
        assert "32768 bytes" in said
        assert said in one.module("pump")["twin"]["problem"]
        assert twin(one)["properties"]["desired"]["level"] == 50
        assert one.request("twin_history", module="pump")["refusals"][-1]["origin"] == "upstream"
        assert two.module("pump")["twin"]["problem"] == ""

        site.want(one, {"level": 52})
        wait_for(lambda: watcher.latest(reported(one)).get("applied") == 52, "the corrected document")
        wait_for(lambda: refusal(watcher.latest(reported(one)))["code"] == 200, "acceptance")
    assert one.module("pump")["twin"]["problem"] == ""


def refusal(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document.get("$metadata", {}).get("lastDesiredStatus", {"code": 0})
    return found


def test_a_twin_file_cut_in_half_by_a_crash_costs_nothing_that_stands_above(site: Site):
    one, two = site.devices
    site.want(one, {"level": 60})
    one.wait_for(lambda: twin(one)["properties"]["desired"].get("level") == 60, "document")
    one.request("twin_set", module="pump", part="tags", patch={"hall": 3})  # the answer says that it is on the card
    version = twin(one)["properties"]["reported"]["$version"]
    one.kill_everything()
    file = one.state_dir / "twins" / "pump.json"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    site.start(one)
    one.wait_for(lambda: twin(one)["properties"]["desired"].get("level") == 60, "document from above")
    with site.watch() as watcher:
        wait_for(lambda: watcher.latest(reported(one)).get("$version", 0) > version, "a report with a later version")
        wait_for(lambda: watcher.latest(reported(one)).get("applied") == 60, "a report of the document")
        assert watcher.latest(reported(one))["device"] == "greenhouse-1"

    problem = one.module("pump")["twin"]["problem"]
    assert "the previous copy is used" in problem
    assert (one.state_dir / "twins" / "pump.json.damaged-1").exists()
    assert two.module("pump")["twin"]["problem"] == ""
