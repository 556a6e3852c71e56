"""The tutorial is so: what it says to write is written, each command runs, and each output looks as shown."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.serial_line import ROOT

PAGE = ROOT / "docs/first-module.md"
DEADLINE_S = 25.0  # for an output to look as shown: a message that fails is tried again for 15 s
LIVE = "microedge run --live"

_STEP = re.compile(
    r"^<!-- file: (?P<file>\S+) -->\n(?:<!-- run: [^\n]* -->\n)?```\w+\n(?P<text>.*?)^```"
    r"|^```console\n(?P<console>.*?)^```|^<!-- (?P<stop>stop) -->",
    re.MULTILINE | re.DOTALL,
)


def steps() -> list[re.Match[str]]:
    return list(_STEP.finditer(PAGE.read_text(encoding="utf-8")))


def commands(console: str) -> Iterator[tuple[str, list[str]]]:
    """Yield (command, the lines that it is said to print)."""
    for part in re.split(r"^\$ ", console, flags=re.MULTILINE)[1:]:
        command, *lines = part.splitlines()
        yield command, lines


def masked(line: str) -> str:
    """Return a line without what differs from run to run or machine to machine: numbers, units, ids, clocks, widths."""
    line = re.sub(r"\b[0-9a-f]{12}-\d+", "ID", line)
    line = re.sub(r"\d+(?:[.:-]\d+)*", "#", line)
    line = re.sub(r"# (?:KiB|MiB|ms|s|min)\b", "# UNIT", line)
    line = re.sub(r'"time_quality":"\w+"', '"time_quality":"any"', line)
    return re.sub(r"\s+", " ", line).strip()


def pattern_of(lines: list[str]) -> re.Pattern[str]:
    """Return what an output as shown matches: `...` as a line stands for any lines, within one for any text."""
    parts = [
        "(?:.*\n)*?" if line.strip() == "..." else ".*".join(map(re.escape, masked(line).split("..."))) + "\n"
        for line in lines
    ]
    return re.compile("".join(parts))


def looks_as_shown(output: str, lines: list[str], *, to_the_end: bool) -> bool:
    text = "".join(masked(line) + "\n" for line in output.splitlines())
    pattern = pattern_of(lines)
    return bool(pattern.fullmatch(text) if to_the_end else pattern.match(text))


class Reader:
    """A person who follows the tutorial, with a terminal for microedge and one for everything else."""

    def __init__(self, directory: Path) -> None:
        self._here = directory / "home"
        self._here.mkdir()
        self._live_file = directory / "live.txt"
        self._live: subprocess.Popen[bytes] | None = None
        bin_dir = directory / "bin"
        bin_dir.mkdir()
        for name, arguments in (("microedge", " -m microedge"), ("python", "")):
            (bin_dir / name).write_text(f'#!/bin/sh\nexec {sys.executable}{arguments} "$@"\n')
            (bin_dir / name).chmod(0o755)
        path = f"{bin_dir}:{os.environ['PATH']}"
        self._environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}

    def follow(self, step: re.Match[str]) -> None:
        if step["stop"]:
            self.stop()
        elif step["file"]:
            (self._here / step["file"]).write_text(step["text"], encoding="utf-8")
        else:
            for command, lines in commands(step["console"]):
                self._type(command, lines)

    def stop(self) -> None:
        """Press Ctrl-C in the first terminal."""
        if self._live is None:
            return
        self._live.send_signal(signal.SIGINT)
        code, self._live = self._live.wait(20), None
        assert code == 0, self._live_file.read_text()

    def _type(self, command: str, lines: list[str]) -> None:
        if command.startswith("cd "):
            self._here /= command[3:]
        elif command == LIVE:
            self._run_live(lines)
        else:
            self._run(command, lines)

    def _run_live(self, lines: list[str]) -> None:
        with self._live_file.open("wb") as output:
            self._live = subprocess.Popen(
                LIVE.split(),
                cwd=self._here,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._until(self._live_file.read_text, lines, LIVE, to_the_end=False)

    def _run(self, command: str, lines: list[str]) -> None:
        """Type a command; one that only looks is typed again until things have come as far as the page says."""
        changes = re.match(r"microedge (?:init|send|module new)\b", command)
        self._until(lambda: self._output_of(command), lines, command, is_once=bool(changes))

    def _output_of(self, command: str) -> str:
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self._here,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=20,
            check=False,
        )
        return done.stdout

    def _until(self, look, lines: list[str], command: str, *, to_the_end: bool = True, is_once: bool = False) -> None:
        deadline_s = time.monotonic() + DEADLINE_S
        while not looks_as_shown(output := look(), lines, to_the_end=to_the_end):
            if is_once or time.monotonic() > deadline_s:
                shown = "\n".join(lines)
                raise AssertionError(f"$ {command}\n{output}\n--- is shown as\n{shown}")
            time.sleep(0.2)


@pytest.mark.timeout(180)
def test_everything_in_the_tutorial_happens_as_it_says(tmp_path):
    reader = Reader(tmp_path)
    try:
        for step in steps():
            reader.follow(step)
    finally:
        reader.stop()


def test_the_tutorial_has_steps_of_every_kind():
    found = steps()

    assert sum(step["console"] is not None for step in found) >= 9
    assert sorted(step["file"] for step in found if step["file"]) == [
        "microedge.toml",
        "modules/soil_probe/__init__.py",
        "modules/soil_probe/module.toml",
        "test_soil_probe.py",
    ]


@pytest.mark.parametrize(
    ("output", "lines", "is_so"),
    [
        ("a 1\nb 2\n", ["a 7", "b 8"], True),
        ("a 1\nb 2\n", ["a 7"], False),
        ("a 1\nx\ny\nb 2\n", ["a 7", "...", "b 8"], True),
        ("up 1.0 s,  4 KiB\n", ["up 20 min, 4.5 MiB"], True),
        ("message cli-1 failed\n", ["message ... failed"], True),
        ("a x\n", ["a y"], False),
        ("", ["..."], True),
    ],
)
def test_an_output_is_compared_but_for_what_differs_from_run_to_run(output, lines, is_so):
    assert looks_as_shown(output, lines, to_the_end=True) is is_so
