"""The control socket's protocol: one request, an answer or a stream, whatever the other side does."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.reactor import TestReactor

from microedge.errors import ConfigError, MicroedgeError
from microedge.supervisor.control import ControlSocket, Reply


class Server:
    """A control socket with a few commands, driven by the test."""

    def __init__(self, state_dir: Path) -> None:
        self.reactor = TestReactor()
        self.streams: list[Reply] = []
        self.closed: list[str] = []
        self.control = ControlSocket(
            str(state_dir),
            self.reactor,
            {
                "echo": lambda request, reply: reply.result(request["value"]),
                "stream": self._stream,
                "refuse": lambda request, reply: _raise(ConfigError("f.toml", 3, "key", 1, "2")),
                "break": lambda request, reply: _raise(ZeroDivisionError("by zero")),
                "overflow": lambda request, reply: reply.result(int(request["value"])),
            },
        )
        self.control.open()
        self._clients: list[socket.socket] = []

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.connect(f"/proc/self/fd/{self._directory()}/control.sock")
        client.setblocking(False)
        self._clients.append(client)
        return client

    def ask(self, data: bytes) -> Any:
        """Send `data` and return the decoded answer line, None if the server hung up without one."""
        client = self.connect()
        client.setblocking(True)
        client.settimeout(0.01)
        sent = 0
        received = b""
        while not received.endswith(b"\n"):
            self.reactor.turn(0.0)
            try:
                if sent < len(data):
                    sent += client.send(data[sent:])
                piece = client.recv(1 << 16)
            except socket.timeout:  # TimeoutError only from Python 3.10 on
                continue
            except OSError:
                return None
            if not piece:
                return None
            received += piece
        return json.loads(received)

    def close(self) -> None:
        self.control.close()
        self.reactor.close()
        for client in self._clients:
            client.close()
        os.close(self._fd)

    def _stream(self, _request: Any, reply: Reply) -> None:
        reply.begin_stream()
        self.streams.append(reply)
        reply.on_close.append(lambda: self.closed.append("stream"))

    def _directory(self) -> int:
        if not hasattr(self, "_fd"):
            self._fd = os.open(os.path.dirname(self.control.path), os.O_PATH)
        return self._fd


def _raise(error: Exception) -> None:
    raise error


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    one = Server(tmp_path)
    yield one
    one.close()


def test_a_request_gets_its_result(server: Server):
    assert server.ask(b'{"command":"echo","value":{"a":[1]}}\n') == {"ok": True, "result": {"a": [1]}}


def test_a_request_in_many_pieces_is_one_request(server: Server):
    value = "x" * 300_000

    assert server.ask(json.dumps({"command": "echo", "value": value}).encode() + b"\n")["result"] == value


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"\n", "expected a JSON object with one of the commands break, echo"),
        (b"nonsense\x1b[31m\n", "request nonsense\\x1b[31m"),
        (b"[]\n", "expected a JSON object"),
        (b"7\n", "expected a JSON object"),
        (b'{"command":"ech"}\n', "commands break, echo"),
        (b'{"command":["echo"]}\n', "expected a JSON object"),
        (b"\xff\n", "request \\xff"),
        (b"[" * 100_000 + b"\n", "expected a JSON object"),
        (b'{"command":"echo"}\n', "echo: bad argument: 'value'"),
        (b'{"command":"overflow","value":1e999}\n', "overflow"),
        (b'{"command":"break"}\n', "break failed: by zero"),
    ],
)
def test_a_bad_request_is_refused_in_words(server: Server, line: bytes, words: str):
    answer = server.ask(line)

    assert (answer["ok"], answer["exit_code"]) == (False, 1)
    assert words in answer["error"]
    assert server.ask(b'{"command":"echo","value":1}\n')["result"] == 1


def test_an_error_of_ours_keeps_its_exit_code(server: Server):
    answer = server.ask(b'{"command":"refuse"}\n')

    assert answer == {"ok": False, "error": "f.toml:3: key = 1: expected 2", "hint": "", "exit_code": 78}


def test_a_request_without_an_end_is_cut_off(server: Server):
    assert server.ask(b"x" * 2_000_000) is None


def test_a_second_request_on_one_connection_ends_it(server: Server):
    client = server.connect()
    client.send(b'{"command":"stream"}\n')
    server.reactor.run_until(lambda: server.streams)
    client.send(b'{"command":"stream"}\n')
    server.reactor.run_until(lambda: server.closed)

    assert len(server.streams) == 1


def test_a_stream_sends_events_until_the_client_goes(server: Server):
    client = server.connect()
    client.send(b'{"command":"stream"}\n')
    server.reactor.run_until(lambda: server.streams)
    server.streams[0].event({"n": 1})
    server.streams[0].event({"n": 2})

    lines = [json.loads(line) for line in client.recv(1 << 16).splitlines()]
    assert lines == [{"ok": True, "result": None}, {"event": {"n": 1}}, {"event": {"n": 2}}]
    client.close()
    server.reactor.run_until(lambda: server.closed)
    server.streams[0].event({"n": 3})
    assert server.closed == ["stream"]


def test_a_reader_that_is_too_slow_misses_events_and_learns_how_many(server: Server):
    client = server.connect()
    client.send(b'{"command":"stream"}\n')
    server.reactor.run_until(lambda: server.streams)
    (reply,) = server.streams
    for number in range(5_000):
        reply.event({"n": number, "pad": "x" * 1_000})

    received = bytearray()

    def all_is_read() -> bool:
        try:
            while True:
                received.extend(client.recv(1 << 20))
        except BlockingIOError:
            return not reply._out  # what the kernel holds is read above

    server.reactor.run_until(all_is_read)
    reply.event({"n": "last"})
    server.reactor.turn(0.0)
    all_is_read()
    events = [json.loads(line)["event"] for line in received.splitlines()[1:]]

    kept = [event["n"] for event in events[:-1]]
    assert kept == list(range(len(kept)))
    assert 1_000 < len(kept) < 3_000  # a megabyte and what the kernel takes
    assert events[-1] == {"n": "last", "left_out_before": 5_000 - len(kept)}


def test_a_client_that_goes_while_it_is_answered_harms_nobody(server: Server):
    client = server.connect()
    client.send(b'{"command":"stream"}\n')
    server.reactor.run_until(lambda: server.streams)
    client.close()
    for _ in range(10):
        server.streams[0].event({"n": 1})

    assert server.closed == ["stream"]
    assert server.ask(b'{"command":"echo","value":1}\n')["result"] == 1


def test_the_socket_is_for_its_owner_only_and_goes_with_the_server(tmp_path: Path):
    server = Server(tmp_path)
    assert os.stat(tmp_path / "control.sock").st_mode & 0o777 == 0o600
    server.connect()
    server.close()

    assert not (tmp_path / "control.sock").exists()


def test_a_socket_that_a_dead_server_left_is_replaced(tmp_path: Path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "control.sock"))
    server = Server(tmp_path)

    assert server.ask(b'{"command":"echo","value":1}\n')["result"] == 1
    server.close()


def test_every_error_of_ours_can_be_an_answer():
    assert issubclass(ConfigError, MicroedgeError)
