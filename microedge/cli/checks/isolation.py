"""What protects the modules from each other on this device: what is active, not what was asked for."""

from __future__ import annotations

from microedge.cli.checks.outcome import OK, SKIPPED, WARNING, Outcome, Surroundings

NAME = "isolation"

PLAIN = "plain"


def find(around: Surroundings) -> list[Outcome]:
    """One outcome for the level that the running supervisor reports."""
    if around.status is None:
        return [Outcome(NAME, SKIPPED, "known when microedge runs")]
    level = str(around.status.get("isolation") or PLAIN)
    if level != PLAIN:
        return [Outcome(NAME, OK, level)]
    found = (
        "plain: each module is a process of its own with limits, but of the same user; "
        "a crash stays inside, malice does not"
    )
    return [Outcome(NAME, WARNING, found, "run only modules that you trust")]
