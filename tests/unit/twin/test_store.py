"""Opening a twin, whatever happened to its file."""

from __future__ import annotations

import json
import os

import pytest

from microedge.twin.saving import Urgency
from microedge.twin.store import OpenedTwin, TwinStore

T0 = 1_700_000_000_000


@pytest.fixture
def store(tmp_path) -> TwinStore:
    return TwinStore(str(tmp_path / "twins"), "greenhouse-7")


def opened(store: TwinStore, defaults=None) -> OpenedTwin:
    return store.open("north", {"a": 1} if defaults is None else defaults, {}, now_ms=T0)


def save(it: OpenedTwin, *, is_last: bool = False) -> None:
    snapshot = it.twin.snapshot(is_last=is_last)
    assert it.file.write(snapshot.render())
    it.twin.saved(snapshot)


def edit(it: OpenedTwin, change) -> None:
    with open(it.file.path, encoding="utf-8") as file:
        document = json.load(file)
    change(document)
    with open(it.file.path, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=2)


def test_a_new_twin_waits_to_be_saved(store):
    it = opened(store)

    assert (it.twin.desired, it.notes, it.twin.dirty) == ({"a": 1}, (), Urgency.NOW)
    assert os.listdir(store.directory) == []


def test_a_twin_that_nobody_touched_costs_no_write(store):
    save(opened(store), is_last=True)

    it = opened(store)

    assert (it.notes, it.twin.dirty) == ((), Urgency.NOTHING)


def test_an_image_update_while_nobody_ran_is_a_change(store):
    save(opened(store), is_last=True)

    it = opened(store, {"a": 2})

    assert it.twin.desired_document() == {"a": 2, "$version": 3}
    assert it.twin.dirty is Urgency.NOW


def test_a_damaged_file_costs_the_last_change_and_the_notes_say_so(store):
    it = opened(store)
    save(it)
    it.twin.patch_desired({"b": 1}, "cli", T0)
    save(it)
    it.twin.patch_desired({"c": 1}, "cli", T0)
    save(it)
    os.truncate(it.file.path, 700)

    again = opened(store)

    assert again.twin.desired == {"a": 1, "b": 1}
    assert again.twin.dirty is Urgency.NOW
    assert [note.split(":")[0] for note in again.notes] == [
        f"{it.file.path} cannot be used",
        "the previous copy is used",
    ]


def test_no_version_that_a_damaged_file_has_given_out_comes_again(store):
    it = opened(store)
    save(it)
    for number in range(900):
        it.twin.patch_reported({"n": number}, T0)
    it.twin.patch_desired({"a": 2}, "cli", T0)
    save(it)
    for number in range(900):
        it.twin.patch_reported({"n": number}, T0)
    told = it.twin.state
    with open(it.file.path, "r+b") as file:
        file.truncate(100)

    state = opened(store).twin.state
    assert dict(state.desired.properties) == {"a": 1}
    assert state.desired.version > told.desired.version
    assert state.reported.version > told.reported.version
    assert (state.version > told.version, state.revision > told.revision) == (True, True)


def test_an_edit_made_while_nobody_ran_is_taken(store):
    save(opened(store))
    edit(opened(store), lambda document: document["properties"]["desired"].update(a=5))

    it = opened(store)

    assert it.twin.desired == {"a": 5}
    assert it.twin.blame()["a"]["origin"] == "file"
    assert it.notes == (f"{it.file.path} was edited: properties.desired",)


def test_a_bad_edit_made_while_nobody_ran_is_refused_and_kept_aside(store):
    save(opened(store))
    edit(opened(store), lambda document: document["properties"]["desired"].update(a="x" * 5000))

    it = opened(store)

    assert it.twin.desired == {"a": 1}
    assert "properties.desired.a" in it.notes[0]
    assert os.path.exists(it.file.refused)
    assert it.twin.history.standing("file") is not None
    save(it)
    assert opened(store).notes == ()


def test_an_edit_of_something_else_while_nobody_ran_counts_as_damage(store):
    it = opened(store)
    save(it)
    save(it)
    edit(it, lambda document: document["properties"]["reported"].update(a=5))

    again = opened(store)

    assert again.twin.reported == {}
    assert "set aside" in again.notes[0]
    assert "previous copy is used" in again.notes[1]


def test_a_file_from_another_device_takes_the_name_of_this_one(store):
    save(opened(store))

    it = TwinStore(store.directory, "greenhouse-8").open("north", {"a": 1}, {}, now_ms=T0)

    assert it.twin.document()["deviceId"] == "greenhouse-8"


def test_a_retired_twin_is_kept_aside_and_its_name_begins_anew(store):
    it = opened(store)
    it.twin.patch_reported({"r": 1}, T0)
    save(it)
    save(it)
    it.file.keep_refused(b"x")
    store.retire("north")
    store.retire("north")  # nothing is left to do

    assert os.listdir(store.directory) == ["north.json.removed"]
    assert dict(opened(store).twin.reported) == {}


def test_the_twin_of_another_name_stays(store):
    save(opened(store))
    store.retire("nor")
    store.retire("north2")

    assert os.listdir(store.directory) == ["north.json"]


def test_nothing_to_retire_is_no_mistake(store):
    store.retire("north")
