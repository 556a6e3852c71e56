"""Virtual time: what a module sees of it, and that nobody else does."""

from __future__ import annotations

import os
import queue
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.leaks import Snapshot

from microedge import ModuleClient
from microedge.sdk.testing import Hub

OUTPUTS: dict[str, Any] = {"outputs": ["ticks"]}
NEW_YEAR_2026_S = 1_767_225_600


def ticks(hub: Hub) -> list[Any]:
    return [message.json() for message in hub.take_all("ticks")]


def test_waits_end_when_the_test_says_so() -> None:
    def main(client: ModuleClient) -> None:
        count = 0
        while client.wait(60):
            count += 1
            client.send("ticks", count)

    with Hub(main, **OUTPUTS) as hub:
        hub.advance(59.999)
        assert ticks(hub) == []
        hub.advance(0.001)
        assert ticks(hub) == [1]
        hub.advance(3_600)
        assert ticks(hub) == list(range(2, 62))


@pytest.mark.parametrize(("wait_s", "step_s"), [(0.1, 0.1), (1, 0.1), (0.1, 1), (0.3, 0.7)])
def test_many_short_times_add_up(wait_s: float, step_s: float) -> None:
    def main(client: ModuleClient) -> None:
        while client.wait(wait_s):
            client.send("ticks", 1)

    with Hub(main, **OUTPUTS) as hub:
        for _ in range(round(21 / step_s)):
            hub.advance(step_s)

        assert len(ticks(hub)) == round(21 / wait_s)


def test_timers_run_in_the_order_in_which_they_are_due() -> None:
    def main(client: ModuleClient) -> None:
        client.every(2, lambda: client.send("ticks", 2))
        client.every(3, lambda: client.send("ticks", 3))
        client.run()

    with Hub(main, **OUTPUTS) as hub:
        hub.advance(8)

        assert ticks(hub) == [2, 3, 2, 2, 3, 2]


def test_every_clock_of_a_module_tells_the_same() -> None:
    def main(client: ModuleClient) -> None:
        before = all_clocks()
        client.wait(5)
        time.sleep(2)
        client.send("ticks", [round(after - earlier, 6) for earlier, after in zip(before, all_clocks())])

    def all_clocks() -> list[float]:
        nanoseconds = [time.time_ns(), time.monotonic_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)]
        clocks = [time.time(), time.monotonic(), time.perf_counter(), time.clock_gettime(time.CLOCK_MONOTONIC)]
        return [*clocks, *(each / 1e9 for each in nanoseconds)]

    with Hub(main, **OUTPUTS) as hub:
        hub.advance(7)

        message = hub.take("ticks")
        assert message.json() == [7.0] * 7
        assert message.created_ms == NEW_YEAR_2026_S * 1000 + 7_000


def test_the_test_and_other_threads_go_by_real_time() -> None:
    started_s, real = time.monotonic(), time.monotonic
    seen: queue.Queue[float] = queue.Queue()

    def main(client: ModuleClient) -> None:
        worker = threading.Thread(target=lambda: seen.put(time.monotonic()))
        worker.start()
        worker.join()
        client.run()

    with Hub(main, **OUTPUTS) as hub:
        hub.advance(1_000_000)
        assert time.monotonic() - started_s < 1_000
        assert seen.get() - started_s < 1_000
    assert time.monotonic is real


def test_hubs_within_hubs_have_times_of_their_own() -> None:
    def main(client: ModuleClient) -> None:
        while client.wait(1):
            client.send("ticks", time.time() - NEW_YEAR_2026_S)

    with Hub(main, **OUTPUTS) as outer:
        outer.advance(1)
        with Hub(main, **OUTPUTS) as inner:
            inner.advance(1)
            outer.advance(1)
            assert (ticks(outer), ticks(inner)) == ([1.0, 2.0], [1.0])
        outer.advance(1)
        assert ticks(outer) == [3.0]


def test_what_comes_through_a_descriptor_gets_real_time() -> None:
    read_fd, write_fd = os.pipe()

    def main(client: ModuleClient) -> None:
        client.watch(read_fd, lambda: client.send("ticks", os.read(read_fd, 100).decode()))
        client.run()

    writer = threading.Timer(0.05, lambda: os.write(write_fd, b"later"))
    try:
        with Hub(main, **OUTPUTS) as hub:
            os.write(write_fd, b"now")
            hub.advance(0)
            assert hub.take("ticks").body == b"now"

            writer.start()
            assert hub.take("ticks").body == b"later"
            assert hub.elapsed_s == 0
    finally:
        writer.join()
        os.close(read_fd)
        os.close(write_fd)


@pytest.mark.parametrize("ends", ["well", "in the test", "in the module", "hanging"])
def test_nothing_is_left_behind(ends: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    go_on = threading.Event()

    def main(client: ModuleClient) -> None:
        client.wait(5)
        if ends == "in the module":
            raise RuntimeError(ends)
        if ends == "hanging":
            go_on.wait()
        client.run()

    before = Snapshot()
    with suppress(RuntimeError, AssertionError), Hub(main, **OUTPUTS, patience_s=0.1) as hub:
        assert len(os.listdir(tmp_path)) == 1
        hub.advance(5)
        if ends == "in the test":
            raise RuntimeError(ends)
    go_on.set()
    for thread in threading.enumerate():
        if thread.name == "module module":
            thread.join(5)

    assert Snapshot().news(before) == []
    assert os.listdir(tmp_path) == []


def test_time_does_not_go_backwards() -> None:
    with Hub(lambda client: client.run(), **OUTPUTS) as hub, pytest.raises(ValueError, match="expected 0 seconds"):
        hub.advance(-1)
