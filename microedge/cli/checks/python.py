"""Is the interpreter new enough, and are the needed packages there?"""

from __future__ import annotations

import importlib
import platform
import sys

from microedge.cli.checks.outcome import FAILED, OK, WARNING, Outcome, Surroundings

NAME = "python"

OLDEST, NEWEST_TESTED = (3, 9), (3, 13)
PACKAGES = {"serial": "pyserial", "paho.mqtt.client": "paho-mqtt", "psutil": "psutil"}
if sys.version_info < (3, 11):
    PACKAGES["tomli"] = "tomli"


def find(_around: Surroundings) -> list[Outcome]:
    """One outcome for the version, one for each package that cannot be imported."""
    outcomes = [_version()]
    for module, package in PACKAGES.items():
        problem = _import_problem(module)
        if problem:
            cure = f"{sys.executable} -m pip install {package}"
            outcomes.append(Outcome(NAME, FAILED, f"{package} cannot be imported: {problem}", cure))
    return outcomes


def _version() -> Outcome:
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info < OLDEST:
        return Outcome(NAME, FAILED, f"{found}: expected 3.9 or newer", "install microedge under a newer Python")
    if sys.version_info[:2] > NEWEST_TESTED:
        return Outcome(NAME, WARNING, f"{found}: newer than any that was tested", "3.9 to 3.13 are tested")
    return Outcome(NAME, OK, found)


def _import_problem(module: str) -> str:
    try:
        importlib.import_module(module)
    except ImportError as error:
        return str(error)
    if module == "paho.mqtt.client":
        version: str = importlib.import_module("paho.mqtt").__version__
        if not version.startswith("2."):
            return f"version {version}, expected 2.x"
    return ""
