"""Identities of a real runtime: what a module sees, what stays, what goes, and the commands."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.runtime import Runtime, Source

_TELLS = """
def main(client):
    client.ready()
    told = {"identity": client.identity, "generation": client.generation, "everything": repr(vars(client))}
    client.send("readings", told)
    while client.wait(60):
        pass
"""
_IMPATIENT = """
import sys

from microedge.cli.main import main
from microedge.identity import store

store.GONE_S = 0.5
sys.exit(main(sys.argv[4:]))  # behind "python -m microedge"
"""
_TWO = '[modules.north]\nimage = "probe"\n[modules.south]\nimage = "probe"\n'


def identities(runtime: Runtime, *, reveal: bool = False) -> dict[str, dict[str, Any]]:
    """Return all identities by module; the device's under ""."""
    found = runtime.request("identity", reveal=reveal)["identities"]
    return {identity["module"]: identity for identity in found}


def told_by(runtime: Runtime, module: str, count: int = 1) -> dict[str, Any]:
    """Return what the last of `count` processes of a module said about itself."""

    def last() -> dict[str, Any]:
        bodies = [line["body"] for line in runtime.upstream_lines() if line["module"] == module]
        return bodies[-1] if len(bodies) == count else {}

    return runtime.wait_for(last, f"message {count} of {module}")


def command(runtime: Runtime, *words: str) -> tuple[int, str]:
    """Run a command of the CLI in a process of its own; return its exit code and everything it printed."""
    line = [sys.executable, "-m", "microedge", "--config", str(runtime.config_file), *words]
    done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=15, check=False)
    return done.returncode, done.stdout


def test_a_module_sees_its_own_identity_and_neither_its_keys_nor_anybody_else_s(tmp_path: Path):
    with Runtime(tmp_path, {"probe": Source(_TELLS)}, config=_TWO) as runtime:
        runtime.wait_running("north", "south")
        known = identities(runtime, reveal=True)
        for name, other in (("north", "south"), ("south", "north")):
            told = told_by(runtime, name)
            assert told["identity"] == f"/devices/bench/modules/{name}"
            assert told["generation"] == known[name]["generation"]
            secrets = [*known[name]["keys"].values(), *known[""]["keys"].values(), known[other]["generation"]]
            assert [secret for secret in secrets if secret in told["everything"]] == []


def test_identities_outlive_modules_supervisors_and_images(tmp_path: Path):
    with Runtime(tmp_path, {"probe": Source(_TELLS)}, config=_TWO) as runtime:
        runtime.wait_running("north", "south")
        before = identities(runtime, reveal=True)
        runtime.request("restart", module="north")
        assert told_by(runtime, "north", 2)["generation"] == before["north"]["generation"]
        runtime.add("probe", Source(_TELLS + "# another version\n"))
        assert told_by(runtime, "north", 3)["generation"] == before["north"]["generation"]

        assert runtime.stop() == 0
        runtime.start()
        assert identities(runtime, reveal=True) == before
        runtime.wait_running("north", "south")
        runtime.kill_everything()
        runtime.start()
        assert identities(runtime, reveal=True) == before


def test_two_devices_have_nothing_in_common(tmp_path: Path):
    found = []
    for name in ("one", "two"):
        with Runtime(tmp_path / name, {"probe": Source(_TELLS)}) as runtime:
            runtime.wait_running("probe")
            found.append(identities(runtime, reveal=True))

    for module in ("", "probe"):
        one, two = found[0][module], found[1][module]
        assert one["generation"] != two["generation"]
        assert set(one["keys"].values()) & set(two["keys"].values()) == set()


def test_a_name_that_is_deleted_and_comes_again_is_somebody_else(tmp_path: Path):
    (tmp_path / "impatient.py").write_text(_IMPATIENT)
    runtime = Runtime(tmp_path / "run", {"probe": Source(_TELLS), "other": Source(_TELLS)})
    try:
        runtime.launch((sys.executable, str(tmp_path / "impatient.py")))
        runtime.wait_for(runtime._answers, "an answer")
        runtime.wait_running("probe", "other")
        before = identities(runtime)
        shutil.rmtree(runtime.modules_dir / "probe")
        runtime.wait_for(lambda: identities(runtime)["probe"]["removed"], "removed identity")

        runtime.add("probe", Source(_TELLS))
        assert told_by(runtime, "probe", 2)["generation"] != before["probe"]["generation"]
        after = identities(runtime)
        assert after["probe"]["fingerprints"] != before["probe"]["fingerprints"]
        assert after["probe"]["removed"] == ""
        assert [after[name] for name in ("", "other")] == [before[name] for name in ("", "other")]
        assert runtime.stop() == 0
    finally:
        runtime.kill_everything()


