"""A message queue on a virtual reactor and a real database file, with an owner that remembers what it was told."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from typing import Any

from microedge.message import BATCHED, Envelope, Message, Ticket
from microedge.queue.queue import MessageQueue, QueueSettings
from microedge.queue.turns import STRICT_RULE, Rule
from support.virtual_reactor import VirtualReactor

UPSTREAM = "$upstream"
_PATIENCE_S = 10.0


def new_message(
    sequence: int,
    *,
    body: bytes = b"21.5",
    durability: str = BATCHED,
    session: str = "s1",
    module: str = "probe",
    created_ms: int = 0,
) -> Message:
    return Message(Envelope("readings", durability=durability), body, module, session, sequence, 0, created_ms)


class QueueRig:
    """Implements `QueueEvents`. `crash` goes on with a copy of the files as a power cut would have left them."""

    def __init__(
        self, directory: object, *, max_bytes: int = 64 << 20, page_limit: int = 0, rule: Rule = STRICT_RULE
    ) -> None:
        self.reactor = VirtualReactor()
        self.root = str(directory)
        self.generation = 0
        self.max_bytes = max_bytes
        self.page_limit = page_limit
        self.rule = rule
        self.boot_id = "boot-1"
        self.settled: list[Message] = []
        self.available: list[str] = []
        self.directory = os.path.join(self.root, "0")
        os.mkdir(self.directory)
        self.queue = self.new_queue()

    @property
    def file(self) -> str:
        return os.path.join(self.directory, "queue.db")

    def new_queue(self) -> MessageQueue:
        return MessageQueue(
            QueueSettings(self.file, self.max_bytes, 0, rule=self.rule),
            self.reactor,
            self,
            clock=self.reactor.now_s,
            boot_id=lambda: self.boot_id,
            page_limit=self.page_limit,
        )

    def queue_settled(self, messages: Sequence[Message]) -> None:
        assert all(message.waiting == 0 for message in messages)
        self.settled += messages

    def queue_available(self, endpoint: str) -> None:
        self.available.append(endpoint)

    def open(self) -> QueueRig:
        self.queue.open()
        self.pump()
        return self

    def pump(self) -> None:
        """Run until neither the loop nor the writer has anything to do at this moment."""
        self.reactor.turn()
        while self.queue.is_busy:
            assert self.reactor.run_thread_call(_PATIENCE_S), "the writer did not answer"

    def advance(self, seconds: float) -> None:
        """Let time pass in steps, with the writer keeping up."""
        self.pump()
        for _ in range(int(seconds * 2)):
            self.reactor.advance(0.5)
            self.pump()

    def put(self, sequence: int, *, endpoint: str = UPSTREAM, priority: int = 9, ttl_s: int = -1) -> Message:
        message = new_message(sequence)
        self.queue.append(message, [(endpoint, priority, ttl_s)])
        return message

    def ask(self, verb: Callable[..., None], *arguments: object) -> Any:
        """Return the answer of one of the verbs of `queue.upkeep`."""
        answers: list[tuple[Any, str]] = []
        verb(*arguments, lambda answer, trouble: answers.append((answer, trouble)))
        self.pump()
        ((answer, trouble),) = answers
        assert trouble == ""
        return answer

    def set_aside(self, count: int = 1, *, endpoint: str = UPSTREAM, reason: str = "poison") -> None:
        """Turn the next messages of an endpoint into dead letters."""
        for ticket, message in self.lease(endpoint, count):
            self.queue.set_aside(ticket, reason, f"ValueError: {message.sequence}")

    def lease(self, endpoint: str = UPSTREAM, count: int = 1000) -> list[tuple[Ticket, Message]]:
        """Lease messages, waiting for what has to be read from disk first; gap records are taken and forgotten."""
        self.take_gaps()
        leased = self.queue.lease(endpoint, count, 1 << 24)
        while not leased and self.queue.is_busy:
            self.pump()
            leased = self.queue.lease(endpoint, count, 1 << 24)
        return leased

    def take_gaps(self) -> list[Message]:
        """Return the gap records that are due and acknowledge them."""
        leased = self.lease_gaps()
        self.queue.ack([ticket for ticket, _ in leased])
        return [record for _, record in leased]

    def lease_gaps(self) -> list[tuple[Ticket, Message]]:
        """Return the gap records that are due, and no message: none fits."""
        return self.queue._lease_gaps(1000, self.queue._now_ms())

    def drain(self, endpoint: str = UPSTREAM) -> list[int]:
        """Lease and acknowledge everything; return the sequences in order."""
        sequences: list[int] = []
        while True:
            leased = self.lease(endpoint)
            if not leased:
                return sequences
            sequences += [message.sequence for _, message in leased]
            self.queue.ack([ticket for ticket, _ in leased])

    def stop(self) -> None:
        """End the thread and the connection without the farewell of `close`."""
        writer, store = self.queue._writer, self.queue._store
        if writer is not None and store is not None:
            assert writer.stop(_PATIENCE_S)
            store.close()

    def crash(self) -> None:
        """Lose everything that is in RAM and open what was on disk; what the writer had begun is on disk."""
        old = self.directory
        while self.queue.is_busy and self.queue._writer is not None:
            self.queue._writer.result(_PATIENCE_S)
        self.generation += 1
        self.directory = os.path.join(self.root, str(self.generation))
        os.mkdir(self.directory)
        for suffix in ("", "-wal"):
            if os.path.exists(os.path.join(old, "queue.db" + suffix)):
                shutil.copy(os.path.join(old, "queue.db" + suffix), self.file + suffix)
        self.stop()
        self.reactor = VirtualReactor(self.reactor.time_s)
        self.queue = self.new_queue()
        self.open()

    def restart(self) -> None:
        """Close in order and open again."""
        self.queue.close(_PATIENCE_S)
        self.queue = self.new_queue()
        self.open()
