"""What a check is given and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from microedge.cli.client import ControlClient
from microedge.config.model import Config

OK, WARNING, FAILED, SKIPPED = "ok", "warning", "failed", "skipped"


@dataclass(frozen=True)
class Outcome:
    """One line of the answer. `cure` says what to do about a warning or a failure."""

    name: str
    outcome: str
    found: str
    cure: str = ""


@dataclass(frozen=True)
class Surroundings:
    """What the checks look at. `config` is None when it cannot be loaded; `error` then says why.

    `status` is the status document of the running supervisor, None when none runs.
    """

    file: str
    config: Config | None
    error: str = ""
    is_offline: bool = False
    client: ControlClient | None = None
    status: dict[str, Any] | None = None


def skipped_without_config(name: str) -> list[Outcome]:
    """Return the answer of a check that needs a configuration when there is none that can be loaded."""
    return [Outcome(name, SKIPPED, "needs a configuration that loads")]
