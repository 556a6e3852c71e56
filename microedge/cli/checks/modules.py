"""Can every configured module and every dropped-in image run?"""

from __future__ import annotations

from microedge.cli.checks.outcome import FAILED, OK, WARNING, Outcome, Surroundings, skipped_without_config
from microedge.cli.image_check import problems_of
from microedge.config.discovery import scan
from microedge.config.model import Config
from microedge.config.places import bundled_modules_dir
from microedge.config.plan import InstancePlan, plan
from microedge.errors import ConfigError
from microedge.supervisor.routing import dead_ends, routes_of

NAME = "modules"


def find(around: Surroundings) -> list[Outcome]:
    """One outcome for what runs, one for each rejected image or instance and each remark. No module code is run."""
    if around.config is None:
        return skipped_without_config(NAME)
    planned = plan(around.config, scan(around.config.paths.modules, bundled_modules_dir()))
    outcomes = [Outcome(NAME, FAILED, str(error), f"edit {error.file}") for error in planned.rejected]
    for warning in [*planned.warnings, *_dead_ends(around.config, planned.instances)]:
        if warning not in around.config.warnings:  # the configuration's own check shows those
            outcomes.append(Outcome(NAME, WARNING, warning, f"intended? If not, edit {around.config.file}"))
    for directory in sorted({instance.image.directory for instance in planned.instances}):
        for problem in problems_of(directory):
            outcomes.append(Outcome(NAME, FAILED, problem, f"microedge module check {directory}"))
    return [_summary(planned.instances), *outcomes]


def _dead_ends(config: Config, planned: tuple[InstancePlan, ...]) -> list[str]:
    try:
        return dead_ends(routes_of(config), planned)
    except ConfigError:
        return []  # the configuration's own check shows it


def _summary(instances: tuple[InstancePlan, ...]) -> Outcome:
    if not instances:
        return Outcome(NAME, WARNING, "there is nothing to run", "microedge module new NAME")
    return Outcome(NAME, OK, "to run: " + ", ".join(f"{one.name} ({one.image.name})" for one in instances))
