"""Does microedge.toml load, and is anything in it unwise?"""

from __future__ import annotations

import os

from microedge.cli.checks.outcome import FAILED, OK, WARNING, Outcome, Surroundings
from microedge.cli.units import count
from microedge.errors import ConfigError
from microedge.supervisor.routing import routes_of

NAME = "configuration"


def find(around: Surroundings) -> list[Outcome]:
    """One outcome for the file, and a warning for each remark that loading it made."""
    if around.config is None:
        return [Outcome(NAME, FAILED, around.error, f"edit {around.file}" if os.path.exists(around.file) else "")]
    config = around.config
    try:
        routes_of(config)
    except ConfigError as error:
        return [Outcome(NAME, FAILED, str(error), f"edit {config.file}")]
    counts = f"{count(len(config.modules), 'module')}, {count(len(config.routes), 'route')}"
    outcomes = [Outcome(NAME, OK, f"{config.file}: {counts}")]
    for warning in config.warnings:
        outcomes.append(Outcome(NAME, WARNING, warning, f"intended? If not, edit {config.file}"))
    return outcomes
