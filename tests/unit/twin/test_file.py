"""The file of a twin: what is kept, what is set aside, what counts as an edit."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import time

import pytest

from microedge.errors import TwinError
from microedge.twin.file import TwinFile


def parse(data: bytes) -> str:
    """Take whatever starts with "good", as the parser of twins takes twins."""
    if not data.startswith(b"good"):
        raise TwinError("", data, "something good")
    return data.decode()


@pytest.fixture
def file(tmp_path) -> TwinFile:
    return TwinFile(str(tmp_path / "north.json"))


def names(file: TwinFile) -> list[str]:
    return sorted(os.listdir(os.path.dirname(file.path)))


def content(path: str) -> bytes:
    with open(path, "rb") as opened:
        return opened.read()


def put(path: str, data: bytes) -> None:
    with open(path, "wb") as opened:
        opened.write(data)


def test_no_file_is_a_new_twin_and_nothing_is_amiss(file):
    loaded = file.load(parse)

    assert (loaded.value, loaded.notes) == (None, ())


def test_what_was_written_is_loaded_and_what_was_before_is_kept(file):
    for data in (b"good 1", b"good 2", b"good 3"):
        assert file.write(data)

    assert TwinFile(file.path).load(parse).value == "good 3"
    assert content(file.previous) == b"good 2"
    assert names(file) == ["north.json", "north.json.previous"]


def test_only_the_owner_may_read_it(file):
    file.write(b"good")

    assert stat.S_IMODE(os.stat(file.path).st_mode) == 0o600


@pytest.mark.parametrize("damage", [b"", b"goo", b"\0" * 100])
def test_a_damaged_file_is_set_aside_and_its_previous_copy_used(file, damage):
    file.write(b"good 1")
    file.write(b"good 2")
    put(file.path, damage)

    loaded = TwinFile(file.path).load(parse)

    assert (loaded.value, loaded.is_current) == ("good 1", False)
    assert content(f"{file.path}.damaged-1") == damage
    assert names(file) == ["north.json.damaged-1", "north.json.previous"]
    assert "set aside as" in loaded.notes[0]
    assert loaded.notes[1].startswith("the previous copy is used")


def test_when_both_are_damaged_both_are_kept_and_said(file):
    put(file.path, b"bad 1")
    put(file.previous, b"bad 2")

    loaded = file.load(parse)

    assert loaded.value is None
    assert len(loaded.notes) == 3
    assert "starts anew" in loaded.notes[2]
    assert {content(f"{file.path}.damaged-1"), content(f"{file.path}.damaged-2")} == {b"bad 1", b"bad 2"}


def test_the_newest_two_damaged_files_are_kept(file):
    for n in range(5):
        put(file.path, b"bad %d" % n)
        TwinFile(file.path).load(parse)

    assert names(file) == ["north.json.damaged-4", "north.json.damaged-5"]
    assert content(f"{file.path}.damaged-5") == b"bad 4"


def test_a_missing_file_is_replaced_by_its_previous_copy(file):
    file.write(b"good 1")
    file.write(b"good 2")
    os.unlink(file.path)

    loaded = TwinFile(file.path).load(parse)

    assert (loaded.value, loaded.is_current) == ("good 1", False)
    assert "was missing" in loaded.notes[0]


def test_a_write_after_a_damage_keeps_the_previous_copy(file):
    file.write(b"good 1")
    file.write(b"good 2")
    put(file.path, b"bad")
    again = TwinFile(file.path)
    again.load(parse)

    assert again.write(b"good 3")

    assert (content(file.path), content(file.previous)) == (b"good 3", b"good 1")


def test_leftovers_of_a_write_cut_short_are_removed(file, tmp_path):
    file.write(b"good 1")
    put(str(tmp_path / ".north.json.tmp"), b"go")

    TwinFile(file.path).load(parse)

    assert names(file) == ["north.json"]


def test_our_own_writes_are_no_edit(file):
    file.write(b"good 1")
    first = file.read_edit()
    file.write(b"good 2")

    assert (first, file.read_edit()) == (None, None)


def test_an_edit_is_read_once(file):
    file.write(b"good 1")
    put(file.path, b"good edit")

    assert (file.read_edit(), file.read_edit()) == (b"good edit", None)


def test_an_edit_of_a_loaded_file_is_noticed(file):
    file.write(b"good 1")
    again = TwinFile(file.path)
    again.load(parse)
    put(file.path, b"good 2")

    assert again.read_edit() == b"good 2"


def test_a_file_that_was_touched_or_saved_unchanged_is_no_edit(file):
    file.write(b"good 1")
    os.utime(file.path, (1, 1))
    touched = file.read_edit()
    os.unlink(file.path)
    put(file.path, b"good 1")

    assert (touched, file.read_edit()) == (None, None)


def test_a_write_never_overwrites_an_edit_that_nobody_has_seen(file):
    file.write(b"good 1")
    put(file.path, b"good edit")

    assert file.write(b"good 2") is False
    assert content(file.path) == b"good edit"
    assert file.read_edit() == b"good edit"
    assert file.write(b"good 2") is True


def test_a_write_goes_over_a_file_that_was_only_touched(file):
    file.write(b"good 1")
    os.utime(file.path, (1, 1))

    assert file.write(b"good 2") is True


def test_a_deleted_file_is_no_edit_and_comes_back(file):
    file.write(b"good 1")
    os.unlink(file.path)

    assert file.read_edit() is None
    assert file.write(b"good 2") is True
    assert content(file.path) == b"good 2"


def test_a_refused_edit_is_kept_aside_and_never_becomes_the_previous_copy(file):
    file.write(b"good 1")
    file.write(b"good 2")
    put(file.path, b"bad")
    file.keep_refused(file.read_edit())

    file.write(b"good 3")

    assert (content(file.refused), content(file.previous), content(file.path)) == (b"bad", b"good 1", b"good 3")


def test_an_accepted_edit_becomes_the_previous_copy(file):
    file.write(b"good 1")
    put(file.path, b"good edit")
    file.read_edit()

    file.write(b"good 2")

    assert content(file.previous) == b"good edit"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_leaves_the_file_as_it_was(file, monkeypatch, call):
    def fail(*_arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    file.write(b"good 1")
    file.write(b"good 2")
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space"):
        file.write(b"good 3")
    monkeypatch.undo()

    assert content(file.path) == b"good 2"
    assert file.read_edit() is None
    assert file.write(b"good 4")
    assert TwinFile(file.path).load(parse).value == "good 4"


def test_without_hard_links_the_previous_copy_is_kept_all_the_same(file, monkeypatch):
    def fail(*_arguments):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", fail)
    file.write(b"good 1")

    assert file.write(b"good 2")

    assert (content(file.path), content(file.previous)) == (b"good 2", b"good 1")


def test_the_content_is_on_the_disk_before_its_name_is_and_the_name_before_write_returns(file, monkeypatch):
    file.write(b"good 1")
    steps: list[str] = []
    fsync, link, replace = os.fsync, os.link, os.replace

    def note_fsync(descriptor):
        steps.append("sync directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync content")
        fsync(descriptor)

    def note_link(source, target):
        steps.append("link")
        link(source, target)

    def note_replace(source, target):
        steps.append(f"rename to {os.path.basename(target)}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "link", note_link)
    monkeypatch.setattr(os, "replace", note_replace)
    file.write(b"good 2")

    assert steps == [
        "sync content",
        "link",
        "rename to north.json.previous",
        "rename to north.json",
        "sync directory",
    ]


def age(path: str, seconds: float) -> None:
    then = time.time_ns() - int(seconds * 1e9)
    os.utime(path, ns=(then, then))


def test_a_file_is_unsettled_for_a_moment_after_somebody_else_wrote_it(file):
    assert not file.is_unsettled(60)
    file.write(b"good 1")
    assert not file.is_unsettled(60)
    put(file.path, b"goo")
    assert file.is_unsettled(60)
    age(file.path, 61)
    assert not file.is_unsettled(60)
    age(file.path, -3_600)  # a clock that was set back

    assert not file.is_unsettled(60)


def test_a_directory_that_was_cleared_away_is_made_again(file):
    file.write(b"good 1")
    shutil.rmtree(os.path.dirname(file.path))

    assert file.write(b"good 2")
    assert content(file.path) == b"good 2"
