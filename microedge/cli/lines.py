"""Lines out of a descriptor that does not block."""

from __future__ import annotations

import os
from typing import Protocol

_CHUNK_BYTES = 65536
_MAX_LINE_BYTES = 1 << 20  # a longer one is passed on in pieces


class _Closable(Protocol):
    def close(self) -> None: ...
    def fileno(self) -> int: ...


class LineBuffer:
    """Collects what a non-blocking descriptor has and hands out whole lines. `is_at_end` once the writer has closed."""

    def __init__(self, descriptor: int, source: _Closable) -> None:
        self.source = source
        self.is_at_end = False
        self._descriptor = descriptor
        self._rest = b""

    def read_lines(self) -> list[bytes]:
        """Read once and return the lines that are complete, without their ends; at the end also an unfinished one."""
        try:
            chunk = os.read(self._descriptor, _CHUNK_BYTES)
        except BlockingIOError:
            return []
        except ConnectionResetError:
            chunk = b""
        if not chunk:
            self.is_at_end = True
            return [self._rest] if self._rest else []
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > _MAX_LINE_BYTES:
            lines.append(self._rest)
            self._rest = b""
        return lines
