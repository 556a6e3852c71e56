"""The supervisor as a process: drop-in, reload, orders, its own death and that of its fork server."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.runtime import STEADY, Runtime, Source

_REPORTS_ITSELF = """
import os, sys

def main(client):
    client.ready()
    client.send("readings", {
        "descriptors": sorted(int(fd) for fd in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + fd)),
        "stdin": os.readlink("/proc/self/fd/0"),
        "cwd": os.getcwd(),
        "environment": {name: os.environ.get(name) for name in ("HOME", "MICROEDGE_MODULE", "SECRET", "COLOUR")},
        "umask": os.umask(0),
        "session_leader": os.getsid(0) == os.getpid(),
        "parent": os.getppid(),
        "path_entry": any(entry.endswith("/libraries") for entry in sys.path),
    })
    client.run()
"""

_STUBBORN = """
import signal, time

def main(client):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    client.ready()
    time.sleep(60)
"""

_ECHOES = """
def main(client):
    client.on_input("commands", lambda message: client.log.info("got %s", message.body.decode()))
    client.ready()
    client.run()
"""


def body(runtime: Runtime, module: str) -> dict[str, Any]:
    """Return the body of the first message of a module that has arrived upstream."""

    def first() -> Any:
        return next((line["body"] for line in runtime.upstream_lines() if line["module"] == module), None)

    return runtime.wait_for(first, f"message of {module} upstream")


# --- What a module's process looks like ---


@pytest.mark.parametrize("launch", ["fork", "exec"])
def test_a_module_has_its_own_surroundings_whichever_way_it_is_launched(tmp_path: Path, launch: str):
    (tmp_path / "libraries").mkdir()
    config = '[modules.probe]\nimage = "probe"\nenv = { COLOUR = "blue", HOME = "/elsewhere" }\n'
    search = os.pathsep.join(filter(None, (str(tmp_path / "libraries"), os.environ.get("PYTHONPATH"))))
    environment = {"SECRET": "of the supervisor", "PYTHONPATH": search}
    probe = Source(_REPORTS_ITSELF, launch=launch)
    with Runtime(tmp_path / "run", {"probe": probe}, config=config, environment=environment) as runtime:
        runtime.wait_running("probe")
        found = body(runtime, "probe")
        assert runtime.module("probe")["launch"] == launch

        data_dir = str(runtime.state_dir / "data" / "probe")
        assert found == {
            "descriptors": [0, 1, 2, 3],
            "stdin": "/dev/null",
            "cwd": data_dir,
            "environment": {"HOME": "/elsewhere", "MICROEDGE_MODULE": "probe", "SECRET": None, "COLOUR": "blue"},
            "umask": 0o077,
            "session_leader": True,
            "parent": runtime.pid,
            "path_entry": True,
        }


# --- Drop-in ---


def test_images_that_appear_change_and_go_while_it_runs_are_followed(tmp_path: Path):
    with Runtime(tmp_path) as runtime:
        assert runtime.status()["modules"] == []

        runtime.add("probe", STEADY)
        runtime.wait_running("probe")

        first = runtime.module("probe")["pid"]
        runtime.add("probe", STEADY.replace('"count": count', '"count": count, "version": 2'))
        runtime.wait_for(lambda: runtime.module("probe").get("pid") not in (None, first), "another process")
        runtime.wait_running("probe")
        assert runtime.module("probe")["restarts"] == 0  # a change is no failure

        shutil.rmtree(runtime.modules_dir / "probe")
        runtime.wait_for(lambda: runtime.module("probe") == {}, "the end of the module")
        assert not os.path.exists(f"/proc/{first}")
        assert runtime.stop() == 0


def test_a_directory_that_is_still_being_copied_is_left_alone_until_it_is_complete(tmp_path: Path):
    with Runtime(tmp_path) as runtime:
        directory = runtime.modules_dir / "probe"
        directory.mkdir()
        (directory / "__init__.py").write_text("raise SystemExit(9)  # the first half")
        time.sleep(0.8)
        assert runtime.status()["modules"] == []
        assert runtime.status()["rejected"] == []

        (directory / "module.toml").write_text(Source().manifest("probe"))
        (directory / "__init__.py").write_text(STEADY)
        runtime.wait_running("probe")
        assert runtime.module("probe")["restarts"] == 0


def test_a_broken_manifest_gets_one_line_and_harms_nobody(tmp_path: Path):
    with Runtime(tmp_path, {"steady": STEADY}) as runtime:
        runtime.wait_running("steady")
        broken = runtime.add("broken", STEADY)
        manifest = broken / "module.toml"
        manifest.write_text(manifest.read_text().replace('version = "1.0.0"', "version = 1"))

        rejected = runtime.wait_for(lambda: runtime.status()["rejected"], "a rejection")
        assert len(rejected) == 1
        assert rejected[0]["file"] == f"{manifest}:4"
        assert rejected[0]["reason"].startswith("[module] version = 1: expected")
        assert sum("version = 1" in line for line in runtime.logs("supervisor")) == 1

        manifest.write_text(Source().manifest("broken"))
        runtime.wait_running("broken")
        assert runtime.status()["rejected"] == []
        runtime.assert_goes_on("steady")


def test_a_module_that_a_person_stopped_stays_stopped_when_its_files_change(tmp_path: Path):
    with Runtime(tmp_path, {"steady": STEADY}) as runtime:
        runtime.wait_running("steady")
        assert runtime.request("stop", module="steady")["reason"] == "stopped by hand"

        runtime.add("steady", STEADY + "# changed\n")
        runtime.wait_log("supervisor", "its files or its configuration changed")
        time.sleep(0.2)
        assert runtime.module("steady")["state"] == "stopped"

        assert runtime.request("start", module="steady")["state"] == "running"


def test_a_repaired_module_starts_although_starting_it_again_seemed_pointless(tmp_path: Path):
    with Runtime(tmp_path, {"probe": "import no_such_thing\n"}) as runtime:
        runtime.wait_state("probe", "failed")
        runtime.add("probe", STEADY)

        runtime.wait_running("probe")


# --- Orders ---


def test_orders_to_a_module_that_does_not_exist_name_those_that_do(tmp_path: Path):
    with Runtime(tmp_path, {"steady": STEADY}) as runtime:
        for command in ("start", "stop", "restart", "logs", "status"):
            with pytest.raises(Exception, match="no module is called 'stedy'; known: steady"):
                runtime.request(command, module="stedy")


def test_a_restart_gives_another_process_and_forgets_failures(tmp_path: Path):
    with Runtime(tmp_path, {"steady": STEADY}) as runtime:
        runtime.wait_running("steady")
        first = runtime.module("steady")["pid"]

        assert runtime.request("restart", module="steady")["state"] == "running"
        assert runtime.module("steady")["pid"] != first
        assert runtime.module("steady")["reason"] == ""


def test_a_message_from_a_person_reaches_the_modules_input(tmp_path: Path):
    with Runtime(tmp_path, {"valve": Source(_ECHOES, inputs=("commands",))}) as runtime:
        runtime.wait_running("valve")
        runtime.request("send", module="valve", input="commands", body={"open": True})

        runtime.wait_log("valve", 'got {"open":true}')


def test_a_message_that_is_too_large_is_refused_and_harms_nobody(tmp_path: Path):
    with Runtime(tmp_path, {"valve": Source(_ECHOES, inputs=("commands",))}) as runtime:
        runtime.wait_running("valve")
        with pytest.raises(Exception, match="body of bytes=400002: expected at most"):
            runtime.request("send", module="valve", input="commands", body="x" * 400_000)
        with pytest.raises(Exception, match="no input 'command'; it has: commands"):
            runtime.request("send", module="valve", input="command", body=1)

        runtime.request("send", module="valve", input="commands", body="small")
        runtime.wait_log("valve", "got")


# --- SIGHUP ---


def test_a_reload_takes_a_good_configuration_and_refuses_a_bad_one(tmp_path: Path):
    with Runtime(tmp_path, {"probe": STEADY}) as runtime:
        runtime.wait_running("probe")
        runtime.write_config('[modules.south]\nimage = "probe"\n[modules.north]\nimage = "probe"\n')
        runtime.hangup()
        runtime.wait_running("south", "north")
        runtime.wait_for(lambda: runtime.module("probe") == {}, "the end of the unnamed instance")

        runtime.write_config('[modules.south]\nimage = "probe"\nnonsense = 1\n')
        runtime.hangup()
        line = runtime.wait_log("supervisor", "configuration not reloaded, the running one stays")
        assert "microedge.toml:8:" in line
        assert "nonsense" in line
        assert any("not reloaded" in warning and "nonsense" in warning for warning in runtime.status()["warnings"])
        runtime.assert_goes_on("south")
        runtime.assert_goes_on("north")


def test_a_reload_says_what_needs_a_restart(tmp_path: Path):
    with Runtime(tmp_path) as runtime:
        runtime.write_config("[store]\nmax_mib = 300\n")
        runtime.hangup()

        runtime.wait_for(lambda: "store" in "".join(runtime.status()["warnings"]), "a warning")


def test_an_instance_that_is_allowed_to_start_by_a_reload_starts(tmp_path: Path):
    with Runtime(
        tmp_path, {"probe": STEADY}, config='[modules.north]\nimage = "probe"\nautostart = false\n'
    ) as runtime:
        assert runtime.wait_state("north", "stopped")["reason"] == "autostart = false"
        runtime.write_config('[modules.north]\nimage = "probe"\nautostart = true\n')
        runtime.hangup()

        runtime.wait_running("north")


# --- The state directory and the control socket ---


def test_a_second_supervisor_on_the_same_state_directory_is_refused(tmp_path: Path):
    with Runtime(tmp_path, {"steady": STEADY}) as runtime:
        runtime.wait_running("steady")
        command = [sys.executable, "-m", "microedge", "--config", str(runtime.config_file), "run"]
        second = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)

        assert second.returncode == 1
        assert f"is in use by another microedge (pid {runtime.pid}); stop that one" in second.stderr
        assert "Traceback" not in second.stderr
        runtime.assert_goes_on("steady")


def test_a_state_directory_with_a_path_longer_than_a_socket_address_works(tmp_path: Path):
    with Runtime(tmp_path / ("d" * 120), {"steady": STEADY}) as runtime:
        runtime.wait_running("steady")

        assert len(str(runtime.state_dir)) > 120
        assert runtime.stop() == 0


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    with Runtime(tmp_path_factory.mktemp("quiet"), {"steady": STEADY}) as runtime:
        runtime.wait_running("steady")
        yield runtime


@pytest.mark.parametrize(
    "request_line",
    [
        b"",
        b"\n",
        b"nonsense\n",
        b"[1]\n",
        b"7\n",
        b'"status"\n',
        b"{}\n",
        b'{"command": null}\n',
        b'{"command": []}\n',
        b'{"command": "format_disk"}\n',
        b'{"command": "logs"}\n',
        b'{"command": "logs", "module": []}\n',
        b'{"command": "logs", "module": "steady", "lines": 1e999}\n',
        b'{"command": "logs", "module": "steady", "lines": "x"}\n',
        b'{"command": "send", "module": "steady", "input": {}, "body": NaN}\n',
        b'{"command": "tail", "module": "nobody"}\n',
        b"[" * 100_000 + b"\n",
        b"\xff\xfe\n",
        b"x" * 700_000,
    ],
)
def test_nonsense_on_the_control_socket_is_refused_and_harms_nobody(quiet: Runtime, request_line: bytes):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(quiet.state_dir / "control.sock"))
        answer = b""
        try:
            client.sendall(request_line)
            client.shutdown(socket.SHUT_WR)
            while data := client.recv(65_536):
                answer += data
        except (BrokenPipeError, ConnectionResetError):
            pass

    assert answer == b"" or json.loads(answer)["ok"] is False
    assert quiet.module("steady")["state"] == "running"


def test_a_reader_that_is_too_slow_misses_messages_and_slows_nobody(quiet: Runtime):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(quiet.state_dir / "control.sock"))
        client.sendall(b'{"command": "tail"}\n')
        quiet.assert_goes_on("steady")


def test_live_messages_and_live_logs_are_streamed(quiet: Runtime):
    first, second = quiet.tail(2, module="steady", output="readings")

    assert (first["module"], first["output"]) == ("steady", "readings")
    assert json.loads(second["body"])["count"] == json.loads(first["body"])["count"] + 1


# --- The end ---


def test_sigterm_stops_everything_in_time_and_leaves_nothing(tmp_path: Path):
    modules = {
        "steady": Source(STEADY),
        "stubborn": Source(_STUBBORN, tables="[supervision]\nstop_timeout_s = 1\n"),
        "failing": Source("def main(client): raise OSError\n"),
    }
    with Runtime(tmp_path, modules) as runtime:
        runtime.wait_running("steady", "stubborn")
        started_s = time.monotonic()

        assert runtime.stop() == 0
        assert time.monotonic() - started_s < 5
        assert runtime.everything() == []
        assert not (runtime.state_dir / "control.sock").exists()
        assert "module stubborn did not stop within stop_timeout_s=1: killed" in runtime.output


def test_a_second_sigterm_does_not_wait_for_modules(tmp_path: Path):
    with Runtime(tmp_path, {"stubborn": Source(_STUBBORN, tables="[supervision]\nstop_timeout_s = 60\n")}) as runtime:
        runtime.wait_running("stubborn")
        os.kill(runtime.pid, signal.SIGTERM)
        runtime.wait_state("stubborn", "stopping")
        with pytest.raises(Exception, match="microedge is stopping"):
            runtime.request("restart", module="stubborn")

        assert runtime.stop(signal.SIGINT, timeout_s=5) == 0


def test_when_the_supervisor_is_killed_its_modules_go_with_it_and_it_starts_again_cleanly(tmp_path: Path):
    modules = {"steady": Source(STEADY), "other": Source(STEADY, launch="exec")}
    modules["busy"] = Source("def main(client):\n    client.ready()\n    while True: pass\n")
    with Runtime(tmp_path, modules) as runtime:
        runtime.wait_running("steady", "other", "busy")

        runtime.sigkill()

        runtime.wait_for_nothing_left(1.0)
        assert (runtime.state_dir / "control.sock").exists()  # nobody was left to remove it
        runtime.start()
        runtime.wait_running("steady", "other")
        runtime.assert_goes_on("steady")
        assert runtime.stop() == 0


def test_when_the_fork_server_is_killed_modules_go_on_and_new_ones_start(tmp_path: Path):
    with Runtime(tmp_path, {"steady": STEADY}) as runtime:
        runtime.wait_running("steady")
        for number in range(3):
            time.sleep(0.05)
            os.kill(fork_server(runtime), signal.SIGKILL)
            runtime.add(f"late_{number}", STEADY)
            runtime.wait_running(f"late_{number}")

        runtime.assert_goes_on("steady")
        assert runtime.stop() == 0
        assert runtime.everything() == []


def fork_server(runtime: Runtime) -> int:
    def find() -> int:
        for pid in runtime.everything():
            try:
                with open(f"/proc/{pid}/comm") as stream:
                    if stream.read().strip() == "microedge-fork":
                        return pid
            except OSError:
                continue
        return 0

    return runtime.wait_for(find, "fork server")


def test_the_supervisor_tells_systemd_when_it_is_ready_reloads_and_stops(tmp_path: Path):
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(10)
        environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "300000"}
        with Runtime(tmp_path / "run", environment=environment) as runtime:
            assert manager.recv(4_096).startswith(b"READY=1\nSTATUS=microedge on bench")
            assert [manager.recv(4_096) for _ in range(3)] == [b"WATCHDOG=1"] * 3
            assert runtime.stop() == 0
            said = [b""]
            while not said[-1].startswith(b"STOPPING=1"):
                said.append(manager.recv(4_096))
