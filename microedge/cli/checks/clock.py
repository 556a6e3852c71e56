"""Is the time of day right? Messages carry it, and TLS certificates depend on it. Nothing waits for it."""

from __future__ import annotations

import time

from microedge.cli.checks.outcome import OK, WARNING, Outcome, Surroundings
from microedge.supervisor.wall_clock import is_synchronized

NAME = "clock"

# The first release; a clock before it started from nothing, as a Pi without a clock chip does.
RELEASE_YEAR = 2024


def find(_around: Surroundings) -> list[Outcome]:
    """One outcome for the clock."""
    now_s = time.time()
    return [
        judge(
            time.gmtime(now_s).tm_year, time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(now_s)), is_synchronized()
        )
    ]


def judge(year: int, shown: str, is_synced: bool | None) -> Outcome:
    """Return the outcome for a clock; `is_synced` is None where the kernel does not say."""
    if year < RELEASE_YEAR:
        cure = "sudo timedatectl set-ntp true; without a network: sudo date -s '2024-01-31 12:00'"
        return Outcome(NAME, WARNING, f"{shown} cannot be right", cure)
    if is_synced:
        return Outcome(NAME, OK, f"{shown}, synchronised")
    if is_synced is None:
        return Outcome(NAME, OK, f"{shown}; whether it is synchronised is not known")
    found = f"{shown}, not synchronised: message times may be wrong, order and expiry are not affected"
    return Outcome(NAME, WARNING, found, "sudo timedatectl set-ntp true")
