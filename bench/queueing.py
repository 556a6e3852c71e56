"""The store-and-forward queue alone, beside other stores that did the same work in the same run.

`--long` takes the times that the budgets are meant for: ten minutes with the upstream there, and ten without.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from device import Device
from processes import cpu_s, memory
from queue_stores import LiteQueue, Microedge, Mosquitto, PersistQueue, Store, file_bytes
from rows import Figures, Plan, Row, percentile, print_rows

from microedge.message import IMMEDIATE, Message

_DAY_S = 86_400
_MB = 1_000_000
_PEERS = ("persist-queue", "litequeue", "mosquitto")
_STALL_S = 2.0
_PRODUCERS = 8
_WARM_UP = 300  # commits until the log is overwritten instead of growing


class Walk:
    """Readings of a sensor as JSON of about `size` bytes: each value is a little off the last one."""

    def __init__(self, size: int) -> None:
        self._dice = random.Random(size)
        self._values = [self._dice.uniform(10, 90) for _ in range(max(1, (size - 14) // 14))]

    def take(self, count: int) -> list[bytes]:
        return [self._next() for _ in range(count)]

    def _next(self) -> bytes:
        self._values = [value + self._dice.gauss(0, 0.1) for value in self._values]
        fields = ",".join(f'"v{number:02}":{value:.4f}' for number, value in enumerate(self._values))
        return b'{"status":"ok",%s}' % fields.encode()


class Meter:
    """What a store has cost since then: bytes and flushes of the device, CPU of the processes, RAM of the first."""

    def __init__(self, device: Device, pids: Sequence[int] = ()) -> None:
        self._device = device
        self._pids = list(pids) or [os.getpid()]
        self._written = device.written(self._pids)  # this syncs, which flushes too
        self._flushes = device.flushes()
        self._rss, self._cpu_s = memory(self._pids[:1]).root_rss, cpu_s(self._pids)
        self._began_s = time.monotonic()

    def read(self) -> Figures:
        elapsed_s, used_s = time.monotonic() - self._began_s, cpu_s(self._pids) - self._cpu_s
        flushes = self._device.flushes() - self._flushes
        return {
            "bytes": self._device.written(self._pids) - self._written,
            "flushes": flushes,
            "cpu_s": used_s,
            "elapsed_s": elapsed_s,
            "rss": memory(self._pids[:1]).root_rss - self._rss,
        }


def new_store(kind: str, directory: str, per_commit: int = 1, durability: str = "batched") -> Store:
    if kind == "microedge":
        return Microedge(directory, durability)
    if kind == "mosquitto":
        return Mosquitto(directory, per_commit)
    return PersistQueue(directory) if kind == "persist-queue" else LiteQueue(directory)


def on_a_device(work: Callable[..., Figures], *arguments: object) -> Figures:
    """Return `work(device, *arguments)`, done in an interpreter of its own with a new file system."""
    children = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
    with tempfile.TemporaryDirectory(prefix="microedge-bench-") as directory, Device(directory) as device, children:
        figures = children.submit(work, device, *arguments).result()
    words = ", ".join(str(argument) for argument in arguments)
    print(f"  {work.__name__}({words}): " + ", ".join(f"{k}={v:.4g}" for k, v in figures.items()), file=sys.stderr)
    return figures


# --- what is measured, each in a process of its own -------------------------------------------------------------------


def outage(device: Device, kind: str, size: int, count: int, per_commit: int) -> Figures:
    """Put, drain and close; the payload is what was put."""
    bodies = Walk(size).take(count)
    payload = sum(map(len, bodies))
    whole = Meter(device)
    store = new_store(kind, device.directory, per_commit)
    putting = Meter(device, store.pids)
    for at in range(0, count, per_commit):
        store.put(bodies[at : at + per_commit])
    put = putting.read()
    held_bytes = file_bytes(store.file)
    draining = Meter(device, store.pids)
    drained = store.drain()
    drain = draining.read()
    store.close()
    if drained != bodies:
        raise AssertionError(f"{kind}: {len(drained)} of {count} came back, or not in order")
    total = whole.read()
    figures = {
        "amplification": total["bytes"] / payload,
        "put_amplification": put["bytes"] / payload,
        "flushes_per_1000": total["flushes"] / count * 1000,
        "put_cpu_us": put["cpu_s"] / count * 1e6,
        "drain_cpu_us": drain["cpu_s"] / count * 1e6,
        "drain_us": drain["elapsed_s"] / count * 1e6,
        "drain_flushes_per_1000": drain["flushes"] / count * 1000,
        "put_rss_mb": put["rss"] / _MB,
        "file_share": held_bytes / payload,
    }
    if kind == "mosquitto":
        del figures["drain_us"]  # nobody but the clock says that it has sent the last one
    return figures


def healthy(device: Device, seconds: float, rate_hz: int) -> Figures:
    """Append while every message is acknowledged after 0.1 to 0.9 s."""
    store = Microedge(device.directory)
    dice, bodies = random.Random(1), Walk(100)
    store.queue.set_live("$upstream", True)

    def forward() -> None:
        for ticket, _ in store.queue.lease("$upstream", 100, 1 << 20):
            store.loop.call_later(dice.uniform(0.1, 0.9), lambda ticket=ticket: store.queue.ack([ticket]))

    def tick() -> None:
        store.append(bodies.take(1)[0])
        forward()
        store.loop.call_later(1 / rate_hz, tick)

    store.when_available = forward
    meter = Meter(device)
    tick()
    store.run(seconds)
    spent = meter.read()
    return {"bytes": spent["bytes"], "commits": float(_commits(store)), "messages": store.sequence}


def passing(device: Device, kind: str, count: int) -> Figures:
    """Put and take one message after the other, as a queue without a RAM part must."""
    store = new_store(kind, device.directory)
    meter = Meter(device)
    for body in Walk(100).take(count):
        store.put([body])
        store.drain()
    return {"bytes": meter.read()["bytes"] / count}


def immediate(device: Device, kind: str, count: int) -> Figures:
    """Put single messages, each on disk before the next one, when the log has reached its size."""
    store = new_store(kind, device.directory, durability=IMMEDIATE)
    bodies = Walk(100).take(_WARM_UP + count)
    for body in bodies[:_WARM_UP]:
        store.put([body])
    meter = Meter(device)
    for body in bodies[_WARM_UP:]:
        store.put([body])
    spent = meter.read()
    return {"bytes": spent["bytes"] / count, "flushes": spent["flushes"] / count}


def shared(device: Device, count: int) -> Figures:
    """Eight producers, each of which sends its next immediate message when the last one is on disk."""
    store = Microedge(device.directory, IMMEDIATE)
    bodies = iter(Walk(100).take(_WARM_UP + count + _PRODUCERS))

    def send_until(last: int) -> None:
        def again() -> None:
            while store.sequence - store.settled < _PRODUCERS and store.sequence < last:
                store.append(next(bodies))
            if store.settled >= last:
                store.loop.stop()

        store.when_settled = again
        store.loop.call_soon(again)
        store.loop.run()

    send_until(_WARM_UP)
    meter = Meter(device)
    send_until(_WARM_UP + count)
    return {"flushes": meter.read()["flushes"] / count}


def paced(device: Device, kind: str, seconds: float, rate_hz: int) -> Figures:
    """Put at a steady rate with nobody to take it, at the defaults, when the log has reached its size.

    Appending to it costs more than overwriting it. A checkpoint comes every five minutes or so: less shows nothing.
    """
    store, bodies = new_store(kind, device.directory), Walk(100)
    if isinstance(store, Microedge):
        for _ in range(_WARM_UP):
            store.put(bodies.take(rate_hz * 5))
        _tick(store, bodies, rate_hz)
        store.run(10)
        meter = Meter(device)
        store.run(seconds)
    else:
        meter = Meter(device)
        ends_s = time.monotonic() + seconds
        while time.monotonic() < ends_s:
            store.put(bodies.take(1))
            time.sleep(1 / rate_hz)
    return {"mb_per_day": meter.read()["bytes"] / seconds * _DAY_S / _MB}


def stalled(device: Device, seconds: float, rate_hz: int) -> Figures:
    """Append while every commit takes two seconds longer than it should; the time of each call."""
    store, bodies = Microedge(device.directory), Walk(100).take(int(seconds * rate_hz) + rate_hz)
    real: Any = store.queue._store  # no other place is as near to the fsync without a disk that really stalls
    commit = real.commit

    def slow(job: object) -> None:
        time.sleep(_STALL_S)  # lets other threads run, as a system call does
        commit(job)

    real.commit = slow
    times_s: list[float] = []

    def tick() -> None:
        for _ in range(rate_hz // 100):
            body = bodies.pop()
            before_s = time.perf_counter()
            store.append(body)
            times_s.append(time.perf_counter() - before_s)
        store.loop.call_later(0.01, tick)

    tick()
    store.run(seconds)
    return {"p50_us": percentile(times_s, 0.5) * 1e6, "p99_us": percentile(times_s, 0.99) * 1e6, "calls": len(times_s)}


def million(device: Device, count: int) -> Figures:
    """Fill, start again, and drain."""
    walk, before = Walk(100), Microedge(device.directory, max_bytes=1 << 30)
    payload = 0
    for _ in range(count // 100):
        bodies = walk.take(100)
        payload += sum(map(len, bodies))
        before.put(bodies)
    before.close()
    held = _bytes_of(before)
    meter = Meter(device)
    store = Microedge(device.directory, max_bytes=1 << 30)
    opened = meter.read()
    drained, at = 0, 0
    store.queue.set_live("$upstream", True)
    leased = store.lease()
    while leased:
        for _, message in leased:
            at, drained = _in_order(at, message), drained + 1
        store.queue.ack([ticket for ticket, _ in leased])
        store.run(0)
        leased = store.lease()
    drained_for = meter.read()
    if drained != count:
        raise AssertionError(f"{drained} of {count} came back")
    return {
        "open_s": store.open_s,
        "open_rss_mb": opened["rss"] / _MB,
        "file_share": held / payload,
        "drain_us": drained_for["elapsed_s"] / count * 1e6,
        "drain_flushes_per_1000": drained_for["flushes"] / count * 1000,
        "drained_rss_mb": drained_for["rss"] / _MB,
    }


def week(device: Device, seconds: int, per_commit: int) -> Figures:
    """Commit every 5 s without waiting for them, nobody takes anything: what one gets who is offline that long."""
    store, walk = Microedge(device.directory, max_bytes=1 << 30), Walk(100)
    store.put(walk.take(per_commit))
    meter = Meter(device)
    commits = seconds // 5
    for _ in range(commits):
        store.put(walk.take(per_commit))
    spent = meter.read()
    rows = sum(len(line.backlog) for line in store.queue._lines.lines())
    store.close()
    opened = Meter(device)
    again = Microedge(device.directory, max_bytes=1 << 30)
    return {
        "rss_mb": spent["rss"] / _MB,
        "rows": rows,
        "mb_per_day": spent["bytes"] / seconds * _DAY_S / _MB,
        "cpu_us": spent["cpu_s"] / commits / per_commit * 1e6,
        "file_mb": _bytes_of(store) / _MB,
        "open_s": again.open_s,
        "open_rss_mb": opened.read()["rss"] / _MB,
    }


def _tick(store: Microedge, bodies: Walk, rate_hz: int) -> None:
    store.append(bodies.take(1)[0])
    store.loop.call_later(1 / rate_hz, lambda: _tick(store, bodies, rate_hz))


def _in_order(before: int, message: Message) -> int:
    if message.sequence != before + 1:
        raise AssertionError(f"message {message.sequence} after {before}")
    return message.sequence


def _commits(store: Microedge) -> int:
    return int(str(store.queue.status()["commits"]))


def _bytes_of(store: Microedge) -> int:
    return file_bytes(store.file)


# --- the table --------------------------------------------------------------------------------------------------------


def with_peers(peers: Sequence[str], work: Callable[..., Figures], *arguments: object) -> dict[str, Figures]:
    """Return the figures of microedge and of `peers` for the same work."""
    return {kind: on_a_device(work, kind, *arguments) for kind in ("microedge", *peers)}


def row(found: dict[str, Figures], key: str, what: str, unit: str, budget: float | None = None, note: str = "") -> Row:
    peers = {kind: figures[key] for kind, figures in found.items() if kind != "microedge" and key in figures}
    return Row(what, unit, found["microedge"][key], peers, budget, note=note)


def while_it_delivers(plan: Plan, is_long: bool) -> list[Row]:
    seconds = 600 if is_long else plan.of(60, 15)
    found = on_a_device(healthy, seconds, 50)
    peers = {kind: on_a_device(passing, kind, plan.of(500, 100)) for kind in _PEERS[:2]}
    what = f"upstream there, acknowledged after 0.1-0.9 s, 50/s for {seconds} s"
    bytes_each = {kind: figures["bytes"] for kind, figures in peers.items()}
    return [
        Row(f"{what}: bytes per message", "B", found["bytes"] / found["messages"], bytes_each, 0, {"all": found}),
        Row(f"{what}: commits", "", found["commits"], {}, 0),
    ]


def while_it_is_away(plan: Plan) -> list[Row]:
    rows: list[Row] = []
    for size, per_commit, budget, cpu_us in ((100, 100, 3.2, 6), (1000, 100, 1.3, None), (100, 10, 13, 20)):
        count = plan.of(10_000 if (size, per_commit) == (100, 100) else 5_000, 1_000)
        what = f"{count:,} of {size} B, {per_commit} per commit"
        found = with_peers(_PEERS, outage, size, count, per_commit)
        whole = row(found, "amplification", f"{what}, put, drained, closed: device bytes / payload", "", budget)
        whole.detail["all"] = found
        rows.append(whole)
        rows.append(row(found, "flushes_per_1000", f"{what}: flushes per 1,000 messages", ""))
        rows.append(row(found, "put_cpu_us", f"{what}: CPU per message put", "us", cpu_us))
        if (size, per_commit) == (100, 100):
            drain_us = found["persist-queue"]["drain_us"]
            rows.append(row(found, "drain_us", f"{what}: time per message drained", "us", drain_us / 100))
            rows.append(row(found, "drain_flushes_per_1000", f"{what}: flushes per 1,000 acknowledgements", ""))
            rows.append(row(found, "file_share", f"{what}: files / payload at the peak", ""))
    return rows


def one_at_a_time(plan: Plan) -> list[Row]:
    found = with_peers(_PEERS[:2], immediate, plan.of(2_000, 300))
    together = on_a_device(shared, plan.of(4_000, 800))
    return [
        row(found, "bytes", "one immediate message of 100 B, warm: bytes", "B", 9_500),
        row(found, "flushes", "one immediate message of 100 B, warm: flushes", "", 1.12),
        Row("8 producers of immediate messages: flushes per message", "", together["flushes"], {}, 0.3),
    ]


def at_a_pace(plan: Plan, is_long: bool) -> list[Row]:
    seconds = 600 if is_long else plan.of(315, 20)
    found = {kind: on_a_device(paced, kind, min(seconds, 30), 10) for kind in _PEERS[:2]}
    found["microedge"] = on_a_device(paced, "microedge", seconds, 10)
    late = on_a_device(stalled, plan.of(20, 5), 1_000)
    what = f"10/s of 100 B offline, defaults, a day as {seconds} s show it"
    return [
        row(found, "mb_per_day", f"{what}: bytes to disk", "MB", 330),
        Row("append while each fsync takes 2 s longer: p99", "us", late["p99_us"], {}, 100, {"all": late}),
    ]


def when_there_is_much(plan: Plan, is_long: bool) -> list[Row]:
    count = plan.of(1_000_000, 50_000)
    full = on_a_device(million, count)
    days = plan.of(7, 0) or 0.05
    long = on_a_device(week, int(days * _DAY_S), 5)
    what, offline = f"{count:,} of 100 B waiting", f"1/s of 100 B offline for {days:g} days"
    return [
        Row(f"{what}: start", "s", full["open_s"], {}, 2, {"all": full}),
        Row(f"{what}: RAM at the start", "MB", full["open_rss_mb"], {}, 20),
        Row(f"{what}: RAM after the drain", "MB", full["drained_rss_mb"], {}, 20, note="in order, all of them"),
        Row(f"{what}: flushes per 1,000 acknowledgements", "", full["drain_flushes_per_1000"], {}, 1),
        Row(f"{what}: files / payload", "", full["file_share"], {}, 0.5),
        Row(f"{offline}: RAM", "MB", long["rss_mb"], {}, None, {"all": long}),
        Row(f"{offline}: start", "s", long["open_s"], {}, 2),
        Row(
            f"{offline}, without the pauses between commits: bytes to disk per day", "MB", long["mb_per_day"], {}, None
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything: does it work?")
    parser.add_argument("--long", action="store_true", help="ten minutes where the budget says so")
    options = parser.parse_args()
    plan = Plan(1, options.quick)
    found = while_it_delivers(plan, options.long) + while_it_is_away(plan) + one_at_a_time(plan)
    print_rows("queueing", found + at_a_pace(plan, options.long) + when_there_is_much(plan, options.long))


if __name__ == "__main__":
    main()
