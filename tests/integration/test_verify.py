"""`microedge verify` against a real broker and a real runtime: it finds exactly what was taken away."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from support.device import Device, configuration, producer
from support.mosquitto import PASSWORD, USER, Mosquitto
from support.proxy import DelayProxy
from support.requirements import require_program
from support.runtime import Runtime, Source

ALL = "microedge/+/+/+"
LOGGING = ("allow_anonymous true", "log_type all")

MIXED = """
def main(client):
    client.ready()
    client.on_input("raw", lambda message: None)
    for n in range(300):
        client.send("raw" if n % 3 == 1 else "readings", {"n": n})
        client.wait(0.001)
    while client.wait(1):
        pass
"""
ROUTES = """
[routes]
up = 'FROM /messages/modules/mixed/outputs/readings INTO $upstream'
raw = 'FROM /messages/modules/mixed/outputs/raw INTO BrokeredEndpoint("/modules/mixed/inputs/raw")'
"""


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "microedge", *words]


def verify(*words: str) -> tuple[int, Any]:
    """Return the exit code and the document of `microedge verify`."""
    done = subprocess.run(command("verify", "--json", *words), capture_output=True, text=True, timeout=15, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


class Listener:
    """`microedge verify` on a broker that logs everything; `end` is Ctrl-C."""

    def __init__(self, broker: Mosquitto, *words: str) -> None:
        self.broker = broker
        self._process = subprocess.Popen(command(*words, "--json"), stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Listener:
        wait_until(lambda: "Sending SUBACK to verify-" in self.broker.log)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def end(self) -> tuple[int, Any]:
        self._process.send_signal(signal.SIGINT)
        return self.result()

    def result(self) -> tuple[int, Any]:
        out, _ = self._process.communicate(timeout=15)
        return self._process.returncode, json.loads(out)


def wait_until(holds: Callable[[], object], timeout_s: float = 15) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.02)


def missing_in(document: Any) -> set[tuple[str, int]]:
    """Return (run, sequence) of all that is missing, where sequences and messages are the same."""
    return {
        (run["run"], number)
        for run in document["runs"]
        for gap in run["gaps"]
        for number in range(gap["first"], gap["last"] + 1)
    }


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What mosquitto_sub records of two modules that send 500 messages each."""
    mosquitto_sub = require_program("mosquitto_sub")
    directory = tmp_path_factory.mktemp("recording")
    with ExitStack() as stack:
        broker = stack.enter_context(Mosquitto(str(directory)))
        common = [mosquitto_sub, "-p", str(broker.port), "-V", "5", "-q", "1", "-c", "-i", "rec", "-x", "60", "-t", ALL]
        subprocess.run([*common, "-E"], check=True, timeout=10)  # from here on the broker keeps what comes
        parts = [producer(name, total=500, burst=10, interval_s=0.01) for name in ("north", "south")]
        device = stack.enter_context(Device(directory, configuration(broker.port, *parts), images=("producer",)))
        device.start()
        done = subprocess.run([*common, "-F", "%j", "-C", "1000"], check=True, capture_output=True, timeout=20)
    return done.stdout.decode().splitlines()


def id_of(line: str) -> tuple[str, int]:
    session, _, sequence = json.loads(line)["properties"]["user-properties"]["microedge-id"].rpartition("-")
    return session, int(sequence)


def taken_from(recording: list[str], seed: int) -> set[int]:
    """Return the indexes of lines to take away: all but the first and the last of each run."""
    ids = [id_of(line) for line in recording]
    sequences_of: dict[str, list[int]] = {}
    for session, sequence in ids:
        sequences_of.setdefault(session, []).append(sequence)
    ends = {(session, end(found)) for session, found in sequences_of.items() for end in (min, max)}
    inner = [index for index, each in enumerate(ids) if each not in ends]
    return set(random.Random(seed).sample(inner, 60))


@pytest.mark.timeout(60)
def test_a_whole_recording_is_complete(recording, tmp_path):
    file = tmp_path / "recording.jsonl"
    file.write_text("\n".join(recording) + "\n")

    code, document = verify(str(file))

    assert (code, document["is_complete"], document["received"], document["missing"]) == (0, True, 1000, 0)
    assert {(run["device"], run["module"], run["first"], run["last"]) for run in document["runs"]} == {
        ("greenhouse-7", "north", 1, 500),
        ("greenhouse-7", "south", 1, 500),
    }


@pytest.mark.timeout(60)
def test_exactly_what_was_taken_out_of_a_recording_is_missing(recording, tmp_path):
    taken = taken_from(recording, 1)
    kept = [line for index, line in enumerate(recording) if index not in taken]
    file = tmp_path / "recording.jsonl"
    file.write_text("\n".join([*kept[:300], "garbage", *kept[300:], *kept[-40:], kept[0][:50]]))

    code, document = verify(str(file))

    assert code == 1
    assert missing_in(document) == {id_of(recording[index]) for index in taken}
    assert (document["received"], document["duplicates"], document["unreadable"]) == (940, 40, 1)
    assert document["notes"] == [f"{file}:301 (no JSON)", f"the last line of {file} is cut off, and not counted"]


@pytest.mark.timeout(60)
def test_exactly_what_was_held_back_from_a_broker_is_missing(recording, tmp_path):
    taken = taken_from(recording, 2)
    with Mosquitto(str(tmp_path), lines=LOGGING) as broker:
        url = f"mqtt://127.0.0.1:{broker.port}"
        with Listener(broker, "verify", "--broker", url, "--idle", "2") as listener:
            publish(broker.port, [line for index, line in enumerate(recording) if index not in taken])

            code, document = listener.result()

    assert (code, document["received"], document["duplicates"]) == (1, 940, 0)
    assert missing_in(document) == {id_of(recording[index]) for index in taken}


