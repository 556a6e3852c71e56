"""The product with one of its precautions taken away, from outside: the harness must see the difference."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock


@contextmanager
def synchronous(level: str) -> Iterator[None]:
    """SQLite with `PRAGMA synchronous=level`, whatever the product asks for."""

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *rest: Any) -> sqlite3.Cursor:
            return super().execute(sql.replace("synchronous=FULL", f"synchronous={level}"), *rest)

    with _connecting(lambda uri: uri, Connection):
        yield


@contextmanager
def psow_on() -> Iterator[None]:
    """SQLite that takes it for granted that a write spoils nothing beside it, which is its default."""
    with _connecting(lambda uri: uri.replace("psow=0", "psow=1"), sqlite3.Connection):
        yield


@contextmanager
def no_fsync_of(kind: str) -> Iterator[None]:
    """An `os.fsync` that does nothing for a "file", or for a "directory"."""
    real = os.fsync

    def fsync(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode) != (kind == "directory"):
            real(fd)

    with mock.patch("os.fsync", fsync):
        yield


@contextmanager
def old_wal_kept() -> Iterator[None]:
    """A store that goes on writing to the WAL that a power cut has left."""
    with mock.patch("microedge.queue.store.Store._settle_old_wal"):
        yield


@contextmanager
def _connecting(rewritten: Any, factory: type[sqlite3.Connection]) -> Iterator[None]:
    real = sqlite3.connect

    def connect(database: str, **options: Any) -> sqlite3.Connection:
        return real(rewritten(database), factory=factory, **options)

    with mock.patch("sqlite3.connect", connect):
        yield
