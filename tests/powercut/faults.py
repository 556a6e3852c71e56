"""A disk that fails for a while: from the n-th operation on, one or several end with EIO or ENOSPC; then it heals."""

from __future__ import annotations

import errno
import logging
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import NamedTuple

from microedge.errors import QueueError
from powercut.device import ENDPOINTS, Device, Workload, counted, drained, find, scratch
from powercut.disk import Op
from powercut.lives import Life
from powercut.promises import Closed, Found, QueuePromises, is_body
from powercut.recorder import Recorder
from powercut.vfs import observed

PLAN = Workload({"send": 4, "hurry": 5, "deliver": 3, "wait": 2, "toggle": 1}, max_bytes=512 * 1024, steps=14)
ERRORS = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC}
LENGTHS = (1, 8, 60)  # a glitch, one commit with its repetitions, and long enough for all of them in a row
HEALING_S = 120.0  # the longest pause between two attempts is 30 s


class Fault(NamedTuple):
    """`length` operations from the one with the number `first` on fail with `error`."""

    error: str
    first: int
    length: int


class Outcome(NamedTuple):
    """What came of a run: `text` says what was wrong, "" for nothing. `life` can be cut like any other."""

    text: str
    life: Life
    operations: int


def suffer(fault: Fault, seed: int = 0) -> Outcome:
    """Work on a disk with this fault; after it has healed, everything that was sent has to arrive, once, in order.

    Raises:
        UnsupportedError: SQLite cannot be watched here.
    """
    recorder, promises = Recorder(), QueuePromises()
    with observed(recorder, seed=seed), scratch() as root, ExitStack() as stack, unexpected() as surprises:
        device = Device(root, {}, recorder, random.Random(f"faults/{seed}"), PLAN)
        stack.callback(device.stop)
        stack.callback(recorder.end)
        recorder.fault = partial(_answer, fault, recorder)
        with recorder.watching_python():
            _open(device)
        device.work()
        recorder.fault = None
        device.advance(HEALING_S)
        events, operations = list(recorder.events), recorder.count
        for event in events:
            promises.take(event)
        text = surprises[0] if surprises else _wrong(device, promises)
    name = f"faults/{seed}/{fault.error}-{fault.first}-{fault.length}"
    return Outcome(text, Life(name, {}, QueuePromises(), events, partial(find, PLAN.max_bytes)), operations)


def faults(seed: int = 0, every: int = 1) -> Iterator[Fault]:
    """Yield each fault for each operation of the workload, or for each `every`-th."""
    operations = suffer(Fault("EIO", 0, 0), seed).operations
    for error in ERRORS:
        for length in LENGTHS:
            for first in range(1, operations + 1, every):
                yield Fault(error, first, length)


def _answer(fault: Fault, recorder: Recorder, op: Op) -> int:
    if (op.kind, op.name) == ("unlink", "queue.db"):
        return 0  # of an empty one, after a failed start: where even that fails, it is rightly taken for damage
    return ERRORS[fault.error] if fault.first <= recorder.count < fault.first + fault.length else 0


def _open(device: Device) -> None:
    for _ in range(100):
        try:
            device.open()
            return
        except QueueError:  # as a supervisor would: it says why, and is started again
            device.queue = device.new_queue()
    raise AssertionError("the queue cannot be opened again after the fault")


def _wrong(device: Device, promises: QueuePromises) -> str:
    for endpoint in ENDPOINTS:
        device.queue.release(endpoint)
    got = [(endpoint, each) for endpoint in ENDPOINTS for each in drained(device, endpoint)]
    device.advance(HEALING_S)
    status = device.queue.status()
    messages = tuple((name, each.sequence, is_body(each.body, each.sequence)) for name, each in got)
    reason = str(status["reason"] or ("" if status["state"] == "ok" else status["state"]))
    promises.take(Closed())  # nothing was lost from RAM either
    return promises.judge(Found(messages, reason, counted(status["dropped"]), counted(status["dropped"], "rejected")))


@contextmanager
def unexpected() -> Iterator[list[str]]:
    """Collect errors that the product logs with a traceback: what nobody expected."""
    found: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and record.exc_info[1] is not None:
                found.append(f"{record.getMessage()}: {record.exc_info[1]!r}")

    handler, log = Handler(), logging.getLogger("microedge")
    log.addHandler(handler)
    try:
        yield found
    finally:
        log.removeHandler(handler)
