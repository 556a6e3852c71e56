"""Files are replaced as a whole, and in an order that a power cut cannot turn into damage."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from microedge.atomic import replace_file, sync_directory


def names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


def test_the_content_is_replaced_and_only_its_owner_may_read_it(tmp_path: Path):
    path = tmp_path / "a.json"
    path.write_bytes(b"one")

    facts = replace_file(str(path), b"two", str(tmp_path / "new"))

    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(facts.st_mode) == 0o600
    assert facts.st_ino == path.stat().st_ino
    assert names(tmp_path) == ["a.json"]


def test_the_content_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append("sync"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda *paths: (steps.append("rename"), replace(*paths)))

    path = str(tmp_path / "a.json")
    replace_file(path, b"one", f"{path}.new", before_rename=lambda: steps.append("between"))
    sync_directory(str(tmp_path))

    assert steps == ["sync", "between", "rename", "sync"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failure_leaves_the_old_content_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str):
    def fail(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "a.json"
    path.write_bytes(b"one")
    monkeypatch.setattr(os, call, fail)

    with pytest.raises(OSError, match="No space"):
        replace_file(str(path), b"two", str(tmp_path / "new"))

    assert path.read_bytes() == b"one"
    assert names(tmp_path) == ["a.json"]


def test_a_link_in_the_place_of_the_temporary_file_is_not_followed(tmp_path: Path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (tmp_path / "new").symlink_to(victim)

    with pytest.raises(OSError, match="symbolic links"):
        replace_file(str(tmp_path / "a.json"), b"one", str(tmp_path / "new"))

    assert victim.read_bytes() == b"mine"


def test_a_large_content_is_written_whole(tmp_path: Path):
    data = os.urandom(3_000_000)

    replace_file(str(tmp_path / "a"), data, str(tmp_path / "new"))

    assert (tmp_path / "a").read_bytes() == data
