"""A real runtime in a directory of its own: modules from source text, a configuration, and what comes out of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from microedge.cli.client import ControlClient, event_of
from microedge.cli.failure import CommandError
from microedge.errors import NotRunningError

DEADLINE_S = 10.0  # for anything that takes a moment: two busy cores may need seconds
_MARK = "MICROEDGE_TEST_RUNTIME"

STEADY = """
def main(client):
    client.ready()
    count = 0
    while client.wait(0.02):
        count += 1
        client.send("readings", {"count": count})
"""
"""A sibling that minds its own business: fifty numbered readings a second."""


@dataclass(frozen=True)
class Source:
    """A module image as text. `tables` is TOML that follows [module] and [ports]; its timeouts are short by default."""

    code: str = STEADY
    outputs: tuple[str, ...] = ("readings",)
    inputs: tuple[str, ...] = ()
    launch: str = "fork"
    tables: str = "[supervision]\nready_timeout_s = 5\nstop_timeout_s = 2\nhang_timeout_s = 5\n"
    files: dict[str, str] = field(default_factory=dict)

    def write(self, modules: Path, name: str) -> Path:
        """Write the image below `modules` under a name that discovery ignores, then move it into its place."""
        waiting = modules.parent / f".{name}-{uuid.uuid4().hex[:8]}"
        waiting.mkdir(parents=True)
        for file, text in {"module.toml": self.manifest(name), "__init__.py": self.code, **self.files}.items():
            (waiting / file).write_text(text)
        directory = modules / name
        if directory.exists():
            directory.rename(modules.parent / f".old-{uuid.uuid4().hex[:8]}")
        modules.mkdir(exist_ok=True)
        return waiting.rename(directory)

    def manifest(self, name: str) -> str:
        head = f'[module]\nschema = 1\nname = "{name}"\nversion = "1.0.0"\nlaunch = "{self.launch}"\n'
        ports = f"[ports]\ninputs = {json.dumps(self.inputs)}\noutputs = {json.dumps(self.outputs)}\n"
        return head + ports + self.tables


class Runtime:
    """`python -m microedge --config ... run` as a process. A context: whatever it started is gone afterwards."""

    def __init__(
        self,
        directory: Path,
        modules: dict[str, Source | str] | None = None,
        *,
        config: str = "",
        upstream: str = "",
        environment: dict[str, str] | None = None,
    ) -> None:
        """`config` follows the sections that are always there; `upstream` replaces the file upstream."""
        self.directory = directory
        self.modules_dir = directory / "modules"
        self.state_dir = directory / "state"
        self.config_file = directory / "microedge.toml"
        self.upstream_file = directory / "out" / "messages.jsonl"
        self._upstream = upstream or f'[upstream]\ntype = "file"\npath = "{self.upstream_file}"\n'
        self._environment = environment or {}
        self._mark = uuid.uuid4().hex
        self._output: list[str] = []
        self._reader: threading.Thread | None = None
        self.process: subprocess.Popen[str] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        self.modules_dir.mkdir(exist_ok=True)
        self.upstream_file.parent.mkdir(exist_ok=True)
        self.write_config(config)
        for name, source in (modules or {}).items():
            self.add(name, source)
        settled = time.time() + 0.6  # discovery leaves alone what changed within the last half second
        self._settled = settled if modules else 0.0

    def write_config(self, config: str) -> None:
        self.config_file.write_text(f'[device]\nid = "bench"\n{self._upstream}{config}')

    def add(self, name: str, source: Source | str) -> Path:
        """Drop a module image into the modules directory in one move."""
        source = Source(source) if isinstance(source, str) else source
        return source.write(self.modules_dir, name)

    def __enter__(self) -> Runtime:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.kill_everything()

    # --- Its process ---

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.launch()
        self.wait_for(self._answers, "an answer on the control socket")

    def launch(self, wrapper: tuple[str, ...] = ()) -> None:
        """Start it and do not wait."""
        time.sleep(max(0.0, self._settled - time.time()))
        command = [*wrapper, sys.executable, "-m", "microedge", "--config", str(self.config_file), "run"]
        environment = {**os.environ, **self._environment, _MARK: self._mark}
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=environment, cwd=self.directory,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read_output, args=(self.process,), daemon=True)
        self._reader.start()

    def stop(self, signum: int = signal.SIGTERM, timeout_s: float = 15.0) -> int:
        """Ask it to stop and return its exit code."""
        assert self.process is not None
        self.process.send_signal(signum)
        return self.wait_exit(timeout_s)

    def wait_exit(self, timeout_s: float = 15.0) -> int:
        assert self.process is not None
        code = self.process.wait(timeout_s)
        self._join_reader()
        return code

    def sigkill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(5)
        self._join_reader()

    def hangup(self) -> None:
        os.kill(self.pid, signal.SIGHUP)

    @property
    def output(self) -> str:
        """What it has written to the terminal."""
        return "".join(self._output)

    def everything(self) -> list[int]:
        """Return the pids of all processes that descend from this runtime, wherever they have gone."""
        mark = f"{_MARK}={self._mark}".encode()
        return [int(name) for name in os.listdir("/proc") if name.isdigit() and mark in _environment_of(name)]

    def kill_everything(self) -> None:
        for pid in self.everything():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.process is not None:
            self.process.kill()
            self.process.wait(5)
            self._join_reader()

    # --- What it says ---

    def client(self) -> ControlClient:
        return ControlClient(str(self.state_dir / "control.sock"))

    def request(self, command: str, **arguments: Any) -> Any:
        return self.client().request(command, **arguments)

    def status(self) -> dict[str, Any]:
        return self.request("status")

    def module(self, name: str) -> dict[str, Any]:
        """Return the status of one module, {} when there is none of that name."""
        return next((module for module in self.status()["modules"] if module["name"] == name), {})

    def logs(self, name: str) -> list[str]:
        """Return the text of the last lines of a module's log, or of the "supervisor"."""
        return [line["text"] for line in self.request("logs", module=name, lines=1_000)["lines"]]

    def tail(self, count: int, **selection: str) -> Iterator[dict[str, Any]]:
        """Yield the next `count` live messages."""
        with closing(self.client().stream("tail", **selection)) as events:
            for _, event in zip(range(count), events):
                yield event

    def watch_messages(self, **selection: str) -> tuple[Any, Callable[[], dict[str, Any]]]:
        """Return an open tail's socket, to be closed, and a function that blocks for the next message."""
        sock = self.client().open_stream("tail", **selection)
        sock.settimeout(DEADLINE_S)
        reader = sock.makefile("rb")
        return sock, lambda: event_of(reader.readline())

    def upstream_lines(self) -> list[dict[str, Any]]:
        if not self.upstream_file.exists():
            return []
        return [json.loads(line) for line in self.upstream_file.read_text().splitlines()]

    def counts(self, module: str) -> list[int]:
        """Return the numbers that a STEADY module has brought upstream."""
        return [line["body"]["count"] for line in self.upstream_lines() if line["module"] == module]

    # --- Waiting ---

    def wait_for(self, condition: Callable[[], Any], what: str, timeout_s: float = DEADLINE_S) -> Any:
        """Return the first true value of `condition()`.

        Raises:
            AssertionError: there was none in time; the text shows what the runtime printed.
        """
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            found = condition()
            if found:
                return found
            if self.process is not None and self.process.poll() is not None:
                self._join_reader()
                raise AssertionError(f"microedge ended with {self.process.returncode}:\n{self.output}")
            time.sleep(0.02)
        raise AssertionError(f"no {what} within {timeout_s} s; status: {self._last_status()}\n{self.output}")

    def wait_state(self, name: str, *states: str, timeout_s: float = DEADLINE_S) -> dict[str, Any]:
        """Wait until a module is in one of the states and return its status."""

        def arrived() -> dict[str, Any]:
            module = self.module(name)
            return module if module and module["state"] in states else {}

        return self.wait_for(arrived, f"module {name} in state {' or '.join(states)}", timeout_s)

    def wait_running(self, *names: str) -> None:
        for name in names:
            self.wait_state(name, "running")

    def wait_log(self, name: str, text: str, timeout_s: float = DEADLINE_S) -> str:
        """Wait until a line of the log contains `text` and return it."""

        def found() -> str:
            return next((line for line in self.logs(name) if text in line), "")

        return self.wait_for(found, f"line with {text!r} in the log of {name}", timeout_s)

    def assert_goes_on(self, name: str) -> None:
        """Assert that a STEADY module runs, still sends, and was never restarted."""
        before = self.module(name)
        self.wait_for(lambda: self.module(name)["sent"] > before["sent"] + 5, f"further messages of {name}")
        assert (before["state"], before["restarts"]) == ("running", 0)

    def wait_for_nothing_left(self, timeout_s: float = 2.0) -> None:
        """Wait until no process of this runtime exists, the supervisor included."""
        deadline_s = time.monotonic() + timeout_s
        while self.everything() and time.monotonic() < deadline_s:
            time.sleep(0.02)
        assert self.everything() == []

    # --- Private ---

    def _answers(self) -> bool:
        try:
            return bool(self.status())
        except (NotRunningError, CommandError):
            return False

    def _last_status(self) -> object:
        with suppress(Exception):
            return self.status()["modules"]
        return "none"

    def _read_output(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._output.append(line)

    def _join_reader(self) -> None:
        if self._reader is not None:
            self._reader.join(5)
        if self.process is not None and self.process.stdout is not None:
            self.process.stdout.close()


def _environment_of(pid: str) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:  # another user's, or gone
        return []
