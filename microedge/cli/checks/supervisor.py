"""Does microedge run, and do its modules?"""

from __future__ import annotations

from microedge.cli.checks.outcome import FAILED, OK, SKIPPED, WARNING, Outcome, Surroundings
from microedge.cli.status_view import TROUBLED
from microedge.cli.units import duration
from microedge.config.model import Config

NAME = "running"


def find(around: Surroundings) -> list[Outcome]:
    """One outcome for the supervisor, one for each module in trouble."""
    status = around.status
    if status is None:
        return [Outcome(NAME, SKIPPED, "microedge is not running", "microedge run")]
    found = f"microedge {status.get('version')} for {duration(status.get('uptime_s') or 0)}, pid {status.get('pid')}"
    outcomes = [Outcome(NAME, OK, found)]
    for module in status.get("modules") or []:
        if module.get("state") in TROUBLED:
            text = f"{module.get('name')} ({module.get('state')}): {module.get('reason') or 'no reason given'}"
            outcomes.append(Outcome(NAME, FAILED, text, f"microedge logs {module.get('name')}"))
    return outcomes + _differences(around.config, status.get("config"))


def _differences(config: Config | None, running: object) -> list[Outcome]:
    if config is None or running in (None, config.file):
        return []
    found = f"it runs with {running}, not with {config.file}"
    return [Outcome(NAME, WARNING, found, "stop it and start it with this configuration")]
