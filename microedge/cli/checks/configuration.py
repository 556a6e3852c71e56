"""Does microedge.toml load, and is anything in it unwise?"""

from __future__ import annotations

import os

from microedge.cli.checks.outcome import FAILED, OK, WARNING, Outcome, Surroundings
from microedge.cli.units import count

NAME = "configuration"


def find(around: Surroundings) -> list[Outcome]:
    """One outcome for the file, and a warning for each remark that loading it made."""
    if around.config is None:
        return [Outcome(NAME, FAILED, around.error, f"edit {around.file}" if os.path.exists(around.file) else "")]
    config = around.config
    counts = f"{count(len(config.modules), 'module')}, {count(len(config.routes), 'route')}"
    outcomes = [Outcome(NAME, OK, f"{config.file}: {counts}")]
    for warning in config.warnings:
        outcomes.append(Outcome(NAME, WARNING, warning, f"intended? If not, edit {config.file}"))
    return outcomes
