"""The examples in README and docs/ are so: configurations load, manifests are accepted, modules run alone."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.imports import ROOT

from microedge.config.discovery import scan
from microedge.config.image import read_image
from microedge.config.load import load
from microedge.config.places import bundled_modules_dir
from microedge.hub.parser import parse
from microedge.patch import merge_patch

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "modules").glob("*/README.md"))]
_BLOCK = re.compile(r"(?:^<!-- run: (.*?) -->\n)?^```(toml|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_RUN_TIMEOUT_S = 15


@dataclass(frozen=True)
class Block:
    """One example; `run` holds the arguments with which a module is to be run alone, None for one that is not."""

    page: Path
    line: int
    kind: str
    text: str
    run: str | None = None

    @property
    def is_manifest(self) -> bool:
        return re.search(r"^\[module\]", self.text, flags=re.MULTILINE) is not None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks() -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in _BLOCK.finditer(text):
            yield Block(page, text.count("\n", 0, found.start()) + 1, found[2], found[3], found[1])


TOML = [block for block in blocks() if block.kind == "toml"]
CONFIGURATIONS = [block for block in TOML if not block.is_manifest]
MANIFESTS = [block for block in TOML if block.is_manifest]
PYTHON = [block for block in blocks() if block.kind == "python"]
RUNNABLE = [block for block in PYTHON if block.run is not None]


TESTED = ROOT / "docs" / "testing-modules.md"
_FILE = re.compile(r"^<!-- file: (\S+) -->\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_there_are_examples_of_every_kind():
    assert len(CONFIGURATIONS) > 8
    assert len(MANIFESTS) > 1
    assert len(RUNNABLE) > 2


def write_configuration(block: Block, directory: Path) -> tuple[str, dict[str, str]]:
    """Write the example and the files it names; return its path and the environment it needs."""
    for name in re.findall(r'(?:file|ca_file|cert_file|key_file) = "([^"]+)"', block.text):
        (directory / name).write_text("x")
    file = directory / "microedge.toml"
    file.write_text(block.text, encoding="utf-8")
    return str(file), dict.fromkeys(re.findall(r'env = "(\w+)"', block.text), "x")


@pytest.mark.parametrize("block", CONFIGURATIONS, ids=str)
def test_a_configuration_that_is_shown_loads(block, tmp_path):
    file, environ = write_configuration(block, tmp_path)

    config = load(file, environ=environ, host_name="greenhouse-7")

    for route in config.routes:
        parse(route.name, route.text)


@pytest.mark.parametrize("block", [block for block in CONFIGURATIONS if "serial_bridge" in block.text], ids=str)
def test_the_serial_bridge_takes_the_properties_that_are_shown(block, tmp_path):
    file, environ = write_configuration(block, tmp_path)
    config = load(file, environ=environ, host_name="greenhouse-7")
    defaults = scan("", bundled_modules_dir()).images["serial_bridge"].desired
    wanted = [merge_patch(defaults, one.desired) for one in config.modules.values() if one.image == "serial_bridge"]
    code = "import json, sys; from serial_bridge.settings import Settings; [*map(Settings, json.load(sys.stdin))]"

    run_python(["-c", code], directory=bundled_modules_dir(), stdin=wanted)


def run_python(arguments: list[str], *, directory: str, stdin: object = None) -> str:
    """Run Python in `directory` and return what it printed; fails the test when it fails."""
    result = subprocess.run(
        [sys.executable, *arguments],
        input=json.dumps(stdin),
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=_RUN_TIMEOUT_S,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("block", MANIFESTS, ids=str)
def test_a_manifest_that_is_shown_is_accepted(block, tmp_path):
    directory = write_image(block.text, "def main(client): ...\n", tmp_path)

    assert read_image(str(directory)).directory == str(directory)


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_that_is_shown_compiles(block):
    compile(block.text, str(block), "exec")


@pytest.mark.parametrize("block", RUNNABLE, ids=str)
def test_a_module_that_is_shown_runs_alone(block, tmp_path):
    directory = write_image(manifest_of(block), block.text, tmp_path)

    printed = run_python(["-m", "microedge.sdk.run", str(directory), *shlex.split(block.run)], directory=str(tmp_path))

    assert '"sequence": 1' in printed


def test_tests_of_modules_that_are_shown_pass(tmp_path):
    files = _FILE.findall(TESTED.read_text(encoding="utf-8"))
    for name, text in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")

    printed = run_python(["-m", "pytest", "-q", "-W", "error"], directory=str(tmp_path))

    tests = sum(text.count("\ndef test_") for _, text in files)
    assert tests > 5
    assert f"{tests} passed" in printed


def manifest_of(block: Block) -> str:
    """Return the manifest that is shown right before a module, or one with the ports that its code names."""
    before = [other for other in MANIFESTS if other.page == block.page and 0 < block.line - other.line < 25]
    if before:
        return before[-1].text
    outputs, inputs = re.findall(r'send\("(\w+)"', block.text), re.findall(r'on_input\("(\w+)"', block.text)
    ports = f"[ports]\ninputs = {inputs!r}\noutputs = {outputs!r}\n"
    return f'[module]\nschema = 1\nname = "example"\nversion = "1"\n{ports}'


def write_image(manifest: str, code: str, parent: Path) -> Path:
    name = re.search(r'^name = "(\w+)"', manifest, flags=re.MULTILINE)
    assert name is not None
    directory = parent / name[1]
    directory.mkdir()
    (directory / "module.toml").write_text(manifest)
    (directory / "__init__.py").write_text(code)
    return directory
