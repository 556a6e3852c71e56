"""Files for one pair of eyes, replaced as a whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from microedge.identity import files


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_pair_is_written_for_its_owner_alone(tmp_path: Path):
    old_mask = os.umask(0)
    try:
        assert files.write_pairs([(str(tmp_path / "a.json"), b"one")]) == [""]
    finally:
        os.umask(old_mask)

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.json": b"one", "a.json.copy": b"one"}
    assert {mode_of(path) for path in tmp_path.iterdir()} == {0o600}


def test_a_pair_that_cannot_be_written_leaves_the_others_alone(tmp_path: Path):
    pairs = [(str(tmp_path / name), b"two") for name in ("a.json", "missing/b.json", "c.json")]

    assert files.write_pairs(pairs) == ["", "No such file or directory", ""]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.json.copy", "c.json", "c.json.copy"]


def test_a_link_in_the_place_of_the_new_file_is_not_followed(tmp_path: Path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (tmp_path / "a.json.copy.new").symlink_to(victim)

    assert files.write_pairs([(str(tmp_path / "a.json"), b"one")]) != [""]
    assert victim.read_bytes() == b"mine"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602, 0o777])
def test_a_file_that_others_can_open_is_closed_to_them(tmp_path: Path, mode: int):
    path = tmp_path / "a.json"
    path.write_bytes(b"one")
    path.chmod(mode)

    assert files.read(str(path)) == (b"one", f"was open to other users (mode {mode:04o}): now 0600")
    assert mode_of(path) == 0o600
    assert files.read(str(path)) == (b"one", "")


def test_a_directory_that_others_can_open_is_closed_to_them(tmp_path: Path):
    directory = tmp_path / "identities"

    assert files.private_directory(str(directory)) == ""
    directory.chmod(0o755)
    assert files.private_directory(str(directory)) == "was open to other users (mode 0755): now 0700"
    assert mode_of(directory) == 0o700


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_file_that_its_owner_cannot_read_is_opened_to_them(tmp_path: Path):
    path = tmp_path / "a.json"
    path.write_bytes(b"one")
    path.chmod(0)

    assert files.read(str(path)) == (b"one", "could not be read by its owner: now it can")
    assert mode_of(path) == 0o600


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink("elsewhere", path)])
def test_what_is_no_regular_file_is_an_error_and_not_a_wait(tmp_path: Path, make):
    path = str(tmp_path / "a.json")
    make(path)

    with pytest.raises(OSError, match=r"no regular file|symbolic links"):
        files.read(path)


def test_damaged_files_are_numbered_and_the_newest_four_are_kept(tmp_path: Path):
    quarantine = tmp_path / "quarantine"
    for number in range(1, 7):
        path = tmp_path / "north.json"
        path.write_text(str(number))
        assert files.set_aside(str(path), str(quarantine), "identity-north").endswith(f"/identity-north-{number}.json")
        assert not path.exists()

    kept = {path.name: path.read_text() for path in quarantine.iterdir()}
    assert kept == {f"identity-north-{number}.json": str(number) for number in range(3, 7)}
    assert mode_of(quarantine) == 0o700


def test_quarantined_files_of_similar_names_do_not_push_each_other_out(tmp_path: Path):
    for name in ("north", "north-1", "north"):
        path = tmp_path / "file.json"
        path.write_text(name)
        files.set_aside(str(path), str(tmp_path / "quarantine"), f"identity-{name}")

    names = sorted(path.name for path in (tmp_path / "quarantine").iterdir())
    assert names == ["identity-north-1-1.json", "identity-north-1.json", "identity-north-2.json"]


def test_what_a_crash_left_half_written_is_removed(tmp_path: Path):
    for name in ("a.json", "a.json.copy", "a.json.new", "a.json.copy.new", "notes.new"):
        (tmp_path / name).write_text("")

    files.remove_leftovers(str(tmp_path))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.json.copy", "notes.new"]
