"""What callbacks raise: the SDK logs it and answers for it, so that nobody but the test would ever see it.

All callbacks that somebody waits for pass through `Job`. For as long as a hub lives, its end tells of what it catches,
if it is a module of that hub whose callback it was.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

from microedge.sdk.job import Job
from microedge.sdk.testing.strand import Strand


class Failures:
    """`open` begins to look, `close` ends it; of several, the last to open closes first."""

    def __init__(self, strand_here: Callable[[], Strand | None]) -> None:
        """`strand_here` says on whose strand we are."""
        self._strand_here = strand_here
        self._real: Any = None

    def open(self) -> None:
        """Begin to look."""
        real, strand_here = Job.__exit__, self._strand_here

        def leave(job: Job, kind: Any, error: BaseException | None, trace: TracebackType | None) -> bool:
            strand = strand_here()
            if strand is not None and isinstance(error, Exception):
                strand.failures.append(error)
            return real(job, kind, error, trace)

        self._real = real
        setattr(Job, "__exit__", leave)  # noqa: B010 (mypy takes a method for something that nobody assigns to)

    def close(self) -> None:
        """End it."""
        if self._real is not None:
            setattr(Job, "__exit__", self._real)  # noqa: B010
