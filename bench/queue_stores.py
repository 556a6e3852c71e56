"""Four stores for the same messages: microedge's queue, persist-queue, litequeue, and Mosquitto for an absent client.

Each takes messages, gives them back in order, forgets what was acknowledged and closes, as its users would have it do.
"""

from __future__ import annotations

import logging
import os
import random
import subprocess
import time
from collections.abc import Sequence
from typing import Any, Protocol

from broker import WINDOW, common_lines, free_port, mosquitto_program
from processes import end, wait_for

from microedge.message import BATCHED, Envelope, Message
from microedge.queue.queue import MessageQueue, QueueSettings
from microedge.supervisor.loop import Loop

_ENDPOINT = "$upstream"
_NEVER = -1
_EPOCH_MS = 1_700_000_000_000
_SESSION = "6f1c2a9be04d"  # one run of one module
_LEASE = 100, 1 << 20  # what the connector to the upstream takes at once: messages, bytes


class Store(Protocol):
    """`put` returns when the store has done what it does for these messages to be kept."""

    pids: list[int]

    def put(self, bodies: Sequence[bytes]) -> None: ...
    def drain(self) -> list[bytes]: ...
    def close(self) -> None: ...


class Microedge:
    """The queue as the supervisor runs it, on the supervisor's loop; `settled` counts what was acknowledged."""

    def __init__(self, directory: str, durability: str = BATCHED, max_bytes: int = 256 << 20) -> None:
        logging.disable(logging.WARNING)
        self.pids = [os.getpid()]
        self.file = os.path.join(directory, "queue.db")
        self.settled = self.sequence = self._taken_ms = 0
        self._dice = random.Random(3)  # a sensor that takes ten readings a second, about: equal times compress too well
        self.when_settled = self.when_available = lambda: None
        self.envelope = Envelope("readings", content_type="application/json", durability=durability)
        self.loop = Loop()
        self.loop.open()
        self.queue = MessageQueue(QueueSettings(self.file, max_bytes, 0), self.loop, self)
        before_s = time.monotonic()
        self.queue.open()
        self.open_s = time.monotonic() - before_s

    def queue_settled(self, messages: Sequence[Message]) -> None:
        self.settled += len(messages)
        self.when_settled()

    def queue_available(self, endpoint: str) -> None:
        self.when_available()

    def append(self, body: bytes) -> None:
        self.sequence += 1
        self._taken_ms += self._dice.randrange(95, 106)
        created_ms = self._taken_ms + _EPOCH_MS
        message = Message(self.envelope, body, "probe", _SESSION, self.sequence, self._taken_ms, created_ms)
        self.queue.append(message, [(_ENDPOINT, 9, _NEVER)])

    def put(self, bodies: Sequence[bytes]) -> None:
        for body in bodies:
            self.append(body)
        self.queue.upkeep.committer.when_saved(self._saved)
        self.loop.run()

    def run(self, seconds: float) -> None:
        """Let the loop turn for a while."""
        end = self.loop.call_later(seconds, self.loop.stop)
        self.loop.run()
        end.cancel()

    def lease(self) -> list[tuple[int, Message]]:
        """Return the next messages; none only when there are none left."""
        while True:
            leased = self.queue.lease(_ENDPOINT, *_LEASE)
            if leased or not self.queue.is_busy:
                return leased
            self.when_available = self.loop.stop
            self.run(0.001)  # what keeps the writer busy may be a commit, which makes nothing available
            self.when_available = lambda: None

    def drain(self) -> list[bytes]:
        self.queue.set_live(_ENDPOINT, True)
        bodies: list[bytes] = []
        leased = self.lease()
        while leased:
            bodies += [message.body for _, message in leased]
            self.queue.ack([ticket for ticket, _ in leased])
            self.run(0)
            leased = self.lease()
        self.queue.upkeep.committer.when_saved(self._saved)
        self.loop.run()
        return bodies

    def close(self) -> None:
        self.queue.close(30)
        self.loop.close()

    def _saved(self, trouble: str) -> None:
        if trouble:
            raise RuntimeError(f"microedge could not save: {trouble}")
        self.loop.stop()


