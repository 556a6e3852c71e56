"""`microedge run --live` with a real supervisor."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.control import MESSAGE, FakeSupervisor

from microedge.cli.main import main

DEADLINE_S = 15.0


@pytest.fixture
def home(tmp_path: Path) -> Path:
    main(["init", str(tmp_path)])
    return tmp_path


class Live:
    """One run and what it has printed so far."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process, self.descriptor = process, descriptor
        self.text = ""

    def wait_for(self, pattern: str) -> None:
        """Read until `pattern` is there."""
        deadline_s = time.monotonic() + DEADLINE_S
        while not re.search(pattern, self.text, re.DOTALL):
            assert time.monotonic() < deadline_s, f"no {pattern!r} in:\n{self.text}"
            assert self._read(0.1) or self.process.poll() is None, f"ended without {pattern!r}:\n{self.text}"

    def end(self) -> int:
        """Read until it ends; return its exit code."""
        while self._read(0.1) or self.process.poll() is None:
            pass
        return self.process.wait(DEADLINE_S)

    def _read(self, timeout_s: float) -> bool:
        if not select.select([self.descriptor], [], [], timeout_s)[0]:
            return False
        try:
            chunk = os.read(self.descriptor, 65536)
        except OSError:  # a pty whose other side has closed
            return False
        self.text += chunk.decode()
        return bool(chunk)


@contextlib.contextmanager
def live(home: Path, *line: str, on_terminal: bool = False) -> Iterator[Live]:
    ours, theirs = pty.openpty() if on_terminal else os.pipe()
    if on_terminal:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 40, 100, 0, 0))
    environ = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    command = [sys.executable, "-m", "microedge", *(line or ("run", "--live"))]
    process = subprocess.Popen(
        command, cwd=home, stdout=theirs, stderr=theirs, env={**environ, "TERM": "xterm"}, start_new_session=True
    )
    os.close(theirs)
    try:
        yield Live(process, ours)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(DEADLINE_S)
        os.close(ours)


def test_it_shows_messages_and_the_status_until_ctrl_c(home):
    with live(home) as run:
        run.wait_for(r"sensor/readings \{")
        run.wait_for("NAME +IMAGE +STATE")
        run.process.send_signal(signal.SIGINT)

        assert run.end() == 0
    assert run.text.startswith("Each message is shown as its module sends it.")
    assert "microedge status" in run.text
    assert run.text.endswith("stopped\n")
    assert "\x1b" not in run.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_it_leaves_no_supervisor_behind(home, number):
    with live(home) as run:
        run.wait_for(r"sensor/readings \{")
        children = psutil.Process(run.process.pid).children(recursive=True)
        run.process.send_signal(number)
        run.end()

    assert children
    assert [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == []


def test_killed_itself_it_leaves_no_supervisor_behind(home):
    with live(home) as run:
        run.wait_for(r"sensor/readings \{")
        children = psutil.Process(run.process.pid).children(recursive=True)
        run.process.kill()
        run.end()
        _, alive = psutil.wait_procs(children, timeout=DEADLINE_S)

    assert children
    assert [child for child in alive if child.status() != psutil.STATUS_ZOMBIE] == []


def test_a_terminal_keeps_the_status_below_the_messages(home):
    with live(home, on_terminal=True) as run:
        run.wait_for(r"\x1b\[32mrunning.*\x1b\[\d+A\r\x1b\[J.*sensor/readings")
        run.process.send_signal(signal.SIGINT)

        assert run.end() == 0


def test_a_supervisor_that_cannot_start_says_why(home):
    (home / "microedge.toml").write_text('[paths]\nstate = "microedge.toml/state"\n')

    with live(home) as run:
        code = run.end()

    assert code == 1
    assert "Not a directory" in run.text
    assert "the supervisor ended by itself with exit code 1\n  what it said last is above" in run.text


def test_a_supervisor_that_is_killed_is_noticed(home):
    with live(home) as run:
        run.wait_for(r"sensor/readings \{")
        (supervisor,) = psutil.Process(run.process.pid).children()
        supervisor.kill()

        assert run.end() == 1
    assert "the supervisor ended by itself by signal 9" in run.text


def test_a_wrong_configuration_is_told_before_anything_starts(home):
    (home / "microedge.toml").write_text("[devise]\n")

    with live(home) as run:
        code = run.end()

    assert code == 78
    assert run.text.startswith(f"microedge: {home}/microedge.toml:1: ")


def test_a_supervisor_that_runs_already_is_shown_and_left_running(home):
    with FakeSupervisor(str(home / "state" / "control.sock")) as fake:
        fake.hold_streams = True
        with live(home) as run:
            run.wait_for("running already.*north/readings.*greenhouse-7")
            run.process.send_signal(signal.SIGINT)

            assert run.end() == 0


def test_a_flood_is_counted_and_not_shown(home):
    with FakeSupervisor(str(home / "state" / "control.sock")) as fake:
        fake.hold_streams = True
        fake.events["tail"] = [MESSAGE] * 5000
        with live(home) as run:
            run.wait_for(r"\.\.\. and [\d,]+ more")
            run.process.send_signal(signal.SIGINT)
            run.end()

    assert run.text.count("north/readings") < 100
