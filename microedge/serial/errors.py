"""What can go wrong on a serial line, split by what the caller does next."""

from __future__ import annotations

from microedge.errors import MicroedgeError, printable

__all__ = ["BUSY", "CHECK", "DENIED", "FORMAT", "IMPLAUSIBLE", "INVALID", "LOST", "MISSING", "STALLED"]
__all__ += ["DecodeError", "PortError", "PortLost", "printable"]

MISSING, BUSY, DENIED, LOST, INVALID, STALLED = "missing", "busy", "denied", "lost", "invalid", "stalled"
CHECK, FORMAT, IMPLAUSIBLE = "check", "format", "implausible"


class PortError(MicroedgeError):
    """A port cannot be used; `kind` says what to do about it, the text says it in words.

    missing: not there, wait for it. busy: somebody else has it. denied: permissions. lost: it was unplugged.
    invalid: no port at all, or these settings do not suit it. stalled: it takes no bytes.
    """

    def __init__(self, kind: str, path: str, text: str) -> None:
        self.kind, self.path = kind, path
        super().__init__(f"{path}: {text}")


class PortLost(PortError):  # noqa: N818 (named after the event)
    """The device behind an open port is gone. Close the port at once, so that the device gets its old name back."""

    def __init__(self, path: str, text: str) -> None:
        super().__init__(LOST, path, text)


class DecodeError(MicroedgeError):
    """One line is not a reading; drop it and go on. `kind` is check, format or implausible; the text is one line."""

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        super().__init__(text)
