"""Inputs of real modules that fail, crash or are stopped: what becomes of their messages, and what a person can do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.runtime import Runtime, Source

RECEIVER = """
import os, time

def main(client):
    def obey(message):
        body = message.json()
        if {condition}:
            {deed}
        with open("obeyed", "a") as file:
            file.write(f"{{body['n']}}\\n")

    client.on_input("commands", obey)
    client.ready()
    {after_ready}
    client.run()
"""
STOPPED = '[modules.pump]\nautostart = false\n[routes]\nall = "FROM /messages/* INTO $upstream"\n'


def receiver(condition: str = "False", deed: str = "pass", after_ready: str = "") -> Source:
    code = RECEIVER.format(condition=condition, deed=deed, after_ready=after_ready)
    return Source(code, inputs=("commands",), outputs=())


def send(runtime: Runtime, *numbers: int) -> None:
    for number in numbers:
        runtime.request("send", module="pump", input="commands", body={"n": number})


def obeyed(runtime: Runtime) -> list[int]:
    file = runtime.state_dir / "data" / "pump" / "obeyed"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def wait_obeyed(runtime: Runtime, *numbers: int) -> None:
    runtime.wait_for(lambda: obeyed(runtime) == list(numbers), f"{numbers} at the module, found {obeyed(runtime)}")


def microedge(runtime: Runtime, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "microedge", "--config", str(runtime.config_file), *arguments]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)


def dead(runtime: Runtime) -> list[dict[str, Any]]:
    return json.loads(microedge(runtime, "queue", "peek", "--dead", "--json").stdout)["messages"]


def start_until_it_dies(runtime: Runtime, times: int) -> None:
    """Start the module again and again without waiting for its back-off; each process ends by itself."""
    for _ in range(times):
        before = runtime.module("pump")["received"]
        runtime.request("start", module="pump")
        runtime.wait_for(lambda known=before: runtime.module("pump")["received"] > known, "a message for the module")
        runtime.wait_state("pump", "backoff")


@pytest.mark.timeout(90)
def test_what_a_module_fails_five_times_is_seen_and_sent_again_to_the_corrected_module(tmp_path: Path):
    with Runtime(tmp_path, {"pump": receiver("body['n'] == 2", "raise ValueError('level is missing')")}) as runtime:
        runtime.wait_running("pump")
        send(runtime, 1, 2, 3)
        runtime.wait_for(lambda: runtime.status()["queue"]["dropped"] == {"poison": 1}, "a poisoned message", 40)
        wait_obeyed(runtime, 1, 3)
        table = microedge(runtime, "queue", "peek", "--dead").stdout
        (letter,) = dead(runtime)
        runtime.sigkill()
        runtime.kill_everything()
        runtime.add("pump", receiver())
        runtime.start()
        runtime.wait_running("pump")
        replayed = microedge(runtime, "queue", "replay", str(letter["id"]))
        again = microedge(runtime, "queue", "replay", str(letter["id"]))
        wait_obeyed(runtime, 1, 3, 2)
        queue = runtime.status()["queue"]

    assert "ValueError: level is missing" in table
    assert (letter["endpoint"], letter["reason"]) == ("/modules/pump/inputs/commands", "poison")
    assert (letter["module"], letter["output"], json.loads(letter["body"])) == ("$cli", "manual", {"n": 2})
    assert (replayed.returncode, replayed.stdout) == (0, "1 message sent again\n")
    assert (again.returncode, again.stdout) == (1, "0 messages sent again\n")
    assert (queue["dead"], queue["dropped"], queue["replayed"], queue["messages"]) == (0, {}, 1, 0)


@pytest.mark.timeout(90)
def test_messages_survive_a_module_that_dies_after_ready_for_another_reason(tmp_path: Path):
    dies = receiver(after_ready="if not os.path.exists('fixed'): time.sleep(0.2); os._exit(3)")
    with Runtime(tmp_path, {"pump": dies}, config=STOPPED) as runtime:
        runtime.wait_state("pump", "stopped")
        send(runtime, 1, 2, 3)
        start_until_it_dies(runtime, 7)
        (runtime.state_dir / "data" / "pump" / "fixed").touch()
        runtime.request("start", module="pump")
        wait_obeyed(runtime, 1, 2, 3)

        assert runtime.status()["queue"]["dropped"] == {}


@pytest.mark.timeout(90)
def test_a_message_that_ends_its_module_is_set_aside_and_the_others_are_handled(tmp_path: Path):
    with Runtime(tmp_path, {"pump": receiver("body['n'] == 2", "os._exit(3)")}, config=STOPPED) as runtime:
        runtime.wait_state("pump", "stopped")
        send(runtime, 1, 2, 3)

        def is_set_aside() -> bool:
            if runtime.module("pump")["state"] in ("stopped", "backoff"):
                runtime.request("start", module="pump")
            return runtime.status()["queue"]["dropped"] == {"poison": 1}

        runtime.wait_for(is_set_aside, "a poisoned message", 40)
        runtime.request("start", module="pump")
        wait_obeyed(runtime, 1, 3)

        assert [json.loads(letter["body"]) for letter in dead(runtime)] == [{"n": 2}]


def test_a_stopped_module_keeps_its_input_queue_over_restarts_in_order(tmp_path: Path):
    with Runtime(tmp_path, {"pump": receiver()}, config=STOPPED) as runtime:
        runtime.request("start", module="pump")
        send(runtime, 0)
        wait_obeyed(runtime, 0)
        runtime.request("stop", module="pump")
        send(runtime, *range(1, 21))
        assert runtime.stop() == 0
        runtime.start()
        send(runtime, 21)
        shown = json.loads(microedge(runtime, "queue", "peek", "pump/commands", "-n", "100", "--json").stdout)
        runtime.request("start", module="pump")
        wait_obeyed(runtime, *range(22))

    assert [json.loads(one["body"])["n"] for one in shown["messages"]] == list(range(1, 22))
    assert [one["is_on_disk"] for one in shown["messages"]] == [True] * 20 + [False]


def test_a_purge_needs_yes_where_nobody_can_be_asked_and_is_counted(tmp_path: Path):
    with Runtime(tmp_path, {"pump": receiver()}, config=STOPPED) as runtime:
        runtime.wait_state("pump", "stopped")
        send(runtime, 1, 2, 3)
        refused = microedge(runtime, "queue", "purge", "pump/commands")
        before = runtime.status()["queue"]["messages"]
        purged = microedge(runtime, "queue", "purge", "pump/commands", "--yes")
        queue = runtime.status()["queue"]

    assert (refused.returncode, "--yes" in refused.stderr, before) == (2, True, 3)
    assert (purged.returncode, purged.stdout) == (0, "3 messages deleted\n")
    assert (queue["messages"], queue["dropped"]) == (0, {"purged": 3})
