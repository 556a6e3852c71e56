"""Can the configured serial ports be opened by this user, and by nobody else at the same time?"""

from __future__ import annotations

import grp
import os

from microedge.cli.checks.outcome import FAILED, OK, SKIPPED, WARNING, Outcome, Surroundings, skipped_without_config
from microedge.config.model import InstanceConfig
from microedge.serial.errors import PortError
from microedge.serial.identity import find_port, holders

NAME = "serial"

IMAGE = "serial_bridge"


def find(around: Surroundings) -> list[Outcome]:
    """One outcome for each instance that reads a serial port."""
    if around.config is None:
        return skipped_without_config(NAME)
    bridges = [module for module in around.config.modules.values() if module.image == IMAGE]
    if not bridges:
        return [Outcome(NAME, SKIPPED, "no module uses a serial port")]
    own = {module.get("pid") for module in (around.status or {}).get("modules") or []}
    return [_of_instance(module, own) for module in bridges]


def _of_instance(module: InstanceConfig, own_pids: set[int | None]) -> Outcome:
    spec = module.desired.get("port")
    if not isinstance(spec, str) or not spec:
        found = f"{module.name}: no port is set"
        return Outcome(NAME, FAILED, found, "see microedge serial list, then set desired = { port = ... }")
    try:
        path = find_port(spec)
    except (PortError, ValueError) as error:
        return Outcome(NAME, WARNING, f"{module.name}: {error}", "plug it in; see microedge serial list")
    if not os.access(path, os.R_OK | os.W_OK):
        return Outcome(NAME, FAILED, f"{module.name}: this user may not open {path}", _cure(path))
    others = [(pid, command) for pid, command in holders(path) if pid not in own_pids]
    if others:
        users = ", ".join(f"{command} ({pid})" for pid, command in others)
        return Outcome(NAME, WARNING, f"{module.name}: {path} is in use by {users}", "stop that program")
    return Outcome(NAME, OK, f"{module.name}: {path}")


def _cure(path: str) -> str:
    group = _group_of(path)
    if group in _own_groups():
        return f"sudo chmod g+rw {path}"
    return f"sudo usermod -aG {group} $USER, then log in again"


def _group_of(path: str) -> str:
    try:
        return grp.getgrgid(os.stat(path).st_gid).gr_name
    except (OSError, KeyError):
        return "dialout"


def _own_groups() -> set[str]:
    names = set()
    for number in {os.getegid(), *os.getgroups()}:
        try:
            names.add(grp.getgrgid(number).gr_name)
        except KeyError:  # a group that only has a number
            continue
    return names
