"""The whole runtime as a user runs it: a directory with a configuration and modules, and the real supervisor."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from microedge.cli.client import ControlClient
from microedge.cli.failure import CommandError
from microedge.errors import NotRunningError

IMAGES = Path(__file__).parent / "images"
START_TIMEOUT_S = 15.0


def configuration(port: int, *parts: str, store: str = "linger_ms = 500") -> str:
    """Return a microedge.toml with the broker at `port`; `parts` are further tables."""
    upstream = f'[upstream]\ntype = "mqtt"\nurl = "mqtt://127.0.0.1:{port}"'
    return "\n".join(('[device]\nid = "greenhouse-7"', upstream, f"[store]\nkeep_free_mib = 0\n{store}", *parts, ""))


def producer(name: str, **desired: object) -> str:
    """Return the table of one instance of the image `producer`."""
    values = ", ".join(f"{key} = {_toml(value)}" for key, value in desired.items())
    return f'[modules.{name}]\nimage = "producer"\ndesired = {{ {values} }}'


def _toml(value: object) -> str:
    return json.dumps(value)  # what is used here is written alike in both


class Device:
    """One device. `start`, `kill` and `stop` may alternate; what it said is in `log`."""

    def __init__(self, directory: Path, config: str, *, images: tuple[str, ...] = ()) -> None:
        """`config` is microedge.toml; `images` are the test images that are dropped in."""
        self.directory = directory
        self.state = directory / "state"
        self.process: subprocess.Popen[bytes] | None = None
        self._config = directory / "microedge.toml"
        self._config.write_text(config)
        self._client = ControlClient(str(self.state / "control.sock"))
        for image in images:
            shutil.copytree(IMAGES / image, directory / "modules" / image)

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def log(self) -> str:
        """Everything that the supervisor has written so far."""
        file = self.directory / "microedge.log"
        return file.read_text(errors="replace") if file.exists() else ""

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self, *, is_awaited: bool = True) -> None:
        """Start the supervisor; with `is_awaited` return only when it answers."""
        command = [sys.executable, "-m", "microedge", "--config", str(self._config), "run"]
        with open(self.directory / "microedge.log", "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if is_awaited:
            self.wait_until(self.is_answering, START_TIMEOUT_S)

    def is_answering(self) -> bool:
        try:
            self.status()
        except (NotRunningError, CommandError, OSError):
            return False
        return True

    def kill(self) -> None:
        """SIGKILL, as the power switch or the kernel's OOM killer; harmless when it does not run."""
        self._end(signal.SIGKILL, 10)

    def stop(self, timeout_s: float = 20) -> int:
        """SIGTERM; return the exit code. Fails when that takes longer than `timeout_s`."""
        return self._end(signal.SIGTERM, timeout_s)

    def ask(self, command: str, **arguments: object) -> Any:
        """Return the supervisor's answer on its control socket."""
        return self._client.request(command, **arguments)

    def status(self) -> Any:
        return self.ask("status")

    def module(self, name: str) -> Any:
        """Return what `status` says about one module; nothing but a state while it is not known yet."""
        known = {module["name"]: module for module in self.status()["modules"]}
        return known.get(name, {"state": "unknown"})

    def module_log(self, name: str) -> list[str]:
        return [line["text"] for line in self.ask("logs", module=name, lines=1000)["lines"]]

    def data(self, name: str) -> Path:
        """The directory that an instance may write to."""
        path = self.state / "data" / name
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def pause(self, *names: str, is_paused: bool = True) -> None:
        """Let producers send nothing new, or go on; may be called before they run."""
        for name in names:
            file = self.data(name) / "pause"
            file.touch() if is_paused else file.unlink(missing_ok=True)

    def wait_until(self, holds: Callable[[], object], timeout_s: float = 10.0, *, every_s: float = 0.02) -> None:
        """Block until `holds()`; fail with the end of the log when `timeout_s` is over or the supervisor ends."""
        deadline_s = time.monotonic() + timeout_s
        while not holds():
            has_ended = self.process is not None and self.process.poll() is not None
            assert not has_ended, f"microedge has ended\n{self.log[-3000:]}"
            assert time.monotonic() < deadline_s, f"not within {timeout_s} s: log:\n{self.log[-3000:]}"
            time.sleep(every_s)

    def _end(self, signum: int, timeout_s: float) -> int:
        process = self.process
        if process is None:
            return 0
        if process.poll() is None:
            os.kill(process.pid, signum)
        code = process.wait(timeout_s)
        self.process = None
        return code
