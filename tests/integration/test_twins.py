"""Twins with real processes: changes reach modules that run, reports reach the card, and files take people's edits."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.runtime import Runtime, Source

from microedge.cli.failure import CommandError

TELLS = """
import json

def main(client):
    def tell(patch, desired):
        print("told", json.dumps([patch["$version"], patch.is_whole, desired]), flush=True)
    client.on_desired(tell)
    client.ready()
    count = 0
    while client.wait(client.desired.get("report_s", 60)):
        count += 1
        print("version", client.report({"count": count}), flush=True)
"""
FAST = '[modules.probe]\nimage = "probe"\ndesired = { report_s = 0.01 }\n'
PARTICULAR = """
import sys

def main(client):
    def configure(patch, desired):
        if desired.get("port") != "good":
            print("port =", desired.get("port"), file=sys.stderr)
            sys.exit(78)
    client.on_desired(configure)
    client.ready()
    client.run()
"""


def image(code: str = TELLS, tables: str = "") -> Source:
    return Source(
        code, tables=f"{tables}\n[supervision]\nready_timeout_s = 5\nstop_timeout_s = 2\nhang_timeout_s = 30\n"
    )


def told(runtime: Runtime) -> list[Any]:
    """Return [version, whether it was whole, desired] of each time that the module was told."""
    return [json.loads(line[5:]) for line in runtime.logs("probe") if line.startswith("told ")]


def versions(runtime: Runtime) -> list[int]:
    return [int(line[8:]) for line in runtime.logs("probe") if line.startswith("version ")]


def twin_file(runtime: Runtime) -> Path:
    return runtime.state_dir / "twins" / "probe.json"


def on_disk(runtime: Runtime) -> Any:
    return json.loads(twin_file(runtime).read_text())["properties"]


def problem(runtime: Runtime) -> str:
    text: str = runtime.module("probe")["twin"]["problem"]
    return text


def wait_told(runtime: Runtime, key: str, value: object) -> Any:
    def arrived() -> Any:
        return next((one for one in told(runtime) if one[2].get(key) == value), None)

    return runtime.wait_for(arrived, f"{key} = {value!r} at the module")


def test_a_change_by_hand_reaches_a_running_module(tmp_path: Path):
    with Runtime(tmp_path, {"probe": image(tables="[desired]\nunit = 'C'\n")}) as runtime:
        runtime.wait_running("probe")
        answer = runtime.request("twin_set", module="probe", part="desired", patch={"mode": "fast"})
        arrived = wait_told(runtime, "mode", "fast")

        assert (answer["changed"], answer["delivered"]) == (True, True)
        assert arrived == [answer["version"], False, {"unit": "C", "mode": "fast"}]
        assert runtime.module("probe")["restarts"] == 0
        assert runtime.request("twin", module="probe")["blame"]["mode"]["origin"] == "cli"
        with pytest.raises(CommandError, match=r"properties\.desired"):
            runtime.request("twin_set", module="probe", part="desired", patch={"a.b": 1})
        assert runtime.request("twin_history", module="probe")["refusals"][0]["origin"] == "cli"


def test_another_desired_in_the_configuration_reaches_it_without_a_restart_and_the_rest_restarts(tmp_path: Path):
    config = '[modules.probe]\nimage = "probe"\n'
    with Runtime(tmp_path, {"probe": image()}, config=config) as runtime:
        runtime.wait_running("probe")
        pid = runtime.module("probe")["pid"]
        runtime.write_config(config + 'desired = { unit = "K" }\n')
        runtime.hangup()
        wait_told(runtime, "unit", "K")
        assert runtime.module("probe")["pid"] == pid
        runtime.write_config(config + 'desired = { unit = "K" }\nenv = { A = "b" }\n')
        runtime.hangup()

        runtime.wait_for(lambda: runtime.module("probe")["pid"] not in (pid, None), "another process")


def test_a_module_that_failed_for_its_settings_starts_when_they_change(tmp_path: Path):
    with Runtime(tmp_path, {"probe": image(PARTICULAR)}) as runtime:
        runtime.wait_state("probe", "failed")
        runtime.request("twin_set", module="probe", part="desired", patch={"port": "good"})

        runtime.wait_running("probe")


def test_a_module_that_failed_for_its_settings_starts_when_the_configuration_is_corrected(tmp_path: Path):
    config = '[modules.probe]\nimage = "probe"\ndesired = { port = "bad" }\n'
    with Runtime(tmp_path, {"probe": image(PARTICULAR)}, config=config) as runtime:
        runtime.wait_state("probe", "failed")
        runtime.write_config(config.replace("bad", "good"))
        runtime.hangup()

        runtime.wait_running("probe")


def test_reports_are_gathered_and_saved_at_once_when_the_module_stops(tmp_path: Path):
    with Runtime(tmp_path, {"probe": image()}, config=FAST) as runtime:
        runtime.wait_for(lambda: len(versions(runtime)) > 100, "a hundred reports")
        assert on_disk(runtime)["reported"].get("count", 0) < 100
        assert not runtime.module("probe")["twin"]["is_saved"]
        runtime.request("stop", module="probe")
        last = versions(runtime)[-1]

        runtime.wait_for(lambda: on_disk(runtime)["reported"]["$version"] >= last, "the last report on the card")


def test_a_regular_stop_saves_the_last_report(tmp_path: Path):
    with Runtime(tmp_path, {"probe": image()}, config=FAST) as runtime:
        runtime.wait_for(lambda: len(versions(runtime)) > 20, "reports")
        seen = versions(runtime)[-1]
        assert runtime.stop() == 0
        first = on_disk(runtime)["reported"]
        runtime.start()
        runtime.wait_running("probe")
        runtime.wait_for(lambda: versions(runtime), "a report")

        assert first["$version"] >= seen
        assert versions(runtime)[0] == first["$version"] + 1


def test_a_supervisor_that_is_killed_never_gives_out_a_version_twice(tmp_path: Path):
    with Runtime(tmp_path, {"probe": image()}, config=FAST) as runtime:
        runtime.wait_running("probe")
        runtime.request("twin_set", module="probe", part="desired", patch={"mode": "fast"})
        seen: list[int] = []
        for _ in range(3):
            runtime.wait_for(lambda: len(versions(runtime)) > 20, "reports")
            now = versions(runtime)
            assert now == list(range(now[0], now[0] + len(now)))
            assert now[0] > max(seen, default=0)
            seen += now
            runtime.wait_for(lambda: on_disk(runtime)["desired"].get("mode"), "the change on the card")
            runtime.sigkill()
            runtime.start()

        assert runtime.request("twin", module="probe")["twin"]["properties"]["desired"]["mode"] == "fast"
        assert problem(runtime) == ""


def test_half_a_file_is_replaced_by_its_previous_copy_and_status_says_so(tmp_path: Path):
    with Runtime(tmp_path, {"probe": image()}) as runtime:
        runtime.wait_running("probe")
        for number in range(3):
            runtime.request("twin_set", module="probe", part="desired", patch={"number": number})
            runtime.wait_for(lambda: runtime.module("probe")["twin"]["is_saved"], "the change on the card")
        runtime.stop()
        whole = twin_file(runtime).read_bytes()
        twin_file(runtime).write_bytes(whole[: len(whole) // 2])
        runtime.start()
        runtime.wait_running("probe")

        assert "cannot be used" in problem(runtime)
        assert "previous copy" in problem(runtime)
        assert told(runtime)[0][2]["number"] in (1, 2)


def edit_in_place(file: Path, pattern: str, replacement: str) -> None:
    file.write_text(re.sub(pattern, replacement, file.read_text(), count=1))


def edit_by_renaming(file: Path, pattern: str, replacement: str) -> None:
    subprocess.run(["sed", "-i", "-E", f"0,/{pattern}/s//{replacement}/", str(file)], check=True)


@pytest.mark.parametrize("edit", [edit_in_place, edit_by_renaming])
def test_an_edit_of_the_file_reaches_the_module(tmp_path: Path, edit: Any):
    with Runtime(tmp_path, {"probe": image(tables="[desired]\nunit = 'C'\n")}) as runtime:
        runtime.wait_running("probe")
        runtime.wait_for(twin_file(runtime).exists, "the twin's file")
        edit(twin_file(runtime), '"unit": "C"', '"unit": "K"')
        arrived = wait_told(runtime, "unit", "K")
        runtime.wait_for(lambda: on_disk(runtime)["desired"]["$version"] == arrived[0], "the version in the file")
        edit(twin_file(runtime), '"unit": "K"', '"unit": "F", "mode": "fast"')

        assert wait_told(runtime, "mode", "fast")[:2] == [arrived[0] + 1, False]
        assert problem(runtime) == ""


@pytest.mark.parametrize("edit", [edit_in_place, edit_by_renaming])
@pytest.mark.parametrize(
    ("replacement", "reason"),
    [('"unit": "K"', "JSON"), ('"unit": "K", "a b": 1,', "a key of 1 to")],
    ids=["comma", "key"],
)
def test_a_bad_edit_is_refused_with_its_line_kept_and_put_back(
    tmp_path: Path, edit: Any, replacement: str, reason: str
):
    with Runtime(tmp_path, {"probe": image(tables="[desired]\nunit = 'C'\n")}) as runtime:
        runtime.wait_running("probe")
        runtime.wait_for(twin_file(runtime).exists, "the twin's file")
        edit(twin_file(runtime), '"unit": "C",', replacement)
        said = runtime.wait_for(lambda: problem(runtime), "a refusal in status")
        runtime.wait_for(lambda: '"K"' not in twin_file(runtime).read_text(), "the file as it was")

        assert re.search(rf"line \d+: .*{reason}", said)
        assert '"K"' in Path(f"{twin_file(runtime)}.refused").read_text()
        assert on_disk(runtime)["desired"]["unit"] == "C"
        assert len(told(runtime)) == 1
        assert any("is refused" in line for line in runtime.logs("supervisor"))


def test_a_changed_report_is_a_message_that_a_route_can_choose(tmp_path: Path):
    routes = (
        "[routes]\n"
        'count = "FROM /twinChangeNotifications WHERE twin_change_includes(properties.reported.count) '
        "AND $messageType = 'twinChangeNotification' INTO $upstream\"\n"
        'never = "FROM /twinChangeNotifications WHERE twin_change_includes(properties.reported.other) INTO $upstream"\n'
    )
    with Runtime(tmp_path, {"probe": image()}, config=FAST + routes) as runtime:
        runtime.wait_for(lambda: len(runtime.upstream_lines()) > 5, "changes upstream")
        counts = {route["name"]: route["messages"] for route in runtime.status()["routes"]}
        lines = runtime.upstream_lines()

        assert [line["body"] for line in lines[:3]] == [{"count": 1}, {"count": 2}, {"count": 3}]
        assert {(line["module"], line["output"]) for line in lines} == {("probe", "twinChangeNotifications")}
        assert counts["never"] == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB in the place of the directory of twins."""
    directory = tmp_path / "state" / "twins"
    directory.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(directory)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("nobody may mount here")
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


def fill(ballast: Path) -> None:
    with open(ballast, "wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4_096)


def test_on_a_full_card_twins_go_on_in_ram_and_are_saved_when_there_is_room(tmp_path: Path, small_disk: Path):
    with Runtime(tmp_path, {"probe": image()}, config=FAST) as runtime:
        runtime.wait_for(lambda: len(versions(runtime)) > 5, "reports")
        fill(small_disk / "ballast")
        runtime.request("twin_set", module="probe", part="desired", patch={"mode": "fast"})
        wait_told(runtime, "mode", "fast")
        said = runtime.wait_for(lambda: problem(runtime), "the full card in status")
        before = versions(runtime)[-1]
        runtime.wait_for(lambda: versions(runtime)[-1] > before + 5, "further reports")
        (small_disk / "ballast").unlink()
        assert runtime.stop() == 0

        assert "No space left on device" in said
        assert on_disk(runtime)["desired"]["mode"] == "fast"
