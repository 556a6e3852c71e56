"""The upstream that is a file of JSON lines: for a device that is read out by hand, or by another program.

The loop's thread gathers messages; a thread of its own writes a batch, fdatasyncs and reports it delivered, so a
delivered message has survived a power cut. SD cards wear by the flush, not by the byte: a flush costs three or four
blocks of 4 KiB (page, inode, journal) however short the line is. Therefore at most one flush per second, and sooner
only when a flush is worth its blocks (256 KiB wait) or when it holds somebody up: 128 messages wait, half of what one
module may have unacknowledged, so that its window never runs dry while the card is at work.
One second is also well below the linger (5 s) after which the queue would write the same message to the same card.
"""

from __future__ import annotations

import random
import threading
import time
from queue import SimpleQueue

from microedge.errors import printable
from microedge.upstream.backoff import Backoff
from microedge.upstream.document import encode_line
from microedge.upstream.rotation import RotatingFile
from microedge.upstream.state import CLOSED, CONNECTED, ConnectorState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from microedge.message import Message, Ticket
    from microedge.reactor import Reactor, Timer
    from microedge.upstream.connector import UpstreamEvents
    from microedge.upstream.settings import UpstreamSettings

    Batch = Sequence[tuple[Ticket, Message]]

WINDOW = 1000
SYNC_INTERVAL_S = 1.0
SYNC_BYTES = 256 * 1024
SYNC_MESSAGES = 128
_GATHER_S = 0.05  # after a pause: what belongs to one burst shares one flush


class FileConnector:
    """Implements microedge.upstream.connector.Connector."""

    def __init__(self, settings: UpstreamSettings, reactor: Reactor, *, backoff: Backoff | None = None) -> None:
        self._reactor = reactor
        self._state = ConnectorState(settings)
        self._backoff = backoff or Backoff(random.random)
        self._writer = _Writer(RotatingFile(settings.path, settings.max_bytes, settings.keep), reactor)
        self._waiting: list[tuple[Ticket, Message]] = []
        self._waiting_bytes = 0
        self._writing: Batch = ()
        self._synced_at = -SYNC_INTERVAL_S
        self._timer: Timer | None = None
        self._done: Callable[[], None] | None = None

    @property
    def file(self) -> RotatingFile:
        return self._writer.file

    def open(self, events: UpstreamEvents) -> None:
        """Start the writing thread and open the file on it; see Connector.open."""
        self._events = events
        self._writer.start()
        self._try_open()

    def publish(self, batch: Batch) -> None:
        """Take messages for the next flush; see Connector.publish. Never blocks."""
        self._waiting.extend(batch)
        self._waiting_bytes += sum(message.size_bytes for _, message in batch)
        self._schedule()

    def set_reported(self, module: str, document: bytes) -> None:
        """Ignore it: a file holds messages, and the twin is a file on this device already."""

    def status(self) -> dict[str, object]:
        return self._state.document(len(self._waiting) + len(self._writing))

    def close(self, done: Callable[[], None], timeout_s: float) -> None:
        """Flush what was taken, then end the thread; see Connector.close."""
        self._done = done
        self._cancel()
        if self._state.name == CONNECTED and (self._waiting or self._writing):
            self._timer = self._reactor.call_later(timeout_s, self._closed)
            self._flush()
        else:
            self._reactor.call_soon(self._closed)

    def _try_open(self) -> None:
        self._timer = None
        self._state.connecting()
        self._writer.put((), self._opened)

    def _opened(self, error: OSError | None) -> None:
        if self._done or self._state.name == CLOSED:
            return
        if error:
            self._retry(error)
            return
        self._state.connected()
        self._events.upstream_connected(WINDOW)

    def _schedule(self) -> None:
        if self._writing or not self._waiting:
            return
        if self._waiting_bytes >= SYNC_BYTES or len(self._waiting) >= SYNC_MESSAGES or self._done:
            self._flush()
        elif self._timer is None:
            since_s = time.monotonic() - self._synced_at
            self._timer = self._reactor.call_later(max(SYNC_INTERVAL_S - since_s, _GATHER_S), self._flush)

    def _flush(self) -> None:
        if self._writing or not self._waiting:
            return
        if not self._done:  # while closing, the timer is the time limit
            self._cancel()
        self._writing, self._waiting, self._waiting_bytes = self._waiting, [], 0
        self._synced_at = time.monotonic()
        self._writer.put(self._writing, self._written)

    def _written(self, error: OSError | None) -> None:
        if self._state.name == CLOSED:
            return
        batch, self._writing = self._writing, ()
        if error:
            self._lost(error)
            return
        self._backoff.reset()
        self._state.delivered += len(batch)
        self._events.upstream_delivered([ticket for ticket, _ in batch])
        self._schedule()
        if self._done and not self._writing:
            self._closed()

    def _lost(self, error: OSError) -> None:
        self._waiting, self._waiting_bytes = [], 0
        if not self._done:
            self._cancel()
        self._events.upstream_lost(self._retry(error))
        if self._done:
            self._closed()

    def _retry(self, error: OSError) -> str:
        reason = f"cannot write {error.filename or self.file.path}: {printable(error.strerror or error)}"
        delay_s = self._backoff.next_s()
        self._state.waiting(reason, delay_s)
        if not self._done:
            self._timer = self._reactor.call_later(delay_s, self._try_open)
        return reason

    def _closed(self) -> None:
        if self._state.name == CLOSED:
            return
        self._cancel()
        self._state.closed()
        self._writer.stop()
        done, self._done = self._done, None
        if done:
            done()

    def _cancel(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None


class _Writer:
    """The thread. It writes one batch after the other and reports each; an empty batch only (re)opens the file."""

    def __init__(self, file: RotatingFile, reactor: Reactor) -> None:
        self.file = file
        self._reactor = reactor
        self._jobs: SimpleQueue[tuple[Batch, Callable[[OSError | None], None]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="upstream-file", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, batch: Batch, report: Callable[[OSError | None], None]) -> None:
        self._jobs.put((batch, report))

    def stop(self) -> None:
        """Let the thread end after what it is doing; does not wait: a dying card may hold an fsync for minutes."""
        self._jobs.put(None)

    def _run(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                break
            batch, report = job
            error = self._work(batch)
            self._reactor.call_from_thread(lambda report=report, error=error: report(error))  # type: ignore[misc]
        self.file.close()

    def _work(self, batch: Batch) -> OSError | None:
        try:
            if batch:
                self.file.append(encode_line(message) for _, message in batch)
            else:
                self.file.open()
        except OSError as error:
            self.file.close()
            return error
        return None
