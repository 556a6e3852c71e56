"""A serial line with a simulated sensor at one end and a real bridge process at the other."""

from __future__ import annotations

import importlib.util
import json
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parents[2]


def load_package(directory: str, name: str) -> ModuleType:
    """Import a module image or a tool from its place in the repository, under its own name."""
    if name in sys.modules:
        return sys.modules[name]
    file = ROOT / directory / name / "__init__.py"
    is_package = file.exists()
    spec = importlib.util.spec_from_file_location(
        name,
        file if is_package else ROOT / directory / f"{name}.py",
        submodule_search_locations=[str(file.parent)] if is_package else None,
    )
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


sersim = load_package("firmware-tools", "sersim")


class RunningModule:
    """A module under `python -m microedge.sdk.run`: its messages and its log, while it runs."""

    def __init__(self, image: str, desired: dict[str, Any], *arguments: str) -> None:
        command = [sys.executable, "-m", "microedge.sdk.run", str(ROOT / "modules" / image)]
        command += ["--desired", json.dumps(desired), *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        self.messages: list[dict[str, Any]] = []
        self.reports: list[dict[str, Any]] = []
        self.log: list[str] = []
        self._arrivals: queue.Queue[None] = queue.Queue()
        self._threads = [
            threading.Thread(target=self._collect, args=(self.process.stdout, self._add_message)),
            threading.Thread(target=self._collect, args=(self.process.stderr, self.log.append)),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def readings(self) -> list[dict[str, Any]]:
        return [message["body"] for message in self.messages if message["output"] == "readings"]

    @property
    def last_status(self) -> dict[str, Any]:
        status: dict[str, Any] = [m["body"] for m in self.messages if m["output"] == "status"][-1]
        return status

    def wait_for_readings(self, count: int, timeout_s: float = 10.0) -> None:
        self.wait_until(lambda: len(self.readings) >= count, timeout_s)

    def wait_for_log(self, text: str, timeout_s: float = 10.0) -> None:
        self.wait_until(lambda: any(text in line for line in self.log), timeout_s)

    def wait_until(self, holds: Any, timeout_s: float = 10.0) -> None:
        """Block until `holds()`; fail with the log when `timeout_s` is over."""
        deadline_s = time.monotonic() + timeout_s
        while not holds():
            assert time.monotonic() < deadline_s, f"log: {self.log}\nlast messages: {self.messages[-3:]}"
            try:
                self._arrivals.get(timeout=0.05)
            except queue.Empty:
                continue

    def stop(self) -> int:
        """Ask the module to stop; return its exit code once everything it said is here."""
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(15)
        for thread in self._threads:
            thread.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return code

    def __enter__(self) -> RunningModule:
        return self

    def __exit__(self, *reason: object) -> None:
        self.stop()

    def _add_message(self, line: str) -> None:
        found = json.loads(line)
        (self.messages if "output" in found else self.reports).append(found)

    def _collect(self, stream: Any, add: Any) -> None:
        for line in stream:
            add(line.rstrip("\n"))
            self._arrivals.put(None)


class Feeder:
    """Plays a sensor in a thread: numbered readings through a SensorPty, as fast as `interval_s` says."""

    def __init__(self, pty: Any, *, interval_s: float = 0.005, format: str = "json", noise: Any = None) -> None:  # noqa: A002
        self.pty, self.sent = pty, 0
        self._interval_s, self._format, self._noise = interval_s, format, noise
        self._is_stopping = threading.Event()
        self._lock = threading.Lock()  # a plug is pulled between two system calls, not during one
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Feeder:
        self._thread.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._is_stopping.set()
        self._thread.join()

    def cut(self, half_a_line: bytes) -> None:
        """Unplug in the middle of a line."""
        with self._lock:
            self.pty.write(half_a_line)
            self.pty.unplug()

    def plug(self) -> None:
        with self._lock:
            self.pty.plug()

    def _run(self) -> None:
        while not self._is_stopping.wait(self._interval_s):
            with self._lock:
                if not self.pty.is_plugged or not self.pty.has_listener:
                    continue
                line = sersim.encode(sersim.reading(self.sent + 1), self._format) + b"\n"
                self.sent += 1
                self.pty.write(self._noise.spoil(line) if self._noise else line)
