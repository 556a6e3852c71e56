"""The supervisor as a child process of `microedge run --live`."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from typing import IO

from microedge.cli.lines import LineBuffer

_PR_SET_PDEATHSIG = 1
_CLOSE_TIMEOUT_S = 5.0


class Child:
    """Runs `microedge --config FILE run` in a session of its own, so that Ctrl-C reaches only us and we stop it."""

    def __init__(self, config_file: str) -> None:
        self._command = [sys.executable, "-m", "microedge", "--config", config_file, "run"]
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: LineBuffer | None = None

    def open(self) -> None:
        """Start it. Its standard output and error become `output`."""
        libc = ctypes.CDLL(None, use_errno=True)  # loaded before the fork

        def stop_with_parent() -> None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # A single-threaded parent: no lock can be held at the fork. SIGKILL of us must not leave it behind.
            preexec_fn=stop_with_parent,  # noqa: PLW1509
        )
        os.set_blocking(self.output.fileno(), False)
        self._lines = LineBuffer(self.output.fileno(), self.output)

    @property
    def output(self) -> IO[bytes]:
        """What it prints, as a descriptor that does not block."""
        assert self._process is not None, "open() first"
        assert self._process.stdout is not None, "opened with a pipe"
        return self._process.stdout

    @property
    def is_at_end(self) -> bool:
        return self._lines is None or self._lines.is_at_end

    def read_lines(self) -> list[bytes]:
        """Return the lines it has printed since the last call."""
        return self._lines.read_lines() if self._lines is not None else []

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self, timeout_s: float) -> int:
        """Send SIGTERM and return its exit code; after `timeout_s` seconds it is killed."""
        assert self._process is not None, "open() first"
        self._process.terminate()
        deadline_s = time.monotonic() + timeout_s
        while self._process.poll() is None:
            if time.monotonic() > deadline_s:
                self.kill()
                break
            self.read_lines()  # a full pipe would keep it from ending
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.02)
        return self._process.returncode or 0

    def wait(self) -> int:
        """Return the exit code of a child that has ended; negative for a signal. What it printed can still be read."""
        assert self._process is not None, "open() first"
        return self._process.wait()

    def kill(self) -> None:
        """End it at once."""
        assert self._process is not None, "open() first"
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Leave no process and no pipe behind."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self.stop(_CLOSE_TIMEOUT_S)
        with contextlib.suppress(OSError):
            self.output.close()
