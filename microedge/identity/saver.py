"""Writes identities on a thread that lives only while there is something to write: an fsync may take seconds."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from microedge.identity.files import write_pairs
from microedge.reactor import Reactor


@dataclass(frozen=True)
class Save:
    """One file and its copy to be written. `saved` is called on the loop's thread with "" or why it was not."""

    file: str
    data: bytes
    saved: Callable[[str], None]


class Saver:
    """What is asked for in one turn of the loop is written in one go, in order."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._waiting: list[Save] = []
        self._thread: threading.Thread | None = None
        self._is_due = False

    def save(self, job: Save) -> None:
        """Write soon. Never blocks."""
        self._waiting.append(job)
        if not self._is_due:
            self._is_due = True
            self._reactor.call_soon(self._start)

    def close(self, timeout_s: float) -> bool:
        """Wait for the thread and write what still waits; False when the disk did not answer within `timeout_s`.

        Nobody is told about results any more: the loop has ended.
        """
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                return False
        batch, self._waiting = self._waiting, []
        return not any(_write(batch))

    def _start(self) -> None:
        self._is_due = False
        if self._thread is not None or not self._waiting:
            return
        batch, self._waiting = self._waiting, []
        self._thread = threading.Thread(target=self._run, args=(batch,), name="identity-files", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no more threads for this user: then the loop waits for the disk this once
            self._thread = None
            self._tell(batch, _write(batch))

    def _run(self, batch: list[Save]) -> None:
        results = _write(batch)
        self._reactor.call_from_thread(lambda: self._written(batch, results))

    def _written(self, batch: list[Save], results: list[str]) -> None:
        if self._thread is not None:
            self._thread.join()  # it has nothing left to do
            self._thread = None
        self._tell(batch, results)
        self._start()

    def _tell(self, batch: list[Save], results: list[str]) -> None:
        for job, reason in zip(batch, results):
            job.saved(reason)


def _write(batch: list[Save]) -> list[str]:
    return write_pairs([(job.file, job.data) for job in batch])
