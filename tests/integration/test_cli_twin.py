"""The commands of twins: against canned answers, and against a real runtime with a module that listens."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import publish
from support import twins
from support.control import FakeSupervisor
from support.mosquitto import Mosquitto
from support.runtime import Runtime, Source

from microedge.cli.main import main

_TELLS = """
import json

def main(client):
    client.on_desired(lambda patch, desired: client.report({"seen": json.dumps(desired)}))
    client.ready()
    while client.wait(60):
        pass
"""
_TABLES = "[desired]\ninterval_s = 10\nlimits = {min = 0, max = 40}\n[supervision]\nstop_timeout_s = 2\n"
_CONFIG = '[modules.pump]\nimage = "probe"\n[modules.pump.desired]\nname = "wall"\n'


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> Iterator[FakeSupervisor]:
    monkeypatch.chdir(tmp_path)
    for name in ("MICROEDGE_CONFIG", "MICROEDGE_SOCKET"):
        monkeypatch.delenv(name, raising=False)
    assert main(["init"]) == 0
    capsys.readouterr()
    with FakeSupervisor(str(tmp_path / "state" / "control.sock")) as supervisor:
        yield supervisor


@pytest.mark.parametrize("part", ["desired", "reported", "tags"])
def test_json_is_the_document_or_one_part_of_it(fake, capsys, part):
    twin = json.loads(json.dumps(fake.twin.document()))

    assert main(["twin", "get", "north", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == twin

    assert main(["twin", "get", "north", "--json", f"--{part}"]) == 0
    expected = twin["tags"] if part == "tags" else twin["properties"][part]
    assert json.loads(capsys.readouterr().out) == expected


def test_json_has_blame_when_asked(fake, capsys):
    twin = json.loads(json.dumps(fake.twin.document()))
    extra = {"blame": fake.twin.blame(), "overruled": fake.twin.overruled()}

    main(["twin", "get", "north", "--json", "--blame"])
    assert json.loads(capsys.readouterr().out) == {**twin, **extra}

    main(["twin", "get", "north", "--json", "--blame", "--desired"])
    assert json.loads(capsys.readouterr().out) == {"desired": twin["properties"]["desired"], **extra}


def test_json_of_the_history_is_both_lists_with_the_last_entries(fake, capsys):
    assert main(["twin", "history", "north", "--json", "-n", "2"]) == 0

    expected = {"changes": fake.twin.history.changes[-1:], "refusals": fake.twin.history.refusals}
    assert json.loads(capsys.readouterr().out) == expected


@pytest.mark.parametrize(
    ("words", "standard_input", "request_"),
    [
        (["a=1", "--unset", "b.c"], "", {"part": "desired", "patch": {"a": 1, "b": {"c": None}}, "replace": False}),
        (["--tags", "a="], "", {"part": "tags", "patch": {"a": None}, "replace": False}),
        (["--replace", "{}"], "", {"part": "desired", "patch": {}, "replace": True}),
        (
            ["--reset", "a", "--reset", "b.c"],
            "",
            {"part": "desired", "patch": {"a": None, "b": {"c": None}}, "reset": True},
        ),
        (["-"], '{"a": [1]}', {"part": "desired", "patch": {"a": [1]}, "replace": False}),
    ],
)
def test_set_asks_for_what_the_words_say(fake, monkeypatch, words, standard_input, request_):
    monkeypatch.setattr(sys, "stdin", io.StringIO(standard_input))

    assert main(["twin", "set", "north", *words]) == 0

    assert fake.requests == [{"command": "twin_set", "module": "north", **request_}]


def test_what_is_no_change_asks_nobody(fake, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("[1]"))
    for words in ([], ["a"], ["{"], ["-"], ["a=1", "a=2"]):
        assert main(["twin", "set", "north", *words]) == 2

    assert fake.requests == []
    assert capsys.readouterr().err.count("write KEY=VALUE") == 4


def test_an_unknown_module_is_not_told_about_blame(fake, capsys):
    fake.refusals["twin_set"] = {"error": "module = 'x': expected one of north", "path": "module", "exit_code": 1}

    assert main(["twin", "set", "x", "a=1"]) == 1
    assert "blame" not in capsys.readouterr().err


def test_a_terminal_of_80_columns_is_not_overrun(fake):
    fake.twin.patch_desired({"long": "x" * 500, "wild": "\x1b[2J"}, "upstream", twins.START_MS)

    for words in (["get", "north", "--blame"], ["get", "north"], ["history", "north"]):
        shown = on_a_terminal(["twin", *words])
        plain = re.sub(r"\x1b\[\d*m", "", shown)
        assert "\x1b[2J" not in shown
        assert "\x1b[" in shown
        assert max(map(len, plain.splitlines())) <= 80


def on_a_terminal(words: list[str]) -> str:
    """Return what a command prints on a colour terminal of 80 columns."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "TERM": "xterm", "PYTHONUTF8": "1"}
    environment.pop("NO_COLOR", None)
    with open(ours, "rb", buffering=0) as terminal:
        process = subprocess.Popen([sys.executable, "-m", "microedge", *words], stdout=theirs, env=environment)
        os.close(theirs)
        shown = b""
        try:
            while chunk := terminal.read(65_536):
                shown += chunk
        except OSError:
            pass  # how a terminal says that nobody writes to it any more
        assert process.wait(10) == 0
    return shown.decode().replace("\r\n", "\n")


