"""The supervisor's side of the fork server, and what happens when that dies."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator

import pytest
from support.descriptor_reactor import DescriptorReactor

from microedge.supervisor import forkserver
from microedge.supervisor.launcher import Launcher


class Servers:
    """Fork servers without processes: the test plays each of them; stands for the reaper, too."""

    def __init__(self) -> None:
        self.reactor = DescriptorReactor()
        self.ends: list[socket.socket] = []
        self.ours: list[socket.socket] = []
        self.died: dict[int, Callable[[int], None]] = {}
        self.launcher = Launcher(self.make(), self.reactor)
        self.launcher.open(self)  # type: ignore[arg-type]
        self.answers: list[tuple[int, str]] = []

    def make(self) -> tuple[int, socket.socket]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.setblocking(False)
        self.ends.append(theirs)
        self.ours.append(ours)
        return len(self.ends), ours

    def expect(self, pid: int, died: Callable[[int], None]) -> None:
        self.died[pid] = died

    def spawn(self) -> None:
        self.launcher.spawn("fork", (), lambda pid, error: self.answers.append((pid, error)))

    def request(self) -> dict[str, object]:
        """Return the next request to the latest server."""
        asked: dict[str, object] = json.loads(self.ends[-1].recv(1 << 16))
        return asked

    def answer(self, **members: object) -> None:
        self.ends[-1].send(json.dumps(members).encode())
        self.reactor.settle()

    def die(self) -> None:
        self.ends[-1].close()
        self.died.pop(len(self.ends))(9)
        self.reactor.settle()

    def close(self) -> None:
        self.launcher.close()
        for end in (*self.ends, *self.ours):
            end.close()


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    one = Servers()
    monkeypatch.setattr(forkserver, "spawn_fresh", one.make)
    yield one
    one.close()


def test_a_spawn_is_answered_with_a_pid_or_with_a_reason(servers: Servers):
    servers.spawn()
    servers.spawn()
    assert servers.launcher.is_spawning
    first, second = servers.request(), servers.request()
    servers.answer(spawn=second["spawn"], error="fork: no memory")
    servers.answer(spawn=first["spawn"], pid=77)

    assert servers.answers == [(0, "fork: no memory"), (77, "")]
    assert not servers.launcher.is_spawning


def test_the_descriptors_travel_with_the_request(servers: Servers):
    read_end, write_end = os.pipe()
    servers.launcher.spawn("exec", (read_end, write_end), lambda pid, error: None)
    packet, descriptors, _, _ = socket.recv_fds(servers.ends[0], 1 << 16, 4)
    for fd in (read_end, write_end, *descriptors):
        os.close(fd)

    assert json.loads(packet)["launch"] == "exec"
    assert len(descriptors) == 2


def test_each_module_is_preloaded_once_and_again_by_the_next_server(servers: Servers):
    servers.launcher.preload(["decimal", "csv"])
    servers.launcher.preload(["csv"])
    assert servers.request() == {"preload": ["csv", "decimal"]}
    with pytest.raises(BlockingIOError):
        servers.request()
    servers.die()
    servers.reactor.pass_time(2)

    assert servers.request() == {"preload": ["csv", "decimal"]}


def test_when_the_server_dies_who_waits_is_told_and_the_next_one_serves(servers: Servers):
    servers.spawn()
    servers.die()
    assert servers.answers == [(0, "the fork server died")]
    servers.reactor.pass_time(2)
    servers.spawn()
    servers.answer(spawn=servers.request()["spawn"], pid=78)

    assert servers.answers[1:] == [(78, "")]
    assert len(servers.ends) == 2


def test_who_asks_while_there_is_no_server_is_told_when_the_next_one_is_there(servers: Servers):
    servers.die()
    servers.spawn()
    assert servers.answers == []
    servers.reactor.pass_time(2)

    assert servers.answers == [(0, "the fork server died")]


def test_a_server_that_cannot_live_is_not_started_again_and_again_without_a_pause(servers: Servers):
    for _ in range(3):
        servers.die()
        count = len(servers.ends)
        servers.reactor.pass_time(0.5)
        assert len(servers.ends) == count
        servers.reactor.pass_time(1)
        assert len(servers.ends) == count + 1


def test_a_closed_launcher_starts_no_other_server(servers: Servers):
    servers.launcher.close()
    servers.die()
    servers.reactor.pass_time(5)

    assert len(servers.ends) == 1


def test_a_fresh_interpreter_searches_where_the_supervisor_does():
    arguments = forkserver.fresh_arguments("bootstrap", 42)

    assert arguments[1:3] == ["-I", "-c"]
    assert arguments[4] == "42"
    assert os.path.dirname(os.path.dirname(os.path.dirname(forkserver.__file__))) in json.loads(arguments[5])
