"""The control socket: how the CLI asks a running supervisor.

A unix stream socket in the state directory; one JSON line asks, JSON lines answer:

    {"command": "status", ...}      ->  {"ok": true, "result": ...}
                                    or  {"ok": false, "error": "...", "hint": "...", "exit_code": 1}
    {"command": "tail", ...}        ->  {"ok": true, "result": null}, then {"event": {...}} for each event

Only root and the supervisor's own user get an answer (SO_PEERCRED).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any

from microedge.errors import MicroedgeError, TwinError, literal, printable
from microedge.reactor import Reactor

log = logging.getLogger(__name__)

_REQUEST_BYTES = 600_000  # a message of 256 KiB as escaped JSON
_UNSENT_BYTES = 1_048_576  # for a reader that is slower than the events: beyond it, events are left out
_PEERCRED = struct.Struct("3i")  # pid, uid, gid: socket(7), SO_PEERCRED
_READ_BYTES = 65_536


class Reply:
    """One client's connection: answer once, or answer and then send events."""

    def __init__(self, sock: socket.socket, reactor: Reactor) -> None:
        self._sock = sock
        self._reactor = reactor
        self._out = bytearray()
        self._is_last = False
        self._left_out = 0
        self.on_close: list[Callable[[], None]] = []

    def result(self, result: object) -> None:
        """Answer and finish."""
        self._is_last = True
        self._write({"ok": True, "result": result})

    def error(self, error: MicroedgeError | str, hint: str = "") -> None:
        """Refuse and finish."""
        self._is_last = True
        code = error.exit_code if isinstance(error, MicroedgeError) else 1
        facts = {}
        if isinstance(error, TwinError):
            facts = {"path": error.path, "found": literal(error.got), "expected": error.expected}
        self._write({"ok": False, "error": str(error), "hint": hint, "exit_code": code, **facts})

    def begin_stream(self) -> None:
        """Answer; events follow until the client goes."""
        self._write({"ok": True, "result": None})

    def event(self, event: Mapping[str, object]) -> None:
        """Send one event; leave it out when the client is too far behind, and say how many later."""
        if len(self._out) > _UNSENT_BYTES:
            self._left_out += 1
            return
        if self._left_out:
            event = {**event, "left_out_before": self._left_out}
            self._left_out = 0
        self._write({"event": event})

    def close(self) -> None:
        if self._sock.fileno() < 0:
            return
        self._reactor.remove_reader(self._sock.fileno())
        self._reactor.remove_writer(self._sock.fileno())
        self._sock.close()
        for callback in self.on_close:
            callback()

    def _write(self, line: Mapping[str, object]) -> None:
        if self._sock.fileno() >= 0:
            is_idle = not self._out
            self._out += json.dumps(line, ensure_ascii=False, default=str).encode("utf-8", "backslashreplace") + b"\n"
            if is_idle:  # otherwise the loop says when there is room
                self._flush()

    def _flush(self) -> None:
        try:
            sent = self._sock.send(self._out)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        del self._out[:sent]
        if self._out:
            self._reactor.add_writer(self._sock.fileno(), self._flush)
        elif self._is_last:
            self.close()
        else:
            self._reactor.remove_writer(self._sock.fileno())


Command = Callable[[Mapping[str, Any], Reply], None]


class ControlSocket:
    """Listens in the state directory and hands each request to its command."""

    def __init__(self, state_dir: str, reactor: Reactor, commands: Mapping[str, Command]) -> None:
        self._state_dir = state_dir
        self._reactor = reactor
        self._commands = commands
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._replies: set[Reply] = set()

    @property
    def path(self) -> str:
        return os.path.join(self._state_dir, "control.sock")

    def open(self) -> None:
        """Listen. The caller holds the lock of the state directory, so that a socket found there is a dead one.

        Raises:
            OSError: the directory cannot be written.
        """
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        directory = os.open(self._state_dir, os.O_PATH | os.O_CLOEXEC)
        old_mask = os.umask(0o177)
        try:
            self._sock.bind(f"/proc/self/fd/{directory}/control.sock")  # a path of its own may exceed 107 bytes
        finally:
            os.umask(old_mask)
            os.close(directory)
        self._sock.listen(16)
        self._reactor.add_reader(self._sock.fileno(), self._accept)

    def close(self) -> None:
        for reply in list(self._replies):
            reply.close()
        self._reactor.remove_reader(self._sock.fileno())
        self._sock.close()
        with contextlib.suppress(OSError):
            os.unlink(self.path)

    def _accept(self) -> None:
        try:
            client, _ = self._sock.accept()
        except OSError:
            return
        client.setblocking(False)
        credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEERCRED.size)
        _, uid, _ = _PEERCRED.unpack(credentials)
        reply = Reply(client, self._reactor)
        self._replies.add(reply)
        reply.on_close.append(lambda: self._replies.discard(reply))
        if uid not in (0, os.getuid()):
            reply.error(f"user {uid} may not control this supervisor", "use the user that runs it, or root")
            return
        self._read_request(client, reply)

    def _read_request(self, client: socket.socket, reply: Reply) -> None:
        received = bytearray()
        is_asked = False

        def read() -> None:
            nonlocal is_asked
            try:
                data = client.recv(_READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                reply.close()
                return
            received.extend(data)
            if is_asked or len(received) > _REQUEST_BYTES:
                reply.close()
            elif b"\n" in data:
                is_asked = True
                self._answer(bytes(received), reply)

        self._reactor.add_reader(client.fileno(), read)

    def _answer(self, line: bytes, reply: Reply) -> None:
        try:
            request = json.loads(line)
            command = self._commands[request["command"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            known = ", ".join(sorted(self._commands))
            reply.error(f"request {printable(line, 80)}: expected a JSON object with one of the commands {known}")
            return
        try:
            command(request, reply)
        except MicroedgeError as error:
            reply.error(error)
        except (KeyError, TypeError, ValueError) as error:
            reply.error(f"{request['command']}: bad argument: {printable(error)}")
        except Exception as error:  # the boundary of a command: a fault in one must not end the supervisor
            log.exception("command %s failed; this is a bug of microedge", request["command"])
            reply.error(f"{request['command']} failed: {printable(error)}", "see: microedge logs supervisor")
