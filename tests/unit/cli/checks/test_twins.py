from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from support import twins

from microedge.cli.checks.outcome import FAILED, OK, SKIPPED, WARNING, Surroundings
from microedge.cli.checks.twins import find
from microedge.twin.stored import MAX_BYTES

GOOD = twins.example().snapshot().render()


def judged(state: Path, files: dict[str, bytes], status=None) -> list[tuple[str, str]]:
    (state / "twins").mkdir()
    for name, content in files.items():
        (state / "twins" / name).write_bytes(content)
    config = SimpleNamespace(paths=SimpleNamespace(state=str(state)))
    found = find(Surroundings("microedge.toml", config, status=status))
    assert all(outcome.cure for outcome in found if outcome.outcome in (WARNING, FAILED))
    return [(outcome.outcome, outcome.found.replace(f"{state}/twins/", "")) for outcome in found]


def test_sound_twins_are_counted(tmp_path):
    files = {"north.json": GOOD, "south.json": GOOD, "north.json.previous": b"", "old.json.removed": b"", ".x": b""}

    assert judged(tmp_path, files) == [(OK, f"2 twins saved in {tmp_path}/twins")]


@pytest.mark.parametrize(
    ("name", "content", "outcome", "found"),
    [
        ("a.json", b"{", FAILED, "a.json: line 1: found (Expecting property name"),
        ("a.json", GOOD.replace(b'"deviceId": "g', b'"deviceId": "h'), FAILED, "a.json: found (edited, or damaged)"),
        ("a.json", b" " * (MAX_BYTES + 1), FAILED, f"a.json: found (a file of {MAX_BYTES + 1} bytes)"),
        ("a.json.damaged-2", b"", WARNING, "a.json.damaged-2 could not be used and was set aside"),
        ("a.json.refused", b"", WARNING, "a.json.refused is an edit that was refused"),
    ],
)
def test_what_cannot_be_used_and_what_was_set_aside_is_named(tmp_path, name, content, outcome, found):
    [(was, text)] = judged(tmp_path, {name: content})

    assert was == outcome
    assert text.startswith(found)


def test_a_problem_of_a_running_twin_is_named(tmp_path):
    status = {"modules": [{"name": "a", "twin": {"problem": "cannot be saved: disk full"}}, {"name": "b", "twin": {}}]}

    assert judged(tmp_path, {"a.json": GOOD}, status) == [(WARNING, "a: cannot be saved: disk full")]


def test_a_device_without_twins_is_well():
    config = SimpleNamespace(paths=SimpleNamespace(state="/nowhere"))

    assert [outcome.outcome for outcome in find(Surroundings("microedge.toml", config))] == [OK]


def test_without_a_configuration_it_is_skipped():
    assert [outcome.outcome for outcome in find(Surroundings("microedge.toml", None))] == [SKIPPED]
