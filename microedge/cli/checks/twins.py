"""Can the saved twins be used, and was anything set aside that a person should look at?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from microedge.cli.checks.outcome import FAILED, OK, SKIPPED, WARNING, Outcome, Surroundings, skipped_without_config
from microedge.cli.units import count
from microedge.errors import TwinError
from microedge.twin.stored import MAX_BYTES, parse

NAME = "twins"

_SUFFIX = ".json"


def find(around: Surroundings) -> list[Outcome]:
    """One outcome for each thing that is wrong with a twin or its files, or one that says that nothing is."""
    if around.config is None:
        return skipped_without_config(NAME)
    directory = os.path.join(around.config.paths.state, "twins")
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return [Outcome(NAME, OK, "none yet")]
    except OSError as error:
        return [_unreadable(directory, error)]
    outcomes = [*_problems(around.status), *_judged(directory, names)]
    twins = sum(name.endswith(_SUFFIX) for name in names)
    return outcomes or [Outcome(NAME, OK, f"{count(twins, 'twin')} saved in {directory}")]


def _problems(status: dict[str, Any] | None) -> Iterator[Outcome]:
    for module in (status or {}).get("modules") or []:
        problem = (module.get("twin") or {}).get("problem")
        if problem:
            name = module.get("name")
            yield Outcome(NAME, WARNING, f"{name}: {problem}", f"microedge twin history {name}")


def _judged(directory: str, names: list[str]) -> Iterator[Outcome]:
    for name in names:
        file = os.path.join(directory, name)
        if name.startswith("."):
            continue  # of a write that is under way
        if name.endswith(_SUFFIX):
            yield from _twin(file)
        elif f"{_SUFFIX}.damaged-" in name:
            cure = f"look at what it holds, then delete it; if it happens again, suspect the card; rm {file}"
            yield Outcome(NAME, WARNING, f"{file} could not be used and was set aside", cure)
        elif name.endswith(f"{_SUFFIX}.refused"):
            instance = name.partition(_SUFFIX)[0]
            cure = f"microedge twin history {instance} says why; make the change again, then: rm {file}"
            yield Outcome(NAME, WARNING, f"{file} is an edit that was refused", cure)


def _twin(file: str) -> Iterator[Outcome]:
    try:
        with open(file, "rb") as source:
            parse(source.read(MAX_BYTES + 1))
    except FileNotFoundError:
        return  # a module that has just been removed
    except OSError as error:
        yield _unreadable(file, error)
    except TwinError as error:
        cure = "correct it; microedge takes its previous copy at the next start, and keeps this one beside it"
        yield Outcome(NAME, FAILED, f"{file}: {error}", cure)


def _unreadable(path: str, error: OSError) -> Outcome:
    return Outcome(NAME, SKIPPED, f"{path} cannot be read: {error.strerror}", "sudo microedge check")
