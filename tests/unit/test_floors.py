"""Imports go down, never up or sideways; decisions are pure; the SDK stays small."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest
from support.imports import ROOT, Import, imports_of, is_module, module_name, parse, python_files

FLOORS = {
    "atomic": 0,
    "errors": 0,
    "names": 0,
    "patch": 0,
    "message": 0,
    "method": 0,
    "postpone": 0,
    "reactor": 0,
    "wire": 1,
    "serial": 1,
    "sdk": 2,
    "config": 2,
    "hub": 2,
    "queue": 2,
    "twin": 2,
    "identity": 2,
    "upstream": 2,
    "supervisor": 3,
    "cli": 4,
    "sdk.testing": 4,  # plays the supervisor with its own parts, for the tests of modules; nothing that runs loads it
    "__main__": 5,
}
TESTING = "microedge.sdk.testing"
FACADE = "microedge/__init__.py"  # names the SDK's classes lazily, so it alone looks upwards

PURE = (
    "microedge/errors.py",
    "microedge/names.py",
    "microedge/message.py",
    "microedge/method.py",
    "microedge/patch.py",
    "microedge/wire.py",
    "microedge/queue/policy.py",
    "microedge/queue/record.py",
    "microedge/identity/record.py",
    "microedge/identity/token.py",
    "microedge/cli/verify_analysis.py",
    "microedge/cli/verify_parse.py",
    "microedge/cli/verify_spans.py",
    "microedge/supervisor/agent_report.py",
    "microedge/supervisor/lifecycle.py",
    *python_files("microedge/hub"),
    *(file for file in python_files("microedge/twin") if not file.endswith(("/file.py", "/store.py"))),
)
IMPURE = {"os", "socket", "time", "sqlite3", "asyncio", "threading", "subprocess", "logging", "random"}

# What a module image may use of ours; the rest may change without notice.
OPEN_TO_MODULES = ("microedge.sdk", "microedge.serial")

# The parts that do I/O are put together in one place; everybody else is handed them.
COMPOSED = {"MessageQueue": "microedge.queue.queue", "create": "microedge.upstream.factory"}
COMPOSITION_ROOT = "microedge/supervisor/app.py"

HEAVY = {"asyncio", "ssl", "sqlite3", "logging", "dataclasses", "psutil", "paho", "pathlib", "argparse", "email"}

OURS = python_files("microedge")
IMAGES = python_files("modules")
REPOSITORY_ONLY = {"tests", "support", "bench", "examples", "modules"}


def part_of(name: str) -> str:
    """Return the part of the house that a dotted name belongs to; "" for the facade itself."""
    if f"{name}.".startswith(f"{TESTING}."):
        return "sdk.testing"
    return f"{name}..".split(".")[1]


def is_ours(name: str) -> bool:
    return name == "microedge" or name.startswith("microedge.")


def our_imports(file: str) -> list[Import]:
    return [found for found in imports_of(file) if is_ours(found.target)]


def goes_down(found: Import) -> bool:
    source, target = part_of(module_name(found.file)), part_of(found.target)
    if source == target or target == "":
        return True
    if FLOORS[source] == FLOORS[target] == 0:  # a message is made of names; cycles are looked for below
        return True
    return FLOORS[target] < FLOORS[source]


def test_every_part_has_a_floor():
    parts = {part_of(module_name(file)) for file in OURS if file != FACADE}

    assert parts - FLOORS.keys() == set()


def test_imports_go_down_never_up_or_sideways():
    found = [each for file in OURS if file != FACADE for each in our_imports(file)]

    assert [str(each) for each in found if not goes_down(each)] == []


def test_only_the_version_is_taken_from_the_facade():
    taken = [
        f"{file}:{node.lineno} takes {alias.name}"
        for file in OURS
        for node in ast.walk(parse(file))
        if isinstance(node, ast.ImportFrom) and node.module == "microedge" and not node.level
        for alias in node.names
        if alias.name != "__version__" and not is_module(f"microedge.{alias.name}")
    ]

    assert taken == []


def test_there_is_no_import_cycle():
    graph = {
        module_name(file): {each.target for each in our_imports(file)} - {module_name(file)}
        for file in OURS
        if file != FACADE
    }

    assert cycle_in(graph) == []


def cycle_in(graph: dict[str, set[str]]) -> list[str]:
    """Return what is left when everything that leads nowhere has been taken away, again and again."""
    left = dict(graph)
    while True:
        ends = [name for name, targets in left.items() if not targets & left.keys()]
        if not ends:
            return sorted(left)
        for name in ends:
            del left[name]


def test_the_cycle_search_finds_one():
    assert cycle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]


@pytest.mark.parametrize("file", [file for file in PURE if (ROOT / file).exists()])
def test_a_decision_is_pure(file):
    used = {each.target for each in imports_of(file) if not each.is_for_types}
    ours = {name for name in used if is_ours(name)}
    pure = {module_name(pure_file) for pure_file in PURE}

    assert {name.split(".")[0] for name in used} & IMPURE == set()
    assert ours - pure == set(), "a pure file that imports an impure one is not pure"


def image_of(file: str) -> str:
    return file.split("/")[1]


def test_modules_use_only_what_is_open_to_them():
    wrong = [
        str(each)
        for file in IMAGES
        for each in imports_of(file)
        if (is_ours(each.target) and each.target != "microedge" and not each.target.startswith(OPEN_TO_MODULES))
        or each.target.split(".")[0] in REPOSITORY_ONLY
    ]

    assert wrong == []


def test_modules_never_import_each_other():
    images = {image_of(file) for file in IMAGES}
    wrong = [
        str(each)
        for file in IMAGES
        for each in imports_of(file)
        if each.target.split(".")[0] in images - {image_of(file)}
    ]

    assert wrong == []


def test_one_place_puts_the_parts_together():
    builders = {
        file
        for file in OURS
        for name in called_in(file) & COMPOSED.keys()
        if COMPOSED[name] in {each.target for each in our_imports(file)}
    }

    assert builders <= {COMPOSITION_ROOT}


def called_in(file: str) -> set[str]:
    calls = [node for node in ast.walk(parse(file)) if isinstance(node, ast.Call)]
    return {ast.unparse(call.func).rsplit(".", 1)[-1] for call in calls}


def test_nothing_is_shared_through_global_variables():
    globals_ = [
        f"{file}:{node.lineno}" for file in OURS for node in ast.walk(parse(file)) if isinstance(node, ast.Global)
    ]

    assert globals_ == []


def modules_loaded_by(statement: str) -> set[str]:
    """Return the top-level names in sys.modules of a fresh interpreter after `statement`, less those it starts with."""
    script = f"import sys; before = set(sys.modules); {statement}; print(*(set(sys.modules) - before))"
    # -I and the path by hand: what site-packages start by themselves must not be blamed on us
    path = f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
    done = subprocess.run([sys.executable, "-I", "-c", path + script], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.split()}


def test_no_module_that_runs_loads_what_is_there_to_test_it():
    loaded = "print(*[name for name in sys.modules if name.startswith('microedge')])"
    script = f"import sys, microedge.sdk.run, microedge.sdk.runner, microedge.supervisor.bootstrap; {loaded}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    names = done.stdout.split()

    assert "microedge.sdk.client" in names
    assert [name for name in names if name.startswith(TESTING)] == []
    assert [str(each) for file in IMAGES for each in imports_of(file) if each.target.startswith(TESTING)] == []


@pytest.mark.parametrize(
    "statement",
    ["import microedge.sdk.client", "from microedge import Message, ModuleClient", "import microedge.wire"],
)
def test_importing_the_sdk_loads_nothing_heavy(statement):
    if "client" in statement.lower() and not (ROOT / "microedge/sdk/client.py").exists():
        pytest.skip("there is no SDK yet")

    assert modules_loaded_by(statement) & HEAVY == set()