def publish(port: int, lines: list[str]) -> None:
    """Publish what was recorded."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.connect("127.0.0.1", port)
    client.loop_start()
    for line in lines:
        recorded = json.loads(line)
        properties = Properties(PacketTypes.PUBLISH)
        properties.UserProperty = list(recorded["properties"]["user-properties"].items())
        sent = client.publish(recorded["topic"], recorded["payload"], qos=1, properties=properties)
    sent.wait_for_publish(10)
    client.disconnect()
    client.loop_stop()


@pytest.mark.timeout(90)
def test_kills_and_restarts_give_duplicates_and_no_gaps(tmp_path):
    with ExitStack() as stack:
        broker = stack.enter_context(Mosquitto(str(tmp_path), lines=LOGGING))
        far = stack.enter_context(DelayProxy(broker.port, (0.3, 0.3)))
        part = producer("north", burst=2, interval_s=0.02)
        config = configuration(far.port, part, store="linger_ms = 50")
        device = stack.enter_context(Device(tmp_path, config, images=("producer",)))
        url = f"mqtt://127.0.0.1:{broker.port}"
        listener = stack.enter_context(Listener(broker, "verify", "--broker", url))
        for _ in range(3):
            deliver_something_new(device)
            device.kill()
        deliver_something_new(device)
        device.pause("north")
        wait_until(lambda: not device.status()["queue"]["messages"])
        assert device.stop() == 0

        code, document = listener.end()

    assert (code, document["missing"], len(document["runs"])) == (0, 0, 4)
    assert document["duplicates"] > 0
    assert [run["unknown_before"] for run in document["runs"]] == [0] * 4


def deliver_something_new(device: Device) -> None:
    """Start it, and wait until the backlog is delivered and messages of this run are."""
    device.start()
    backlog = device.status()["queue"]["messages"]
    wait_until(lambda: device.status()["upstream"]["delivered"] > backlog + 50)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("protocol", [5, 311])
def test_what_went_elsewhere_is_not_missing_from_the_upstream_of_this_device(tmp_path, protocol):
    with ExitStack() as stack:
        broker = Mosquitto.with_password(str(tmp_path))
        broker._lines += ("log_type all",)
        stack.enter_context(broker)
        login = f'username = "{USER}"\npassword = "{PASSWORD}"\nprotocol = {protocol}\n'
        login += "envelope = true\n" if protocol == 311 else ""
        upstream = f'[upstream]\ntype = "mqtt"\nurl = "mqtt://127.0.0.1:{broker.port}"\n{login}'
        mixed = Source(MIXED, outputs=("readings", "raw"), inputs=("raw",))
        runtime = stack.enter_context(Runtime(tmp_path / "r", upstream=upstream, config=ROUTES))
        own = ("--config", str(runtime.config_file), "verify", "--idle", "3")
        listener = stack.enter_context(Listener(broker, *own))
        runtime.add("mixed", mixed)

        code, document = listener.result()

    (run,) = document["runs"]
    assert (code, run["device"], run["module"]) == (0, "bench", "mixed")
    assert (run["received"], run["missing"], run["first"], run["last"]) == (200, 0, 1, 300)


@pytest.mark.timeout(60)
def test_the_file_upstream_of_this_device_is_read_without_being_named(tmp_path):
    mixed = Source(MIXED, outputs=("readings", "raw"), inputs=("raw",))
    with Runtime(tmp_path, {"mixed": mixed}, config=ROUTES) as runtime:
        runtime.wait_for(lambda: len(runtime.upstream_lines()) == 200, "200 lines")
        lines = runtime.upstream_file.read_text().splitlines(keepends=True)
        assert verify("--config", str(runtime.config_file))[0] == 0

        (tmp_path / "kept.jsonl").write_text("".join([*lines[:20], *lines[21:150], *lines[152:]]))
        code, document = verify(str(tmp_path / "kept.jsonl"))

    gaps = [(gap["missing"], gap["first"], gap["last"]) for gap in document["runs"][0]["gaps"]]
    assert code == 1
    assert gaps == [(1, 31, 32), (2, 226, 228)]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--broker", "mqtt://127.0.0.1:1"], 1, "nothing listens at 127.0.0.1:1"),
        (["--broker", "mqtt://me:pass-word@h"], 2, "--broker '…@h': expected mqtt://HOST[:PORT]"),
        (["--broker", "mqtt://h", "--topic", "a/#/b"], 2, "expected a topic filter"),
        (["--broker", "mqtt://h", "--password-file", "none"], 2, "--password-file"),
        (["--broker", "mqtt://h", "file"], 2, "a file and a broker"),
        (["--user", "me"], 2, "expected with --broker"),
        (["none"], 2, "none: No such file or directory"),
        (["/dev/null"], 1, "no message of microedge found"),
        (["--config", "none.toml"], 78, "none.toml"),
    ],
)
def test_what_cannot_be_verified_says_why(tmp_path, words, code, said):
    done = subprocess.run(
        command("verify", *words), capture_output=True, text=True, cwd=tmp_path, timeout=15, check=False
    )

    assert done.returncode == code
    assert said in done.stderr
    assert "pass-word" not in done.stderr
