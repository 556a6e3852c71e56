"""A module can break only itself: a house full of bad modules, one good neighbour, and a `status` that says why."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support.runtime import STEADY, Runtime, Source

_LATE = "[supervision]\nready_timeout_s = 1\nstop_timeout_s = 1\nhang_timeout_s = 1\n"

_CRASHES = """
def main(client):
    client.ready()
    raise OSError("the probe is not connected")
"""

_HANGS = """
import time

def read_probe_for_ever():
    time.sleep(3600)

def main(client):
    client.ready()
    read_probe_for_ever()
"""

_FLOODS = """
import os

def main(client):
    client.ready()
    client.every(0.2, lambda: client.send("readings", {}))
    client.wait(0.5)
    while True:
        os.write(1, b"\\n" * 4096 + b"x" * 4096)
"""

_WRITES_GARBAGE = """
import os, time

def main(client):
    client.ready()
    os.write(3, b"GET / HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
    time.sleep(3600)
"""

_IGNORES_SIGTERM = """
import signal, time

def main(client):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    client.ready()
    while True:
        client.wait(0.05)
        time.sleep(0.01)
"""

_EXITS_AT_ONCE = """
def main(client):
    pass
"""

_LEAVES_DAEMONS = """
import os, time

def daemon():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            with open(str(os.getpid()) + ".pid", "w"):
                pass
            time.sleep(3600)
        os._exit(0)
    os.wait()

def main(client):
    daemon()
    daemon()
    client.ready()
    client.run()
"""

_CLOSES_ITS_CONNECTION = """
import os, time

def main(client):
    client.ready()
    os.close(3)
    time.sleep(3600)
"""

_EXITS_WITH_78 = """
import sys

def main(client):
    sys.exit(78)
"""

_CANNOT_BE_IMPORTED = """
import no_such_library

def main(client):
    client.run()
"""

_HAS_A_SYNTAX_ERROR = """
def main(client):
    retrun client.run()
"""

_IS_NEVER_READY = """
import time

def main(client):
    time.sleep(3600)
"""

_FORGES_ANSWERS = """
from microedge import wire

def main(client):
    client.ready()
    while client.wait(0.01):
        for number in range(200):
            client._link.put(wire.encode(wire.DONE, number))
"""

_LIES_ABOUT_THE_TIME = """
from microedge import wire
from microedge.message import Envelope

def main(client):
    client.ready()
    client._link.put(wire.encode(wire.SEND, 1, time_ms=2**64 - 1, head=Envelope("readings").raw, body=b"1"))
    client.run()
"""

_OBEYS = """
def main(client):
    client.on_input("commands", lambda message: client.log.info("obeyed %s", message.body.decode()))
    client.ready()
    client.run()
"""

MODULES = {
    "steady": Source(STEADY),
    "crashes": Source(_CRASHES),
    "hangs": Source(_HANGS, tables=_LATE),
    "floods": Source(_FLOODS),
    "writes_garbage": Source(_WRITES_GARBAGE),
    "ignores_sigterm": Source(_IGNORES_SIGTERM, tables=_LATE),
    "exits_at_once": Source(_EXITS_AT_ONCE),
    "leaves_daemons": Source(_LEAVES_DAEMONS),
    "closes_its_connection": Source(_CLOSES_ITS_CONNECTION),
    "exits_with_78": Source(_EXITS_WITH_78),
    "cannot_be_imported": Source(_CANNOT_BE_IMPORTED),
    "has_a_syntax_error": Source(_HAS_A_SYNTAX_ERROR),
    "is_never_ready": Source(_IS_NEVER_READY, tables=_LATE),
    "forges_answers": Source(_FORGES_ANSWERS),
    "lies_about_the_time": Source(_LIES_ABOUT_THE_TIME),
    "obeys": Source(_OBEYS, inputs=("commands",)),
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    with Runtime(tmp_path_factory.mktemp("house"), dict(MODULES)) as runtime:
        runtime.wait_running("steady")
        yield runtime


def test_a_module_that_crashes_is_restarted_at_once_and_then_after_a_pause(house: Runtime):
    module = house.wait_state("crashes", "backoff")

    assert module["reason"] == "exited with code 1; OSError: the probe is not connected; restart in 10 s"
    assert module["restarts"] == 1
    assert 0 < module["next_start_in_s"] <= 10
    assert any('raise OSError("the probe is not connected")' in line for line in house.logs("crashes"))
    house.assert_goes_on("steady")


def test_a_module_that_hangs_leaves_its_stacks_in_its_log_and_is_restarted(house: Runtime):
    house.wait_log("hangs", "in read_probe_for_ever")

    module = house.wait_state("hangs", "backoff")
    assert re.fullmatch(r"hung: no progress for hang_timeout_s=1; restart in [12]0 s", module["reason"])
    assert module["restarts"] >= 1
    house.assert_goes_on("steady")


def test_a_module_that_floods_its_output_is_slowed_down_and_costs_bounded_memory(house: Runtime):
    house.wait_for(lambda: house.module("floods")["log_throttled"], "throttling")
    before = house.status()["memory_bytes"]
    lines = len(house.logs("floods"))
    house.assert_goes_on("steady")

    assert lines <= 1_000
    assert house.module("floods")["state"] == "running"  # it stands still through no fault of its own
    assert house.status()["memory_bytes"] - before < 2_000_000


def test_a_module_that_writes_garbage_to_its_socket_is_killed_and_the_reason_says_what_it_wrote(house: Runtime):
    module = house.wait_state("writes_garbage", "backoff")

    assert module["reason"].startswith("broke the protocol: frame header 474554202f20485454")
    house.assert_goes_on("steady")


def test_a_module_that_ignores_sigterm_is_killed_and_the_reason_says_so(house: Runtime):
    house.wait_running("ignores_sigterm")
    pid = house.module("ignores_sigterm")["pid"]

    reply = house.request("stop", module="ignores_sigterm")

    assert reply["state"] == "stopped"
    assert reply["reason"] == "stopped by hand; killed, because it did not stop within stop_timeout_s=1"
    assert not os.path.exists(f"/proc/{pid}")
    house.assert_goes_on("steady")


def test_a_module_that_exits_at_once_is_started_ever_more_rarely(house: Runtime):
    module = house.wait_state("exits_at_once", "backoff")

    assert re.fullmatch(r"exited with code 0; restart in [124]0 s", module["reason"])
    assert module["restarts"] < 4  # of hundreds that it would get without a pause
    house.assert_goes_on("steady")


def test_the_daemons_of_a_module_that_crashes_and_of_one_that_is_stopped_go_with_it(house: Runtime):
    house.wait_running("leaves_daemons")
    first = _daemons(house, 2)
    os.kill(house.module("leaves_daemons")["pid"], 9)
    house.wait_for(lambda: not any(_is_alive(pid) for pid in first), "end of the daemons after the crash")

    house.wait_for(lambda: house.module("leaves_daemons")["restarts"] == 1, "restart")
    house.wait_running("leaves_daemons")
    second = _daemons(house, 4) - first
    assert all(_is_alive(pid) for pid in second)
    house.request("stop", module="leaves_daemons")
    house.wait_for(lambda: not any(_is_alive(pid) for pid in second), "end of the daemons after the stop")
    house.assert_goes_on("steady")


def test_a_module_that_closes_its_connection_is_killed(house: Runtime):
    module = house.wait_state("closes_its_connection", "backoff")

    assert module["reason"].startswith("closed its connection to the hub; restart in ")
    house.assert_goes_on("steady")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("exits_with_78", "exited with code 78"),
        ("cannot_be_imported", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("has_a_syntax_error", "SyntaxError: invalid syntax (__init__.py, line 3)"),
    ],
)
def test_a_module_whose_code_cannot_work_waits_for_a_person(house: Runtime, name: str, words: str):
    module = house.wait_state(name, "failed")

    assert words in module["reason"]
    cure = f"not restarted until its files or its settings change, or: microedge restart {name}"
    assert module["reason"].endswith(cure)
    assert (module["restarts"], module["pid"]) == (0, None)


def test_a_module_that_is_never_ready_is_killed_and_started_again(house: Runtime):
    module = house.wait_state("is_never_ready", "backoff")
    assert module["reason"].startswith("not ready within ready_timeout_s=1; restart in ")
    assert any("time.sleep" in line or "in main" in line for line in house.logs("is_never_ready"))
    house.assert_goes_on("steady")


def test_a_module_cannot_acknowledge_what_another_one_was_given(house: Runtime):
    house.wait_running("forges_answers", "obeys")
    for number in range(5):
        house.request("send", module="obeys", input="commands", body=number)

    house.wait_log("obeys", "obeyed 4")
    house.wait_for(lambda: house.module("forges_answers")["state"] == "running", "life")
    assert [line for line in house.logs("obeys") if "obeyed" in line] == [f"obeyed {number}" for number in range(5)]


def test_a_module_that_lies_about_the_time_is_cut_off(house: Runtime):
    module = house.wait_state("lies_about_the_time", "backoff")

    assert "broke the protocol: message with time_ms=18446744073709551615" in module["reason"]
    house.assert_goes_on("steady")


def test_through_all_of_this_the_good_neighbour_lost_and_repeated_nothing(house: Runtime):
    house.assert_goes_on("steady")
    assert house.stop() == 0

    counts = house.counts("steady")
    assert counts == list(range(1, len(counts) + 1))
    assert len(counts) > 50
    house.wait_for_nothing_left()


def _daemons(house: Runtime, count: int) -> set[int]:
    directory = Path(house.state_dir) / "data" / "leaves_daemons"
    house.wait_for(lambda: len(list(directory.glob("*.pid"))) >= count, f"{count} daemons")
    return {int(path.stem) for path in directory.glob("*.pid")}


def _is_alive(pid: int) -> bool:
    with suppress(OSError), open(f"/proc/{pid}/stat") as stream:
        return stream.read().rpartition(")")[2].split()[0] != "Z"
    return False