# --- A real runtime ---


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(str(tmp_path)) as one:
        yield one


def command(runtime: Runtime, *words: str, code: int = 0) -> tuple[str, str]:
    """Run a `twin` command in a process of its own, check its exit code; return what it printed and complained of."""
    line = [sys.executable, "-m", "microedge", "--config", str(runtime.config_file), "twin", *words]
    done = subprocess.run(line, capture_output=True, text=True, timeout=15, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout, done.stderr


def seen_by_the_module(runtime: Runtime) -> Any:
    reported = json.loads(command(runtime, "get", "pump", "--json", "--reported")[0])
    return json.loads(reported.get("seen", "{}"))


def max_seen(runtime: Runtime) -> Any:
    return seen_by_the_module(runtime).get("limits", {}).get("max")


def test_what_is_set_reaches_the_module_and_the_saved_copy(tmp_path: Path):
    with Runtime(tmp_path, {"probe": Source(_TELLS, tables=_TABLES)}, config=_CONFIG) as runtime:
        runtime.wait_running("pump")

        set_now, _ = command(runtime, "set", "pump", "interval_s=5", "limits.max=", "--unset", "name")
        assert set_now == "pump: interval_s = 5, limits.max removed, name removed; desired version 3; delivered\n"
        wanted = {"interval_s": 5, "limits": {"min": 0}}
        runtime.wait_for(lambda: seen_by_the_module(runtime) == wanted, "a report of what was set")
        command(runtime, "set", "pump", "--tags", "site=hall 3")

        blamed, _ = command(runtime, "get", "pump", "--desired", "--blame")
        assert re.search(r"^  interval_s  5      command line   +\S+ s  10$", blamed, re.MULTILINE)
        assert re.search(r"^  limits.min  0      image default  +\S+ s  -$", blamed, re.MULTILINE)
        assert '  in vain: name = "wall" from the configuration; the command line or edited file' in blamed
        happened, _ = command(runtime, "history", "pump", "-n", "2")
        assert re.sub(r"^[\d:.]+ ", "", happened, flags=re.MULTILINE) == (
            "command line: desired version 3\n  interval_s: 10 -> 5\n  limits.max: 40 -> (removed)\n"
            '  name: "wall" -> (removed)\n'
            'command line: tags version 6\n  site: (none) -> "hall 3"\n'
        ).replace("tags version 6", re.search(r"tags version \d+", happened)[0])

        runtime.request("stop", module="pump")
        later, _ = command(runtime, "set", "pump", "interval_s=6")
        assert later.endswith("; the module will get it when it runs\n")

        live = json.loads(command(runtime, "get", "pump", "--json", "--blame")[0])
        assert runtime.stop() == 0
        saved, complaint = command(runtime, "get", "pump", "--json", "--blame")
        assert json.loads(saved) == {**live, "lastActivityTime": json.loads(saved)["lastActivityTime"]}
        assert complaint.startswith("microedge is not running: this is the saved copy")
        assert "interval_s: 5 -> 6" in command(runtime, "history", "pump", "-n", "1")[0]
        assert command(runtime, "get", "nobody", code=3)[0] == ""
        command(runtime, "set", "pump", "interval_s=7", code=3)


def test_a_key_of_the_upstream_is_refused_with_what_to_do(tmp_path: Path, broker: Mosquitto):
    upstream = f'[upstream]\ntype = "mqtt"\nurl = "mqtt://127.0.0.1:{broker.port}"\n'
    modules: dict[str, Source | str] = {"probe": Source(_TELLS, tables=_TABLES)}
    with Runtime(tmp_path / "run", modules, config=_CONFIG, upstream=upstream) as runtime:
        runtime.wait_running("pump")
        topic = "microedge/bench/pump/twin/desired"
        publish.single(topic, b'{"limits": {"max": 30}}', qos=1, retain=True, hostname="127.0.0.1", port=broker.port)
        runtime.wait_for(lambda: max_seen(runtime) == 30, "the upstream's document")

        _, complaint = command(runtime, "set", "pump", "limits.max=50", "interval_s=5", code=1)

        assert complaint == (
            "microedge: properties.desired.limits.max = 50: expected a key that the upstream does not set; "
            "the upstream says 30: change it there\n"
            "  nothing was changed; who says what: microedge twin get pump --blame\n"
        )
        assert seen_by_the_module(runtime)["interval_s"] == 10
        assert "command line: desired refused\n" in command(runtime, "history", "pump")[0]


def test_a_refused_edit_is_told_by_get_status_check_and_history(tmp_path: Path):
    with Runtime(tmp_path, {"probe": Source(_TELLS, tables=_TABLES)}, config=_CONFIG) as runtime:
        runtime.wait_running("pump")
        runtime.wait_for(lambda: seen_by_the_module(runtime), "a report")
        file = runtime.state_dir / "twins" / "pump.json"
        runtime.wait_for(file.exists, "the twin's file")
        text = file.read_text()
        file.write_text(text.replace('"interval_s": 10', '"interval s": 10', 1))
        runtime.wait_for(lambda: "refused" in command(runtime, "history", "pump")[0], "a refusal")

        assert "problem        the edit of" in command(runtime, "get", "pump")[0]
        assert "file: desired refused\n  line " in command(runtime, "history", "pump")[0]
        status = runtime.request("status", module="pump")["modules"][0]["twin"]
        assert "refused" in status["problem"]
