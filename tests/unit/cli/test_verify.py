"""The command itself on files: what it says about the source, and what the supervisor of this device adds."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from support.control import FakeSupervisor

from microedge.cli import verify
from microedge.cli.main import main
from microedge.cli.verify import Progress


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MICROEDGE_CONFIG", raising=False)
    monkeypatch.delenv("MICROEDGE_SOCKET", raising=False)
    (tmp_path / "microedge.toml").write_text('[upstream]\ntype = "file"\npath = "../up.jsonl"\n')
    return tmp_path


def write(file: Path, *sequences: int) -> None:
    file.write_text("".join(f'{{"message_id":"a-{number}","module":"probe"}}\n' for number in sequences))


def test_what_the_supervisor_knows_about_gaps_is_told(home, capsys):
    write(home / "up.jsonl", 1, 3)
    with FakeSupervisor(str(home / "state" / "control.sock")):
        assert main(["verify", "--json"]) == 1

    assert json.loads(capsys.readouterr().out)["notes"] == [
        "12 messages still to be delivered from this device",
        "microedge itself has dropped, of all modules and since its queue was made: evicted 1,200, ttl 3",
    ]


def test_what_was_dropped_is_no_matter_where_nothing_is_missing(home, capsys):
    write(home / "up.jsonl", 1, 2)
    with FakeSupervisor(str(home / "state" / "control.sock")):
        assert main(["verify", "--json"]) == 0

    assert json.loads(capsys.readouterr().out)["notes"] == ["12 messages still to be delivered from this device"]


def test_a_recording_from_anywhere_is_not_the_business_of_the_supervisor_here(home, capsys):
    write(home / "other.jsonl", 1, 3)
    with FakeSupervisor(str(home / "state" / "control.sock")) as supervisor:
        assert main(["verify", "other.jsonl", "--json"]) == 1

    assert json.loads(capsys.readouterr().out)["notes"] == []
    assert supervisor.requests == []


def test_an_upstream_that_is_a_file_is_not_listened_to(home, capsys):
    assert main(["verify", "--idle", "3"]) == 2
    assert "the upstream is a file" in capsys.readouterr().err


def test_a_device_without_an_upstream_has_nothing_to_verify(home, capsys):
    (home / "microedge.toml").write_text("")

    assert main(["verify"]) == 2
    assert "this device has no upstream" in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_one_line_that_goes_away(monkeypatch):
    now = iter((0.0, 0.0, 0.1, 9.0, 9.0))
    monkeypatch.setattr(verify.time, "monotonic", lambda: next(now))
    terminal = Terminal()
    progress = Progress(terminal)
    for text in ("one", "two", "three"):
        progress.show(lambda text=text: text)
    progress.end()

    assert terminal.getvalue() == "\rone\x1b[K\rthree\x1b[K\r\x1b[K"


def test_there_is_no_progress_but_on_a_terminal():
    stream = io.StringIO()
    progress = Progress(stream)
    progress.show(lambda: "one")
    progress.end()

    assert stream.getvalue() == ""
