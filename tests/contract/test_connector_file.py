"""What the file connector adds to the contract: how often it flushes, and what it does when the disk refuses."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator

import pytest
from support.reactor import TestReactor
from support.upstream_owner import Owner, make_message

from microedge.upstream.backoff import Backoff
from microedge.upstream.file import FileConnector
from microedge.upstream.settings import UpstreamSettings


class Setup:
    def __init__(self, path: str) -> None:
        self.reactor = TestReactor()
        self.owner = Owner()
        backoff = Backoff(lambda: 0.5, first_s=0.02, max_s=0.2)
        self.connector = FileConnector(UpstreamSettings(type="file", path=path), self.reactor, backoff=backoff)
        self.path = path
        self.syncs = 0
        self._sync = self.connector.file.sync
        self.connector.file.sync = self._count
        self.owner.attach(self.connector)
        self.connector.open(self.owner)
        self.reactor.run_until(lambda: self.owner.is_connected)

    def lines(self) -> list[dict[str, object]]:
        with open(self.path, encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def _count(self, fd: int) -> None:
        self._sync(fd)
        self.syncs += 1


@pytest.fixture
def setup(tmp_path) -> Iterator[Setup]:
    setup = Setup(str(tmp_path / "out.jsonl"))
    yield setup
    setup.connector.close(setup.owner.close_done, 2.0)
    setup.reactor.run_until(lambda: setup.owner.is_closed)
    setup.reactor.close()


def test_messages_that_trickle_in_share_one_flush_per_second(setup):
    for number in range(1, 41):
        setup.owner.add(make_message(number))
        setup.reactor.run_for(0.05)
    setup.reactor.run_until(lambda: setup.owner.is_idle)

    assert len(setup.lines()) == 40
    assert setup.syncs <= 4  # 2 s of messages, one flush for the first of them, one for the last


def test_a_full_window_does_not_wait_for_the_second(setup):
    setup.owner.add(*[make_message(number) for number in range(1, 5_001)])

    setup.reactor.run_until(lambda: setup.owner.is_idle, 3.0)

    assert setup.syncs == 5
    assert [line["message_id"] for line in setup.lines()] == [f"s1-{number}" for number in range(1, 5_001)]


def test_large_messages_do_not_wait_for_the_second(setup):
    setup.owner.add(make_message(1))
    setup.reactor.run_until(lambda: setup.owner.is_idle)

    setup.owner.add(make_message(2, b"x" * 262_144))

    setup.reactor.run_until(lambda: setup.owner.is_idle, 0.8)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_disk_that_refuses_is_a_loss_with_a_reason_and_is_tried_again(setup, number):
    write, failures = setup.connector.file.write, [1, 2, 3]

    def refuse(fd: int, data: bytes) -> int:
        if failures:
            failures.pop()
            raise OSError(number, os.strerror(number))
        return write(fd, data)

    setup.connector.file.write = refuse
    setup.owner.add(*[make_message(number) for number in range(1, 11)])
    setup.reactor.run_until(lambda: setup.owner.is_idle)

    assert setup.owner.losses == [f"cannot write {setup.path}: {os.strerror(number)}"] * 3
    assert [line["message_id"] for line in setup.lines()] == [f"s1-{number}" for number in range(1, 11)]


def test_a_flush_that_hangs_does_not_hold_close_beyond_its_time(tmp_path):
    import threading

    release = threading.Event()
    setup = Setup(str(tmp_path / "out.jsonl"))
    try:
        setup.connector.file.sync = lambda fd: (release.wait(10), None)[1]
        setup.owner.add(make_message(1))
        setup.connector.close(setup.owner.close_done, 0.2)
        setup.reactor.run_until(lambda: setup.owner.is_closed, 0.6)
    finally:
        release.set()
        for thread in threading.enumerate():
            if thread.name == "upstream-file":
                thread.join(5)
        setup.reactor.close()