class PersistQueue:
    """SQLiteAckQueue: each put, get and ack is a transaction of its own, fsynced; it cannot do otherwise."""

    def __init__(self, directory: str) -> None:
        from persistqueue import SQLiteAckQueue

        self.pids = [os.getpid()]
        self.file = os.path.join(directory, "data.db")
        self.queue: Any = SQLiteAckQueue(directory)

    def put(self, bodies: Sequence[bytes]) -> None:
        for body in bodies:
            self.queue.put(body)

    def take(self) -> bytes | None:
        """Return the next message, unacknowledged."""
        if not self.queue.size:
            return None
        body: bytes = self.queue.get(block=False)
        return body

    def drain(self) -> list[bytes]:
        bodies: list[bytes] = []
        body = self.take()
        while body is not None:
            bodies.append(body)
            self.queue.ack(body)
            if len(bodies) % 1000 == 0:
                self.queue.clear_acked_data(keep_latest=0)
            body = self.take()
        self.queue.clear_acked_data(keep_latest=0)
        return bodies

    def close(self) -> None:
        self.queue.close()


class LiteQueue:
    """One transaction per put where a caller gives one; its commits are not fsynced (synchronous=NORMAL)."""

    def __init__(self, directory: str) -> None:
        from litequeue import LiteQueue as Queue

        self.pids = [os.getpid()]
        self.file = os.path.join(directory, "lite.db")
        self.queue: Any = Queue(self.file)

    def put(self, bodies: Sequence[bytes]) -> None:
        with self.queue.transaction():
            for body in bodies:
                self.queue.put(body.decode())

    def take(self) -> Any:
        return self.queue.pop()

    def drain(self) -> list[bytes]:
        bodies: list[bytes] = []
        message = self.take()
        while message is not None:
            bodies.append(message.data.encode())
            self.queue.done(message.message_id)
            if len(bodies) % 1000 == 0:
                self.queue.prune()
            message = self.take()
        self.queue.prune()
        return bodies

    def close(self) -> None:
        self.queue.close()


class Mosquitto:
    """A broker that keeps messages for a client that is away, and saves after every `per_commit` changes."""

    def __init__(self, directory: str, per_commit: int) -> None:
        self._port = free_port()
        self.file = os.path.join(directory, "mosquitto.db")
        lines = [*common_lines(self._port), "persistence true", f"persistence_location {directory}/"]
        lines += ["autosave_on_changes true", f"autosave_interval {per_commit}", ""]
        configuration = os.path.join(directory, "mosquitto.conf")
        with open(configuration, "w") as stream:
            stream.write("\n".join(lines))
        self._broker = subprocess.Popen([mosquitto_program(), "-c", configuration], stderr=subprocess.DEVNULL)
        self.pids = [self._broker.pid]
        self._subscriber = self._connect("keeper", is_clean=False)
        self._subscriber.subscribe("t", 1)
        time.sleep(0.5)
        self._leave(self._subscriber)
        self._publisher = self._connect("source", is_clean=True)
        self._acked = 0
        self._publisher.on_publish = self._count

    def put(self, bodies: Sequence[bytes]) -> None:
        sent = self._acked
        for body in bodies:
            sent += 1
            self._publisher.publish("t", body, 1)
            wait_for(lambda: self._acked > sent - WINDOW, 30, "PUBACK")  # noqa: B023
        wait_for(lambda: self._acked >= sent, 30, "PUBACK")

    def drain(self) -> list[bytes]:
        bodies: list[bytes] = []
        self._connect("keeper", is_clean=False, take=bodies.append)
        seen = -1
        while len(bodies) != seen:
            seen = len(bodies)
            time.sleep(0.5)
        return bodies

    def close(self) -> None:
        end(self._broker)

    def _connect(self, name: str, *, is_clean: bool, take: Any = None) -> Any:
        from paho.mqtt.client import CallbackAPIVersion, Client

        client: Any = Client(CallbackAPIVersion.VERSION2, name, clean_session=is_clean)
        if take is not None:
            client.on_message = lambda client, context, message: take(message.payload)
        wait_for(lambda: self._is_there(client), 10, "Mosquitto")
        client.loop_start()
        wait_for(client.is_connected, 10, "CONNACK")
        return client

    def _is_there(self, client: Any) -> bool:
        try:
            client.connect("127.0.0.1", self._port)
        except OSError:
            return False
        return True

    def _leave(self, client: Any) -> None:
        client.disconnect()
        client.loop_stop()

    def _count(self, *_: object) -> None:
        self._acked += 1


def file_bytes(file: str) -> int:
    """Return the bytes of a database and of its log."""
    return sum(os.path.getsize(file + suffix) for suffix in ("", "-wal") if os.path.exists(file + suffix))
