"""What waits in the supervisor for a module that does not read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from microedge.supervisor.logs import LogRing
from microedge.supervisor.process import Process


class Reactor:
    """Remembers who wants to write."""

    def __init__(self) -> None:
        self.writers: dict[int, Any] = {}

    def add_writer(self, fd: int, callback: Any) -> None:
        self.writers[fd] = callback

    def remove_writer(self, fd: int) -> None:
        self.writers.pop(fd, None)

    def add_reader(self, fd: int, callback: Any) -> None: ...
    def remove_reader(self, fd: int) -> None: ...


@pytest.fixture
def reactor() -> Reactor:
    return Reactor()


@pytest.fixture
def process(reactor: Reactor) -> Iterator[Process]:
    one = Process(reactor, LogRing())  # type: ignore[arg-type]
    one._hub_end.setblocking(False)
    one._module_end.setblocking(False)
    one._log_pipe.open()
    yield one
    one.close()
    one._module_end.close()
    os.close(one._log_write)


def fill(process: Process) -> int:
    """Write to the module until nothing more goes away; return how much was written."""
    written = 0
    while not process.unsent_bytes:
        process.write(b"x" * 10_000)
        written += 10_000
    return written


def test_what_waits_is_what_was_written_and_not_taken_and_goes_when_the_module_reads(
    process: Process, reactor: Reactor
):
    written = fill(process)
    process.write(b"y" * 7)
    waits = process.unsent_bytes
    assert 7 < waits <= 10_007
    taken = process._module_end.recv(written)
    while reactor.writers:
        next(iter(reactor.writers.values()))()
        taken += process._module_end.recv(written)

    assert process.unsent_bytes == 0
    assert taken == b"x" * written + b"y" * 7


def test_nothing_waits_for_a_module_that_is_gone(process: Process):
    fill(process)
    process.hang_up()
    process.write(b"more")

    assert process.unsent_bytes == 0
