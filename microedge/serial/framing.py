"""Cuts the bytes of a serial line into frames. Pure: bytes in, frames out, and any chunking gives the same frames.

A port is opened while its device is talking, so the first bytes are the tail of something. Every framer therefore
starts unsynchronised: it throws away everything up to the first border that it can trust, unless it is told that the
line was silent. What is cut short by an unplugged device is thrown away by `reset`. A fragment never becomes a frame.
"""

from __future__ import annotations

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is, without loading typing (0.6 MiB resident)
if TYPE_CHECKING:
    from typing import Protocol

    class Framer(Protocol):
        """What every kind of framing offers: lines today; delimiters, lengths, COBS and others have this shape too."""

        frames: int
        """Frames returned since construction."""
        too_long: int
        """Frames dropped because they exceeded the limit."""
        discarded_bytes: int
        """Bytes dropped because their frame's beginning or end was missed."""

        def feed(self, data: bytes) -> list[bytes]:
            """Return the frames that `data` completes, in order. Never raises; memory stays below the limit."""

        def reset(self, *, is_synced: bool = False) -> None:
            """Forget an incomplete frame. `is_synced`: the next byte is known to begin a frame."""


DEFAULT_MAX_BYTES = 1_024  # ten times what sensors print in a line; noise without an end of line costs no more
EOLS = {"any": b"\n", "lf": b"\n", "cr": b"\r", "crlf": b"\r\n"}

_FRAGMENT, _TOO_LONG = "fragment", "too long"  # why bytes are skipped: their beginning was missed, or they are too many


class LineFramer:
    """Frames are lines without their end; empty lines are skipped.

    `eol` is "lf", "cr", "crlf", or "any" for each of these, also mixed. A line of more than `max_bytes` is dropped up
    to its end, and counted.
    """

    def __init__(self, eol: str = "any", *, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        """Raise ValueError for an unknown `eol`, or a `max_bytes` below 1."""
        if eol not in EOLS:
            raise ValueError(f"eol = {eol!r}: expected one of {', '.join(EOLS)}")
        if max_bytes < 1:
            raise ValueError(f"max_bytes = {max_bytes!r}: expected at least 1")
        self.frames = self.too_long = self.discarded_bytes = 0
        self._is_any = eol == "any"
        self._delimiter = EOLS[eol]
        self._max_bytes = max_bytes
        self._rest = bytearray()
        self._skipping = _FRAGMENT  # up to the next end of line

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that `data` completes, in order. Never raises; keeps at most `max_bytes` and 2 bytes."""
        if self._is_any and b"\r" in data:
            data = data.replace(b"\r", b"\n")  # CRLF becomes a line and an empty one, wherever the chunk ends
        delimiter = self._delimiter
        if delimiter[-1:] not in data:
            self._rest += data
            self._trim_rest()
            return []
        parts = (bytes(self._rest) + data if self._rest else data).split(delimiter)
        self._rest = bytearray(parts.pop())
        if self._skipping and parts:
            self._discard(len(parts.pop(0)))
            self._skipping = ""
        self._trim_rest()
        lines = [part for part in parts if part]
        if lines and len(max(lines, key=len)) > self._max_bytes:
            kept = [line for line in lines if len(line) <= self._max_bytes]
            self.too_long += len(lines) - len(kept)
            lines = kept
        self.frames += len(lines)
        return lines

    def reset(self, *, is_synced: bool = False) -> None:
        """Forget an incomplete line. `is_synced`: the next byte is known to begin a line, so it is not skipped."""
        self.discarded_bytes += len(self._rest)
        self._rest.clear()
        self._skipping = "" if is_synced else _FRAGMENT

    def _trim_rest(self) -> None:
        """Bound the incomplete line; a beginning delimiter at its end is kept, it may be completed later."""
        kept_bytes = len(self._delimiter) - 1
        if not self._skipping and len(self._rest) > self._max_bytes + kept_bytes:
            self.too_long += 1
            self._skipping = _TOO_LONG
        if self._skipping and len(self._rest) > kept_bytes:
            surplus = len(self._rest) - kept_bytes
            self._discard(surplus)
            del self._rest[:surplus]

    def _discard(self, count: int) -> None:
        if self._skipping == _FRAGMENT:  # a line that is too long was counted as such
            self.discarded_bytes += count
