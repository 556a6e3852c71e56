from __future__ import annotations

import os
from pathlib import Path

import pytest

from microedge.config.document import open_document, parse_document, shown_key
from microedge.errors import ConfigError


@pytest.mark.parametrize(
    ("raw", "line", "found", "hint"),
    [
        (b"\nid = greenhouse", 2, "column 6", "text stands in quotes"),
        (b"a = = b", 1, "invalid value", "text stands in quotes"),
        (b'id "x"', 1, "expected '='", "write key = value"),
        (b'id = "x', 1, "a mistake at", "close the quotes"),
        (b"a = [1,\n2", 2, "unclosed array", r"close the list with \]"),
        (b'path = "C:\\dir"', 1, "unescaped", "single quotes"),
        (b"[t]\na = 1\n\na = 2\n", 4, "cannot overwrite", "set twice"),
        (b"[t]\n[u]\n[t]\n", 3, "cannot declare", "written twice"),
        (b"a = 1 b = 2", 1, "expected newline", "on each line"),
        (b"[t\na = 1", 1, "expected ']'", "toml.io"),
        (b"a = 1\nb = \xff", 2, "the byte 0xff", "save the file as UTF-8"),
        (b"a = 1\n\nb = \x00", 3, "a NUL byte", "a power cut"),
        ("a = 1".encode("utf-16"), 1, "a NUL byte", "UTF-8"),
        (b"\n\na = " + b"[" * 20_000, 3, "nested too deeply", "at most 24 levels"),
        (b"\na = " + b"{a=" * 20_000, 2, "nested too deeply", "at most 24 levels"),
        (b"\na" + b".a" * 30_000 + b" = 1", 2, "more than 40 parts", "at most 24 levels"),
        (b"\na" + b".a" * 30 + b" = 1", 2, "nested too deeply", "at most 24 levels"),
        (b"\na = " + b"1" * 5_000, 2, "thousands of digits|huge number", "at most 64 bits"),
        (b"\na = 0x" + b"f" * 20, 2, "a huge number", "at most 64 bits"),
    ],
)
def test_a_file_that_cannot_be_parsed_is_named_with_its_line_and_a_cure(
    raw: bytes, line: int, found: str, hint: str
) -> None:
    with pytest.raises(ConfigError, match=f"(?s)^x.toml:{line}: .*({found}).*{hint}") as caught:
        parse_document("x.toml", raw)

    assert caught.value.line == line


def test_a_syntax_error_does_not_quote_the_line_which_may_hold_a_password() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_document("x.toml", b'password = hunter2"')

    assert "hunter2" not in str(caught.value)


def test_a_byte_order_mark_does_no_harm() -> None:
    assert parse_document("x.toml", b"\xef\xbb\xbfa = 1").table == {"a": 1}


def test_a_missing_file_a_directory_and_a_pipe_are_told_apart(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    for name, found in (("none", "no such file"), (".", "a directory"), ("pipe", "a device, pipe"), ("a\0b", "a NUL")):
        with pytest.raises(ConfigError, match=f"found {found}"):
            open_document(str(tmp_path / name), 100)


def test_a_file_larger_than_its_limit_is_not_parsed(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_bytes(b"#" * 101)

    with pytest.raises(ConfigError, match="found a larger file: expected a regular file of at most 100 bytes"):
        open_document(str(file), 100)


def test_a_key_that_has_no_line_of_its_own_has_that_of_its_table() -> None:
    document = parse_document("x.toml", b"\n[t]\na = { b = 1 }")

    assert [document.line(path) for path in (("t", "a", "b"), ("t", "c"), ("u",), ())] == [3, 2, 0, 0]


@pytest.mark.parametrize(
    ("path", "shown"),
    [(("a",), "a"), (("a", "b", "c"), "[a.b] c"), (("a", "b c"), '[a] "b c"'), (("a", "\x1b"), '[a] "\\x1b"')],
)
def test_a_key_is_shown_as_it_is_written(path: tuple[str, ...], shown: str) -> None:
    assert shown_key(path) == shown
