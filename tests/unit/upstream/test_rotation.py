from __future__ import annotations

import errno
import os

import pytest

from microedge.upstream.rotation import RotatingFile


@pytest.fixture
def path(tmp_path) -> str:
    return str(tmp_path / "deep" / "out.jsonl")


@pytest.fixture
def make(path):
    files = []

    def make(max_bytes: int = 100, keep: int = 3) -> RotatingFile:
        files.append(RotatingFile(path, max_bytes, keep))
        files[-1].open()
        return files[-1]

    yield make
    for file in files:
        file.close()


def content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def line(number: int) -> bytes:
    return b"%039d\n" % number


def test_lines_are_appended_to_what_is_there(make, path):
    make().append([b"one\n"])
    make().append([b"two\n"])

    assert content(path) == b"one\ntwo\n"


def test_a_line_that_a_crash_cut_off_does_not_spoil_the_next(make, path):
    make().append([b"one\n"])
    with open(path, "ab") as file:
        file.write(b'{"cut')

    make().append([b"two\n"])

    assert content(path) == b'one\n{"cut\ntwo\n'


def test_the_newest_lines_are_kept_in_as_many_files_as_allowed(make, path):
    file = make(keep=3)

    file.append(line(number) for number in range(9))

    names = sorted(os.listdir(os.path.dirname(path)))
    assert names == ["out.jsonl", "out.jsonl.1", "out.jsonl.2"]
    assert [content(os.path.join(os.path.dirname(path), name)) for name in names] == [
        line(8),
        line(6) + line(7),
        line(4) + line(5),
    ]


def test_one_file_may_be_all_there_is(make, path):
    make(keep=1).append(line(number) for number in range(3))

    assert os.listdir(os.path.dirname(path)) == ["out.jsonl"]
    assert content(path) == line(2)


def test_a_line_larger_than_a_file_has_a_file_of_its_own(make, path):
    make().append([b"a\n", b"x" * 300 + b"\n", b"b\n"])

    assert [content(f"{path}.2"), content(f"{path}.1"), content(path)] == [b"a\n", b"x" * 300 + b"\n", b"b\n"]


def test_what_is_written_is_synced_before_append_returns(make):
    calls = []
    file = make()
    write, sync = file.write, file.sync
    file.write = lambda fd, data: (calls.append("write"), write(fd, data))[1]
    file.sync = lambda fd: (calls.append("sync"), sync(fd))[1]

    file.append(line(number) for number in range(4))

    assert calls == ["write", "sync", "write", "sync"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_failed_append_leaves_no_half_line(make, path, number):
    file = make()
    file.append([b"one\n"])
    write = file.write

    def full(fd: int, data: bytes) -> int:
        if len(data) > 3:
            return write(fd, data[:3])
        raise OSError(number, os.strerror(number))

    file.write = full
    with pytest.raises(OSError, match=os.strerror(number)):
        file.append([b"two two\n"])

    assert content(path) == b"one\n"


def test_a_full_disk_is_noticed_at_open(path, monkeypatch):
    full = os.statvfs_result((4096, 4096, 1000, 0, 0, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: full)

    with pytest.raises(OSError, match="No space left") as caught:
        RotatingFile(path, 100, 2).open()

    assert caught.value.filename == path
