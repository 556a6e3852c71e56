"""A device that works its queue and writes down what it was promised; and one that starts after a power cut."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import NamedTuple

from support.queue_rig import UPSTREAM, QueueRig

from microedge.message import BATCHED, IMMEDIATE, VOLATILE, Envelope, Message
from powercut.disk import Image, materialise
from powercut.lives import Life, check, lives
from powercut.promises import (
    Closed,
    Delivered,
    Forgotten,
    Found,
    Key,
    QueuePromises,
    Rejected,
    Sent,
    Settled,
    body_of,
    is_body,
)
from powercut.recorder import Event, Recorder
from powercut.vfs import observed

MODULE = "probe"
ENDPOINTS = (UPSTREAM, "/modules/filter/inputs/readings")
_ENVELOPES = {durability: Envelope("readings", durability=durability) for durability in (BATCHED, IMMEDIATE, VOLATILE)}


class Workload(NamedTuple):
    """Steps by weight: names of methods of `Device`. A small `max_bytes` brings checkpoints, and at last eviction."""

    weights: dict[str, int]
    max_bytes: int = 1 << 20
    steps: int = 40
    largest_bytes: int = 3000


WORKLOADS = {
    "mixed": Workload({"send": 8, "wait": 3, "hurry": 3, "deliver": 4, "toggle": 2, "restart": 1}, steps=25),
    "immediate": Workload({"hurry": 8, "deliver": 2, "wait": 1}, largest_bytes=500),
    "draining": Workload({"send": 6, "deliver": 8, "hurry": 4, "wait": 2}),
    "evicting": Workload({"send": 4, "hurry": 8, "deliver": 1}, max_bytes=640 * 1024, largest_bytes=30_000),
    "restarting": Workload({"send": 4, "hurry": 4, "deliver": 2, "restart": 4}, steps=25),
}


class Device(QueueRig):
    """A rig whose every step is drawn from `dice`. It stays the same device over restarts and power cuts."""

    def __init__(self, root: str, image: Image, recorder: Recorder, dice: random.Random, plan: Workload) -> None:
        super().__init__(root, max_bytes=plan.max_bytes)
        materialise(image, self.directory)
        recorder.begin(self.directory, image)
        self.recorder = recorder
        self.dice = dice
        self.plan = plan
        self.sequence = 0
        self._uncommitted: list[Key] = []
        self._commits = self._committed_at = 0
        self._is_live = False

    def work(self) -> None:
        """Take all steps of the workload."""
        weights = self.plan.weights
        for step in self.dice.choices(list(weights), list(weights.values()), k=self.plan.steps):
            getattr(self, step)()

    def queue_settled(self, messages: Sequence[Message]) -> None:
        super().queue_settled(messages)
        self._note_rejected()
        self.recorder.note(Settled(tuple(message.sequence for message in messages)))

    def pump(self) -> None:
        super().pump()
        self._note_rejected()
        self._commits = int(str(self.queue.status()["commits"]))
        if self._commits >= self._committed_at:
            self._forget()

    def send(self) -> None:
        """A burst of batched messages, a volatile one now and then."""
        for _ in range(self.dice.randint(1, 30)):
            self._append(VOLATILE if self.dice.random() < 0.05 else BATCHED)
        self.pump()

    def hurry(self) -> None:
        """A few immediate messages."""
        for _ in range(self.dice.randint(1, 4)):
            self._append(IMMEDIATE)
        self.pump()

    def wait(self) -> None:
        self.advance(self.dice.choice((0.5, 2.0, 6.0, 31.0)))

    def toggle(self) -> None:
        """The upstream comes or goes."""
        self._is_live = not self._is_live
        self.queue.set_live(UPSTREAM, self._is_live)
        self.pump()

    def deliver(self) -> None:
        """Lease some, acknowledge most of them in any order, and now and then give the others back."""
        endpoint = self.dice.choice(ENDPOINTS)
        leased = self.lease(endpoint, self.dice.choice((1, 10, 100, 1000)))
        taken = [each for each in leased if self.dice.random() < 0.8]
        self.dice.shuffle(taken)
        keys = tuple((endpoint, message.sequence) for _, message in taken)
        self.recorder.note(Delivered(keys))
        self._uncommitted += keys
        is_stuck = self.queue.status()["state"] != "ok"  # with a commit that is older than these acknowledgements
        self._committed_at = self._commits + (2 if is_stuck else 1)
        self.queue.ack([ticket for ticket, _ in taken])
        if self.dice.random() < 0.5:
            self.queue.release(endpoint)
        self.pump()

    def restart(self) -> None:
        self.queue.close(10)
        self.recorder.note(Closed())
        self._forget()
        self._commits = self._committed_at = 0
        self._is_live = False
        self.queue = self.new_queue()
        self.open()

    def _note_rejected(self) -> None:
        self.recorder.note(Rejected(counted(self.queue.status()["dropped"], "rejected")))

    def _forget(self) -> None:
        if self._uncommitted:
            self.recorder.note(Forgotten(tuple(self._uncommitted)))
            self._uncommitted = []

    def _append(self, durability: str) -> None:
        self.sequence += 1
        size = self.dice.choice((20, 100, 400, self.plan.largest_bytes))
        body = body_of(self.sequence, self.dice.randint(10, size))
        message = Message(_ENVELOPES[durability], body, MODULE, "s1", self.sequence, 0, 0)
        targets = [(endpoint, 9, -1) for endpoint in self.dice.sample(ENDPOINTS, self.dice.choice((1, 1, 2)))]
        note = Sent(self.sequence, tuple(target[:2] for target in targets), durability == VOLATILE)
        self.recorder.note(note)
        self.queue.append(message, targets)


def live(workload: str, seed: int, count: int = 3) -> Iterator[Life]:
    """Run a workload over several lives of one device, with a power cut between them.

    Raises:
        UnsupportedError: SQLite cannot be watched here.
    """
    plan = WORKLOADS[workload]
    sequence = 0

    def run(number: int, image: Image, dice: random.Random) -> list[Event]:
        nonlocal sequence
        events, sequence = work(plan, image, dice, boot_id=f"boot-{number}", sequence=sequence)
        return events

    return lives(f"{workload}/{seed}", QueuePromises(), run, partial(find, plan.max_bytes), count)


def work(
    plan: Workload, image: Image, dice: random.Random, *, boot_id: str = "boot-0", sequence: int = 0
) -> tuple[list[Event], int]:
    """Run one life that begins with the files of `image`; return what happened and the last sequence.

    Raises:
        UnsupportedError: SQLite cannot be watched here.
    """
    recorder = Recorder()
    with observed(recorder, seed=dice.getrandbits(32)), scratch() as root, ExitStack() as stack:
        device = Device(root, image, recorder, dice, plan)
        device.boot_id, device.sequence = boot_id, sequence
        stack.callback(device.stop)
        stack.callback(recorder.end)
        device.open()
        device.work()
        check(recorder, device.directory)
    return recorder.events, device.sequence


def find(max_bytes: int, image: Image) -> Found:
    """Start the product on what a power cut has left and return what it delivers."""
    with scratch() as root:
        rig = QueueRig(root, max_bytes=max_bytes)
        rig.boot_id = "boot-after"
        materialise(image, rig.directory)
        try:
            rig.open()
            before = rig.queue.status()
            messages = [(endpoint, message) for endpoint in ENDPOINTS for message in drained(rig, endpoint)]
            after = rig.queue.status()
        except Exception as error:  # whatever it is, it is the finding
            return Found(error=f"{type(error).__name__}: {error}")
        finally:
            rig.stop()
    trouble = str(before["reason"] or after["reason"])
    if before["dropped"] != after["dropped"]:
        trouble = f"dropped while delivering: {before['dropped']} became {after['dropped']}"
    found = tuple((name, each.sequence, is_body(each.body, each.sequence)) for name, each in messages)
    return Found(found, trouble, counted(before["dropped"]), counted(before["dropped"], "rejected"))


def drained(rig: QueueRig, endpoint: str) -> Iterator[Message]:
    """Yield everything that an endpoint gets, acknowledging it."""
    leased = rig.lease(endpoint)
    while leased:
        rig.queue.ack([ticket for ticket, _ in leased])
        yield from (message for _, message in leased if message.module == MODULE)
        leased = rig.lease(endpoint)


def counted(dropped: object, reason: str = "") -> int:
    """Return the sum of counters, of all or of one reason, however they are nested."""
    if isinstance(dropped, dict):
        return sum(counted(each, "" if name == reason else reason) for name, each in dropped.items())
    return 0 if reason else int(str(dropped))


@contextmanager
def scratch() -> Iterator[str]:
    """A directory in memory where the system has one: an image lives for milliseconds."""
    parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    root = tempfile.mkdtemp(prefix="powercut-", dir=parent)
    try:
        yield root
    finally:
        with suppress(OSError):
            shutil.rmtree(root)
