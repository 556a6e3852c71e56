from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from microedge.cli import verify_files
from microedge.cli.failure import CommandError
from microedge.cli.verify_files import blocks_of, open_all


def read(*paths: Path) -> list[bytes]:
    with ExitStack() as stack:
        recordings = open_all([str(path) for path in paths], stack)
        return [line for each in recordings for lines, _ in blocks_of(each) for line in lines]


@pytest.fixture
def rotated(tmp_path: Path) -> Path:
    for number in (0, 1, 2, 10):
        (tmp_path / (f"up.jsonl.{number}" if number else "up.jsonl")).write_text(f"{number}\n")
    (tmp_path / "up.jsonl.bak").write_text("other\n")
    return tmp_path / "up.jsonl"


def test_a_file_is_read_behind_those_it_was_rotated_into_oldest_first(rotated):
    assert read(rotated) == [b"10", b"2", b"1", b"0"]


def test_a_file_that_is_named_twice_is_read_once(rotated):
    assert read(rotated, rotated.parent / "up.jsonl.1", rotated) == [b"10", b"2", b"1", b"0"]


def test_a_directory_stands_for_its_files(rotated):
    assert read(rotated.parent) == [b"10", b"2", b"1", b"0", b"other"]


def test_a_file_that_rotates_while_it_is_opened_is_neither_missed_nor_read_twice(rotated, monkeypatch):
    def rotate_then_list(base: str) -> list[int]:
        numbers = numbers_of(base)
        Path(f"{base}.2").rename(f"{base}.3")
        Path(f"{base}.1").rename(f"{base}.2")
        return numbers

    numbers_of = verify_files._numbers
    monkeypatch.setattr(verify_files, "_numbers", rotate_then_list)

    assert read(rotated) == [b"10", b"2", b"1", b"0"]


@pytest.mark.parametrize("block_bytes", [1, 3, 1_000])
def test_lines_are_whole_however_they_are_read(tmp_path, monkeypatch, block_bytes):
    monkeypatch.setattr(verify_files, "_BLOCK_BYTES", block_bytes)
    (tmp_path / "f").write_bytes(b"one\n\ntwo\nthr")

    assert read(tmp_path / "f") == [b"one", b"", b"two", b"thr"]


def test_a_last_line_without_its_end_is_marked(tmp_path):
    (tmp_path / "f").write_bytes(b"one\ntw")
    with ExitStack() as stack:
        (recording,) = open_all([str(tmp_path / "f")], stack)

        assert list(blocks_of(recording)) == [([b"one"], False), ([b"tw"], True)]


def test_a_line_that_is_too_long_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(verify_files, "_BLOCK_BYTES", 100)
    monkeypatch.setattr(verify_files, "MAX_LINE_BYTES", 1_000)
    (tmp_path / "f").write_bytes(b"one\n" + b"x" * 50_000 + b"\ntwo\n")

    assert read(tmp_path / "f") == [b"one", b"x" * 64, b"two"]


def test_what_cannot_be_read_is_wrong_usage(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(CommandError) as caught:
            read(path)
        assert caught.value.exit_code == 2
