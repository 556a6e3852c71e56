from __future__ import annotations

from pathlib import Path

import pytest
from support import twins

from microedge.cli.failure import CommandError
from microedge.cli.twin_saved import read_saved


def saved(state: Path, old: str = "", new: str = "") -> str:
    """Write the example as microedge saves it, with `old` edited to be `new`; return the state directory."""
    (state / "twins").mkdir()
    text = twins.example().snapshot(is_last=True).render().decode()
    assert old in text
    (state / "twins" / "north.json").write_text(text.replace(old, new))
    return str(state)


def test_the_saved_copy_is_what_a_running_microedge_would_answer_but_for_the_connection(tmp_path):
    twin = twins.example()
    twin.set_connected(False, twins.START_MS + 7 * 60_000)

    found = read_saved(saved(tmp_path), "north")

    expected = {**twins.answer(twin), **twins.history(twin), "file": str(tmp_path / "twins" / "north.json")}
    assert found == expected


def test_an_edit_that_nobody_has_taken_over_yet_is_named(tmp_path):
    edit = ('"desired": {\n      "interval_s": 5', '"desired": {\n      "interval_s": 6')
    found = read_saved(saved(tmp_path, *edit), "north")

    assert found["twin"]["properties"]["desired"]["interval_s"] == 5
    assert "edited by hand" in found["notes"][0]


def test_a_damaged_file_is_an_error_that_says_where_and_what_becomes_of_it(tmp_path):
    with pytest.raises(CommandError, match=r"north\.json: line 2: found \(Expecting") as found:
        read_saved(saved(tmp_path, '"deviceId"', "deviceId"), "north")

    assert "previous copy" in found.value.advice


def test_a_file_that_is_a_directory_is_an_error_and_not_a_traceback(tmp_path):
    (tmp_path / "twins" / "north.json").mkdir(parents=True)

    with pytest.raises(CommandError, match="cannot be read: Is a directory"):
        read_saved(str(tmp_path), "north")


@pytest.mark.parametrize("name", ["south", "../twins/north", "", ".", "north.json"])
def test_without_a_file_there_is_no_copy(tmp_path, name):
    assert read_saved(saved(tmp_path), name) is None
