"""`python -m microedge.sdk.run`: a module alone, without a supervisor."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from microedge.errors import ModuleImageError
from microedge.sdk.run import read_manifest

MANIFEST = """
[module]
schema = 1
name = "probe"
[ports]
inputs = ["commands"]
outputs = ["readings"]
[desired]
celsius = 20
"""

CODE = """
import sys
def main(client):
    client.on_input("commands", lambda message: client.send("readings", {"obeyed": message.json()}))
    client.ready()
    n = 0
    while client.wait(0.01):
        n += 1
        client.send("readings", {"n": n, "celsius": client.desired["celsius"]}, properties={"unit": "C"})
    client.log.info("stopped after %d", n)
    sys.exit(client.desired.get("code", 0))
"""


@pytest.fixture
def probe(tmp_path: Path) -> Path:
    directory = tmp_path / "probe"
    directory.mkdir()
    (directory / "module.toml").write_text(MANIFEST)
    (directory / "__init__.py").write_text(CODE)
    return directory


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "microedge.sdk.run", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=15, check=False)


def test_it_prints_what_the_module_sends_and_stops_after_the_count(probe: Path):
    result = run(probe, "--count", 2, "--desired", '{"celsius": 4}')

    lines = [json.loads(line) for line in result.stdout.splitlines()[:2]]
    assert lines == [
        {"sequence": n, "output": "readings", "body": {"n": n, "celsius": 4}, "properties": {"unit": "C"}}
        for n in (1, 2)
    ]
    assert "<6>stopped after" in result.stderr
    assert result.returncode == 0


def test_it_delivers_messages_to_an_input(probe: Path):
    result = run(probe, "--input", "commands", '{"open": true}', "--count", 1)

    assert json.loads(result.stdout.splitlines()[0])["body"] == {"obeyed": {"open": True}}


def test_it_prints_what_the_module_reports(probe: Path):
    (probe / "__init__.py").write_text("""
from microedge.errors import TwinError
def main(client):
    versions = [client.report({"a": 1}), client.report({"a": None})]
    try:
        client.report([1])
    except TwinError as error:
        client.log.info("%s %s %s", versions, client.reported, error)
""")
    result = run(probe)

    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"reported": {"a": 1}, "version": 1},
        {"reported": {"a": None}, "version": 2},
    ]
    assert "<6>[1, 2] {} properties.reported = [1]: expected a JSON object" in result.stderr
    assert result.returncode == 0


def test_it_ends_with_the_modules_exit_code(probe: Path):
    assert run(probe, "--count", 1, "--desired", '{"code": 5}').returncode == 5


def test_ctrl_c_asks_the_module_to_stop(probe: Path):
    command = [sys.executable, "-m", "microedge.sdk.run", str(probe)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=15)

    assert process.returncode == 0
    assert "stopped after" in errors


@pytest.mark.parametrize("desired", ["[1]", "5", "{", "null"])
def test_desired_properties_that_are_no_object_are_refused(probe: Path, desired: str):
    result = run(probe, "--desired", desired)

    assert result.returncode == 78
    assert "expected a JSON object" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("text", [None, "", "[module", "[module]\nschema = 1\n"])
def test_a_directory_without_a_usable_manifest_is_refused(tmp_path: Path, text: str | None):
    if text is not None:
        (tmp_path / "module.toml").write_text(text)

    with pytest.raises(ModuleImageError, match=r"module\.toml: .*: expected a manifest"):
        read_manifest(str(tmp_path))
