"""prctl(2): what a process can ask the kernel about itself. Supervisor, fork server and modules all do."""

from __future__ import annotations

import ctypes

PDEATHSIG, NO_NEW_PRIVS = 1, 38
_NAME, _CHILD_SUBREAPER = 15, 36

_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int | bytes) -> None:
    """Call prctl(2); what the kernel refuses is left as it is, `status` says what is really active."""
    _libc.prctl(option, value, 0, 0, 0)


def set_process_name(name: str) -> None:
    """Name the process for ps and top; the kernel keeps 15 bytes."""
    prctl(_NAME, name.encode()[:15])


def become_subreaper() -> None:
    """Make orphans of this process's descendants its own children instead of init's."""
    prctl(_CHILD_SUBREAPER, 1)