def test_a_directory_that_is_deleted_and_copied_again_is_an_update(tmp_path: Path):
    with Runtime(tmp_path, {"probe": Source(_TELLS)}) as runtime:
        runtime.wait_running("probe")
        before = identities(runtime)
        shutil.rmtree(runtime.modules_dir / "probe")
        runtime.wait_for(lambda: runtime.module("probe") == {}, "the end of the module")
        runtime.add("probe", Source(_TELLS))

        assert told_by(runtime, "probe", 2)["generation"] == before["probe"]["generation"]
        assert identities(runtime) == before


def test_a_key_is_rotated_while_its_module_runs_on(tmp_path: Path):
    with Runtime(tmp_path, {"probe": Source(_TELLS)}) as runtime:
        runtime.wait_running("probe")
        pid = runtime.module("probe")["pid"]
        before = identities(runtime)["probe"]

        code, text = command(runtime, "identity", "rotate", "probe")
        after = identities(runtime)["probe"]
        assert code == 0
        assert text.startswith(
            f"/devices/bench/modules/probe: new secondary key {after['fingerprints']['secondary']}\n"
            f"the primary key {before['fingerprints']['primary']} stays valid"
        )
        assert after["fingerprints"]["primary"] == before["fingerprints"]["primary"]
        assert after["fingerprints"]["secondary"] != before["fingerprints"]["secondary"]
        assert runtime.module("probe")["pid"] == pid

        runtime.sigkill()
        runtime.start()
        assert identities(runtime)["probe"] == after


def test_the_commands_show_fingerprints_and_keys_only_when_asked(tmp_path: Path):
    with Runtime(tmp_path, {"probe": Source(_TELLS)}) as runtime:
        runtime.wait_running("probe")
        known = identities(runtime, reveal=True)
        key, device_key = known["probe"]["keys"]["primary"], known[""]["keys"]["primary"]

        code, text = command(runtime, "identity", "show")
        assert code == 0
        assert [line.split()[0] for line in text.splitlines()] == ["IDENTITY", "device", "probe"]
        code, text = command(runtime, "identity", "show", "probe", "--json")
        (shown,) = json.loads(text)["identities"]
        assert (code, shown["fingerprints"]) == (0, known["probe"]["fingerprints"])
        assert key not in text
        assert key in command(runtime, "identity", "show", "probe", "--reveal")[1]
        assert device_key in command(runtime, "identity", "show", "--device", "--reveal")[1]
        assert command(runtime, "identity", "show", "nobody")[0] == 1
        assert command(runtime, "identity", "rotate")[0] == 2
        assert runtime.stop() == 0
        assert command(runtime, "identity", "show")[0] == 3
        assert key not in runtime.output


@pytest.mark.parametrize("copy", [True, False])
def test_a_file_cut_in_half_is_told_and_costs_the_identity_only_without_its_copy(tmp_path: Path, copy: bool):
    with Runtime(tmp_path, {"probe": Source(_TELLS)}) as runtime:
        runtime.wait_running("probe")
        before = identities(runtime)["probe"]["generation"]
        assert runtime.stop() == 0
        files = [runtime.state_dir / "identities" / name for name in ("probe.json", "probe.json.copy")]
        for file in files[: 1 if copy else 2]:
            file.write_bytes(file.read_bytes()[:150])
        runtime.start()

        assert (identities(runtime)["probe"]["generation"] == before) == copy
        warnings = "\n".join(runtime.status()["warnings"])
        assert "probe.json: found 150 bytes that are not JSON: it is cut short or damaged; set aside as" in warnings
        assert ("its other copy is used" in warnings) == copy
        lost = [line for line in runtime.logs("supervisor") if "has a new identity" in line]
        assert bool(lost) != copy
        assert len(list((runtime.state_dir / "quarantine").iterdir())) == (1 if copy else 2)


def test_a_state_directory_that_holds_no_identities_is_refused(tmp_path: Path):
    runtime = Runtime(tmp_path)
    runtime.state_dir.mkdir()
    (runtime.state_dir / "identities").write_text("a file")
    try:
        runtime.launch()
        assert runtime.wait_exit() == 1
        assert "make it a directory of this user" in runtime.output
    finally:
        runtime.kill_everything()
