"""Every command against a supervisor that answers from canned documents."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.control import IMAGES, MESSAGE, STATUS, FakeSupervisor

from microedge.cli.client import ControlClient
from microedge.cli.failure import CommandError
from microedge.cli.main import main
from microedge.errors import NotRunningError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MICROEDGE_CONFIG", raising=False)
    monkeypatch.delenv("MICROEDGE_SOCKET", raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["init"]) == 0
    capsys.readouterr()
    return tmp_path


@pytest.fixture
def fake(home: Path) -> Iterator[FakeSupervisor]:
    with FakeSupervisor(str(home / "state" / "control.sock")) as supervisor:
        yield supervisor


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["status"], STATUS),
        (["status", "north"], {**STATUS, "modules": STATUS["modules"][:1]}),
        (["list"], {"modules": STATUS["modules"], "images": IMAGES, "rejected": STATUS["rejected"]}),
        (["queue", "status"], STATUS["queue"]),
        (["tail", "-n", "1"], MESSAGE),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_json_is_the_document_itself(fake, capsys, line, expected):
    main([*line, "--json"])

    assert json.loads(capsys.readouterr().out) == expected


@pytest.mark.parametrize("line", [["logs", "north"], ["logs", "north", "-f"], ["tail"]], ids=" ".join)
def test_json_of_a_stream_is_one_document_for_each_line(fake, capsys, line):
    assert main([*line, "--json"]) == 0

    assert len([json.loads(text) for text in capsys.readouterr().out.splitlines()]) == 2


@pytest.mark.parametrize("line", [["check", "--offline"], ["serial", "list"], ["version"]], ids=" ".join)
def test_json_of_this_device_is_one_document(fake, capsys, line):
    main([*line, "--json"])

    assert isinstance(json.loads(capsys.readouterr().out), dict)


def test_the_exit_code_of_status_says_whether_all_is_well(fake):
    assert main(["status"]) == 1
    assert main(["status", "north"]) == 0

    fake.status["modules"] = fake.status["modules"][:1]
    assert main(["status"]) == 0


def test_without_a_supervisor_the_exit_code_is_3_and_the_error_says_how_to_start_it(home, capsys):
    for line in (["status"], ["list"], ["logs", "a"], ["tail"], ["queue", "status"], ["stop", "a"]):
        assert main(line) == 3

    assert capsys.readouterr().err.count("is not running") == 6
    assert main(["--config", "microedge.toml", "status"]) == 3
    assert "start it with: microedge --config microedge.toml run" in capsys.readouterr().err


def test_a_socket_that_a_killed_supervisor_left_is_not_running(home, capsys):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(home / "state" / "control.sock"))

    assert main(["status"]) == 3


def test_without_a_configuration_the_exit_code_is_78(home, capsys):
    (home / "microedge.toml").unlink()

    assert main(["status"]) == 78
    assert "microedge init" in capsys.readouterr().err


def test_status_works_while_the_configuration_is_broken(fake, home):
    (home / "microedge.toml").write_text("[devise]\n")
    assert main(["status", "north"]) == 0

    (home / "microedge.toml").write_text("[")
    assert main(["status", "north"]) == 0


def test_the_state_directory_of_the_configuration_is_used(home, capsys):
    (home / "microedge.toml").write_text('[paths]\nstate = "elsewhere/state"\n')

    with FakeSupervisor(str(home / "elsewhere" / "state" / "control.sock")):
        assert main(["status", "north"]) == 0


def test_a_path_longer_than_a_unix_address_works(home):
    path = str(home / ("d" * 100) / ("e" * 100) / "control.sock")

    with FakeSupervisor(path):
        assert main(["--socket", path, "status", "north"]) == 0
    assert main(["--socket", path, "status"]) == 3


def test_a_refusal_is_told_with_its_hint_and_exit_code(fake, capsys):
    fake.refusals["stop"] = {"error": "no module is called 'x'", "hint": "microedge status", "exit_code": 1}

    assert main(["stop", "x"]) == 1
    assert capsys.readouterr().err == "microedge: no module is called 'x'\n  microedge status\n"


def test_logs_show_time_level_and_harmless_text(fake, capsys):
    assert main(["logs", "north", "-n", "1"]) == 0

    out = capsys.readouterr().out
    assert out.rstrip().endswith("E cannot read: \\x1b[31mtimed out\\x07")
    assert fake.requests[-1] == {"command": "logs", "module": "north", "lines": 1}


def test_tail_shows_source_and_body(fake, capsys):
    assert main(["tail", "north/readings"]) == 0

    assert capsys.readouterr().out.splitlines()[0].endswith('north/readings {"celsius":21.5}')
    assert fake.requests[-1] == {"command": "tail", "module": "north", "output": "readings"}


def test_tail_says_what_it_left_out(fake, capsys):
    fake.events["tail"] = [{**MESSAGE, "left_out_before": 1200}]

    main(["tail"])

    assert "1,200 left out" in capsys.readouterr().out


def test_tail_fails_when_fewer_messages_came_than_asked_for(fake):
    assert main(["tail", "-n", "2"]) == 0
    assert main(["tail", "-n", "3"]) == 1


@pytest.mark.parametrize("source", ["a/b/c", "/", "a b"])
def test_tail_refuses_what_is_no_name(fake, capsys, source):
    assert main(["tail", source]) == 2
    assert "expected NAME or NAME/OUTPUT" in capsys.readouterr().err


def test_send_passes_the_json_value_on(fake, capsys):
    assert main(["send", "pump", "commands", '{"on": true}']) == 0

    assert capsys.readouterr().out == "s-7\n"
    assert fake.requests == [{"command": "send", "module": "pump", "input": "commands", "body": {"on": True}}]


@pytest.mark.parametrize("body", ["{on: true}", "", "[" * 100_000, '"' + "x" * 300_000 + '"'])
def test_send_refuses_a_bad_body_before_it_asks_anybody(home, capsys, body):
    assert main(["send", "pump", "commands", body]) == 2
    assert "the body" in capsys.readouterr().err


@pytest.mark.parametrize(("verb", "state"), [("start", "running"), ("stop", "stopped"), ("restart", "running")])
def test_an_action_prints_the_state_it_reached(fake, capsys, verb, state):
    assert main([verb, "north"]) == 0
    assert capsys.readouterr().out == f"north: {state}\n"


def test_check_fails_when_a_module_is_in_trouble(fake, capsys):
    assert main(["check", "--offline"]) == 1
    assert "soil_probe (backoff)" in capsys.readouterr().out


def test_check_says_78_when_the_configuration_is_broken(home, capsys):
    (home / "microedge.toml").write_text("[devise]\n")

    assert main(["check", "--offline", "--json"]) == 78

    first = json.loads(capsys.readouterr().out)["checks"][0]
    assert (first["name"], first["outcome"]) == ("configuration", "failed")
    assert first["cure"] == f"edit {home}/microedge.toml"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"", "closed the connection without an answer"),
        (b"SSH-2.0\r\n", "is not JSON"),
        (b"[1]\n", "expected a JSON object"),
        (b"[" * 100_000 + b"\n", "is not JSON"),
        (b'{"ok": false}\n', "refused without a reason"),
        (b'{"ok": false, "error": "\\u001b[2J"}\n', r"\\x1b\[2J"),
    ],
)
def test_a_strange_answer_is_one_clear_error(tmp_path, answer, text):
    path = str(tmp_path / "control.sock")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()

        def answer_once() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

        thread = threading.Thread(target=answer_once)
        thread.start()
        with pytest.raises(CommandError, match=text):
            ControlClient(path).request("status")
        thread.join()


def test_a_supervisor_that_does_not_answer_is_given_up(tmp_path):
    path = str(tmp_path / "control.sock")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()

        with pytest.raises(CommandError, match="did not answer"):
            ControlClient(path).request("status", timeout_s=0.05)


def test_nobody_at_the_socket_is_not_running(tmp_path):
    with pytest.raises(NotRunningError, match="start it with: microedge run"):
        ControlClient(str(tmp_path / "control.sock")).request("status")


def run(home: Path, *line: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "microedge", *line]
    return subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_reader_that_goes_away_ends_it_quietly(fake, home):
    fake.hold_streams = True
    fake.events["tail"] = [MESSAGE] * 20_000
    with run(home, "tail") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()

        assert process.wait(15) == 141
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_ctrl_c_ends_it_quietly(fake, home):
    fake.hold_streams = True
    with run(home, "tail") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(2)

        assert process.wait(15) == 130
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_a_pipe_gets_no_colour(fake, home):
    with run(home, "status") as process:
        out, _ = process.communicate(timeout=15)

    assert b"\x1b" not in out


def test_a_latin_terminal_is_no_reason_to_fail(fake, home):
    fake.status["modules"][0]["reason"] = "überall"
    fake.status["modules"][0]["state"] = "failed"
    environ = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "microedge", "status"]
    done = subprocess.run(command, cwd=home, env=environ, capture_output=True, check=False, timeout=15)

    assert done.returncode == 1
    assert b"\\xfcberall" in done.stdout
