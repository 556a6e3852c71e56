"""The control client: one request per connection to the supervisor's unix socket, JSON lines both ways."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any, BinaryIO

from microedge.cli.failure import CommandError
from microedge.errors import NotRunningError, printable

REPLY_TIMEOUT_S = 10.0  # a reading command; the supervisor answers within milliseconds
ACTION_TIMEOUT_S = 60.0  # start, stop and restart wait for the module; stop_timeout_s is 10 by default
MAX_LINE_BYTES = 16 << 20  # a message of 256 KiB in base64, or a status of thousands of modules, fits easily
_MAX_PATH_BYTES = 107  # sun_path without its closing zero


class ConnectionLostError(CommandError):
    """The supervisor closed the connection instead of answering."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"the supervisor at {printable(path)} closed the connection without an answer",
            "it may just be stopping; see: microedge status",
        )


class RefusedError(CommandError):
    """The supervisor answered that it will not do this; `reply` is all that it said."""

    def __init__(self, reply: Mapping[str, Any]) -> None:
        self.reply = reply
        exit_code = reply.get("exit_code")
        super().__init__(
            printable(reply.get("error") or "the supervisor refused without a reason", 1000),
            printable(reply.get("hint") or "microedge status", 1000),
            exit_code if isinstance(exit_code, int) and 0 < exit_code < 256 else 1,
        )


class ControlClient:
    """Talks to the supervisor behind `path`. Holds no connection between requests."""

    def __init__(self, path: str, *, start_hint: str = "microedge run") -> None:
        self.path = path
        self._start_hint = start_hint

    def request(self, command: str, *, timeout_s: float = REPLY_TIMEOUT_S, **arguments: object) -> Any:
        """Send one command and return its result. Blocks for at most `timeout_s` seconds per read.

        Raises:
            NotRunningError: nobody listens at the socket.
            CommandError: the supervisor refused (RefusedError), answered nonsense or not in time.
        """
        with self._open(command, arguments, timeout_s) as connection:
            return self._result(connection.next_line())

    def stream(self, command: str, **arguments: object) -> Iterator[dict[str, Any]]:
        """Send one command and yield its events until the supervisor ends the stream. Blocks between events.

        Raises:
            NotRunningError: nobody listens at the socket.
            CommandError: the supervisor refused or answered nonsense.
        """
        with self._open(command, arguments, REPLY_TIMEOUT_S) as connection:
            self._result(connection.next_line())
            connection.wait_for_ever()
            while True:
                line = connection.next_line()
                if not line:
                    return
                yield event_of(line)

    def open_stream(self, command: str, **arguments: object) -> socket.socket:
        """Send one command, check that it was accepted and return the connection, whose lines are events.

        For a caller with a selector of its own; `event_of` decodes a line. The caller closes it.

        Raises:
            NotRunningError: nobody listens at the socket.
            CommandError: the supervisor refused or answered nonsense.
        """
        with ExitStack() as undo:
            connection = undo.enter_context(self._open(command, arguments, REPLY_TIMEOUT_S))
            # Unbuffered: whatever follows the first line belongs to the caller.
            self._result(connection.first_line())
            undo.pop_all()
        return connection.socket

    def _open(self, command: str, arguments: dict[str, object], timeout_s: float) -> _Connection:
        try:
            connection = _Connection(connect(self.path, timeout_s), self.path)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
            raise NotRunningError(
                f"microedge is not running: nobody listens at {printable(self.path)}; start it with: {self._start_hint}"
            ) from error
        except PermissionError as error:
            raise CommandError(
                f"not allowed to talk to the supervisor at {printable(self.path)}",
                "run this command as the user that runs microedge, or with sudo",
            ) from error
        with ExitStack() as undo:
            undo.enter_context(connection)
            connection.send({"command": command, **arguments})
            undo.pop_all()
        return connection

    def _result(self, line: bytes) -> Any:
        reply = _decode(line, self.path)
        if reply.get("ok") is True:
            return reply.get("result")
        raise RefusedError(reply)


def connect(path: str, timeout_s: float) -> socket.socket:
    """Return a socket connected to the unix socket at `path`, however long the path is.

    Raises:
        OSError: as `socket.connect`; FileNotFoundError and ConnectionRefusedError mean that nobody listens.
    """
    with ExitStack() as undo:
        connection = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        connection.settimeout(timeout_s)
        if len(os.fsencode(path)) <= _MAX_PATH_BYTES:
            connection.connect(path)
        else:
            _connect_through_directory(connection, path)
        undo.pop_all()
    return connection


def event_of(line: bytes) -> dict[str, Any]:
    """Return the event that one line of a stream carries.

    Raises:
        CommandError: the line is no event.
    """
    event = _decode(line, "the supervisor").get("event")
    if not isinstance(event, dict):
        raise CommandError(f"expected an event from the supervisor, found {printable(line)}", _VERSIONS)
    return event


_VERSIONS = "compare the versions: microedge version"


class _Connection:
    """One request's connection, read line by line."""

    def __init__(self, connected: socket.socket, path: str) -> None:
        self.socket = connected
        self._path = path
        self._reader: BinaryIO | None = None

    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self.socket.close()

    def send(self, request: dict[str, object]) -> None:
        try:
            self.socket.sendall(json.dumps(request, ensure_ascii=False).encode() + b"\n")
        except OSError as error:  # not left as BrokenPipeError, which means the reader of our output
            raise _no_answer(self._path, self.socket, error) from error

    def wait_for_ever(self) -> None:
        self.socket.settimeout(None)

    def next_line(self) -> bytes:
        """Return the next line, or b"" when the supervisor closed the connection."""
        try:
            if self._reader is None:
                self._reader = self.socket.makefile("rb")
            line = self._reader.readline(MAX_LINE_BYTES + 1)
        except ConnectionResetError:
            return b""
        except OSError as error:
            raise _no_answer(self._path, self.socket, error) from error
        if len(line) > MAX_LINE_BYTES:
            raise CommandError(f"the supervisor's answer exceeds {MAX_LINE_BYTES} bytes", _VERSIONS)
        return line

    def first_line(self) -> bytes:
        """Return the first line and not a byte behind it; byte by byte, because it is short and comes once."""
        line = bytearray()
        try:
            while not line.endswith(b"\n") and len(line) < MAX_LINE_BYTES:
                byte = self.socket.recv(1)
                if not byte:
                    break
                line += byte
        except OSError as error:
            raise _no_answer(self._path, self.socket, error) from error
        return bytes(line)


def _no_answer(path: str, connected: socket.socket, error: OSError) -> CommandError:
    if not isinstance(error, socket.timeout):
        return ConnectionLostError(path)
    waited_s = connected.gettimeout() or 0.0
    return CommandError(
        f"the supervisor at {printable(path)} did not answer within {waited_s:.0f} s",
        "try again; if it stays so, see what it says: microedge logs supervisor",
    )


def _decode(line: bytes, path: str) -> dict[str, Any]:
    if not line:
        raise ConnectionLostError(path)
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"the supervisor's answer is not JSON: {printable(line)}", _VERSIONS) from error
    if not isinstance(value, dict):
        raise CommandError(f"expected a JSON object from the supervisor, found {printable(line)}", _VERSIONS)
    return value


def _connect_through_directory(connection: socket.socket, path: str) -> None:
    # A unix address holds 107 bytes; the kernel resolves this short name to the same directory.
    directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY)
    try:
        connection.connect(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
    finally:
        os.close(directory)
