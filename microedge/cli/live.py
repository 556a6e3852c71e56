"""`microedge run --live`: a supervisor as a child process, its messages as they come, and a status table.

One loop on one thread waits for three things: lines the supervisor prints, messages from its control socket, and the
time to show the status again. On a terminal the status stays at the bottom and is drawn over; elsewhere it is printed
now and then.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from microedge.cli.child import Child
from microedge.cli.client import ConnectionLostError, ControlClient, event_of
from microedge.cli.failure import FAILED, OK, CommandError
from microedge.cli.lines import LineBuffer
from microedge.cli.screen import Screen
from microedge.cli.settings import socket_path
from microedge.cli.status_view import render_status
from microedge.cli.tail import render_message
from microedge.cli.terminal import clean, look_of
from microedge.config.load import FILE_NAME, load
from microedge.errors import MicroedgeError, NotRunningError

START_TIMEOUT_S = 30.0  # a Pi Zero with a cold card needs seconds; a supervisor that is silent for longer is stuck
STOP_TIMEOUT_S = 30.0  # modules get stop_timeout_s (10 by default), then the queue is committed
TERMINAL_STATUS_S, PLAIN_STATUS_S = 2.0, 15.0
FIRST_STATUS_S = 1.0  # by then the modules are running; before, the table would only say that they are starting
MAX_LINES_PER_S = 10  # what a person can follow
_TICK_S, _START_TICK_S = 0.25, 0.02
_LAST_READS = 64  # of 64 KiB; bounded, because a process of the supervisor's own may hold its output open


def run_live(config_file: str, *, intro: str = "") -> int:
    """Run the supervisor of `config_file` until Ctrl-C or SIGTERM, showing what it does; return its exit code.

    `intro` is printed before anything else. A supervisor that already runs is shown and left running. Blocks.

    Raises:
        CommandError: the supervisor ended by itself or did not start; what it said has been printed.
        ConfigError: the configuration is wrong.
    """
    load(config_file)  # a mistake in it is this command's answer, not the child's
    client = ControlClient(socket_path(config_file))
    screen = Screen(sys.stdout, look_of(sys.stdout))
    child = None if _answers(client) else Child(config_file)
    if intro:
        screen.print(intro.rstrip("\n"))
    screen.print(_introduction(config_file, is_running=child is None))
    with _ending_like_ctrl_c():
        return _Live(client, screen, child).run()


class _Live:
    """What one run shows, and what it has seen so far."""

    def __init__(self, client: ControlClient, screen: Screen, child: Child | None) -> None:
        self._client, self._screen, self._child = client, screen, child
        self._selector = selectors.DefaultSelector()
        self._messages: LineBuffer | None = None
        self._next_status_s = 0.0
        self._status_interval_s = TERMINAL_STATUS_S if screen.is_terminal else PLAIN_STATUS_S
        self._limit = RateLimit(MAX_LINES_PER_S)

    def run(self) -> int:
        try:
            self._open()
            while self._is_going_on():
                self._step()
            return self._ended()
        except KeyboardInterrupt:
            return self._stop()
        finally:
            self._close()

    def _open(self) -> None:
        if self._child is not None:
            self._child.open()
            self._selector.register(self._child.output, selectors.EVENT_READ, self._read_child)
        stream = self._connect()
        if stream is None:
            return
        self._next_status_s = time.monotonic() + FIRST_STATUS_S
        stream.setblocking(False)
        self._messages = LineBuffer(stream.fileno(), stream)
        self._selector.register(stream, selectors.EVENT_READ, self._read_messages)

    def _connect(self) -> socket.socket | None:
        """Return the stream of messages as soon as the supervisor takes commands; None when it has ended."""
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while self._is_going_on():
            with contextlib.suppress(NotRunningError, ConnectionLostError):
                return self._client.open_stream("tail")
            if time.monotonic() > deadline_s:
                raise CommandError(f"the supervisor does not answer after {START_TIMEOUT_S:.0f} s", "microedge check")
            self._select(_START_TICK_S)
        return None

    def _is_going_on(self) -> bool:
        if self._child is not None:
            return self._child.is_running()
        return self._messages is None or not self._messages.is_at_end

    def _step(self) -> None:
        self._select(_TICK_S)
        now_s = time.monotonic()
        hidden = self._limit.take_hidden(now_s)
        if hidden:
            self._screen.print(f"  ... and {hidden:,} more")
        if now_s >= self._next_status_s:
            self._next_status_s = now_s + self._status_interval_s
            self._show_status()
        self._screen.draw()

    def _select(self, timeout_s: float) -> None:
        for key, _ in self._selector.select(timeout_s):
            key.data()

    def _read_child(self) -> None:
        assert self._child is not None  # registered together with it
        look = self._screen.look
        for line in self._child.read_lines():  # few, and never left out: they say what goes wrong
            self._screen.print(look.paint(look.plain(clean(line, 1000)), "dim"))
        if self._child.is_at_end:
            self._selector.unregister(self._child.output)

    def _read_messages(self) -> None:
        assert self._messages is not None  # registered together with it
        for line in self._messages.read_lines():
            if self._limit.admits(time.monotonic()):
                self._screen.print(render_message(event_of(line), self._screen.look))
        if self._messages.is_at_end:
            self._selector.unregister(self._messages.source)

    def _show_status(self) -> None:
        try:
            document: dict[str, Any] = self._client.request("status", timeout_s=2.0)
        except MicroedgeError as error:
            self._screen.set_footer(f"no status: {clean(error)}")
            return
        self._screen.set_footer(render_status(document, self._screen.look))

    def _stop(self) -> int:
        self._screen.end()
        if self._child is None:
            return OK
        self._screen.print("stopping: modules finish, what waits is written to disk; Ctrl-C again ends it at once")
        try:
            code = self._child.stop(STOP_TIMEOUT_S)
        except KeyboardInterrupt:
            self._child.kill()
            self._screen.print("ended at once")
            return FAILED
        self._screen.print("stopped" if code == 0 else f"ended with exit code {code}")
        return code

    def _ended(self) -> int:
        self._screen.end()
        if self._child is None:
            self._screen.print("the supervisor has stopped")
            return OK
        code = self._child.wait()
        for _ in range(_LAST_READS):
            if not self._child.is_at_end:
                self._read_child()
        if code == 0:
            self._screen.print("the supervisor has stopped")
            return OK
        how = f"with exit code {code}" if code > 0 else f"by signal {-code}"
        advice = "what it said last is above; look at this device: microedge check"
        raise CommandError(f"the supervisor ended by itself {how}", advice, code if code > 0 else FAILED)

    def _close(self) -> None:
        self._selector.close()
        if self._messages is not None:
            self._messages.source.close()
        if self._child is not None:
            self._child.close()


class RateLimit:
    """Admits at most `per_s` lines in each second and counts the others. Pure: the time is an argument."""

    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        self._second = 0.0
        self._admitted = 0
        self._hidden = 0

    def admits(self, now_s: float) -> bool:
        """Count one line; True when it may be shown."""
        if now_s - self._second >= 1.0 and not self._hidden:
            self._second, self._admitted = now_s, 0
        if self._admitted < self._per_s:
            self._admitted += 1
            return True
        self._hidden += 1
        return False

    def take_hidden(self, now_s: float) -> int:
        """Return how many were hidden once their second is over, and begin the next second."""
        if not self._hidden or now_s - self._second < 1.0:
            return 0
        hidden, self._hidden = self._hidden, 0
        self._second, self._admitted = now_s, 0
        return hidden


def _introduction(config_file: str, *, is_running: bool) -> str:
    is_here = os.path.abspath(config_file) == os.path.abspath(FILE_NAME)
    program = _program() + ("" if is_here else f" --config {config_file}")
    return (
        "Each message is shown as its module sends it. In another terminal:\n"
        f"  {program} status          # what runs, what waits and why\n"
        f"  {program} logs NAME -f    # what a module says\n"
        f"  {program} tail NAME       # the messages of one module\n"
        f"{'It was running already: Ctrl-C leaves it running.' if is_running else 'Ctrl-C stops it.'}\n"
    )


def _program() -> str:
    """Return what to type for this microedge: its path where the shell would not find it, or find another one."""
    path = os.path.join(os.path.dirname(sys.executable), "microedge")
    if shutil.which("microedge") == path or not os.path.exists(path):
        return "microedge"
    return min(path, os.path.relpath(path), key=len)


def _answers(client: ControlClient) -> bool:
    try:
        client.request("status", timeout_s=2.0)
    except NotRunningError:
        return False
    return True


@contextlib.contextmanager
def _ending_like_ctrl_c() -> Iterator[None]:
    """SIGTERM and a closed terminal stop the supervisor as Ctrl-C does, so that no run leaves one behind."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
