from __future__ import annotations

from collections.abc import Callable

import pytest

from microedge.config.document import parse_document
from microedge.config.reader import Range, TableReader
from microedge.errors import ConfigError

AGES = Range(1, 9, "years", minus_one="unknown")


def reader(text: str) -> TableReader:
    return TableReader(parse_document("x.toml", f"[t]\n{text}".encode())).table("t")


@pytest.mark.parametrize(
    ("text", "read", "message"),
    [
        (
            "a = true",
            lambda t: t.integer("a", 5, AGES),
            "a = true: expected a whole number of years from 1 to 9, or -1",
        ),
        ("a = 1.0", lambda t: t.integer("a", 5, AGES), "a = 1.0: expected a whole number .*; the default is 5"),
        ('a = "7"', lambda t: t.integer("a", 5, AGES), "a = '7': expected .*; write 7, without quotes"),
        ("a = 0", lambda t: t.integer("a", 5, AGES), "a = 0: expected .* or -1 for unknown"),
        ("a = 10", lambda t: t.integer("a", 5, AGES), "a = 10: expected"),
        ("", lambda t: t.integer("a", None, AGES), r"a = \(missing\): expected .*; add a to \[t\]"),
        ("a = nan", lambda t: t.number("a", 5, AGES), "a = nan: expected a number of years"),
        ("a = inf", lambda t: t.number("a", 5, AGES), "a = inf: expected"),
        ("a = false", lambda t: t.number("a", 5, AGES), "a = false: expected a number"),
        ('a = "true"', lambda t: t.boolean("a", True), "a = 'true': expected true or false, without quotes"),
        ("a = 1", lambda t: t.boolean("a", True), "a = 1: expected true or false"),
        ("a = 1", lambda t: t.string("a"), 'a = 1: expected a string; write it in quotes: a = "…"'),
        ('a = "abc"', lambda t: t.string("a", max_chars=2), "a = 'abc': expected a string of at most 2 characters"),
        ('a = "\\u001b"', lambda t: t.string("a"), r"a = '\\x1b': expected a string without control"),
        (
            'a = "blu"',
            lambda t: t.choice("a", None, ("red", "blue")),
            'a = .blu.: expected "red" or "blue"; did you mean blue',
        ),
        ("a = true", lambda t: t.choice("a", 1, (1, 2)), "a = true: expected 1 or 2"),
        ('a = "1"', lambda t: t.choice("a", 1, (1, 2)), "a = '1': expected 1 or 2; write 1, without quotes"),
        ('a = "b"', lambda t: t.strings("a", str.isdigit, "digits"), "a = 'b': expected a list"),
        ('a = ["b"]', lambda t: t.strings("a", str.isdigit, "digits"), "a = 'b': expected digits"),
        ("a = [1]", lambda t: t.strings("a", str.isdigit, "digits"), "a = 1: expected digits"),
        ('a = ["1", "1"]', lambda t: t.strings("a", str.isdigit, "digits"), "a = '1': expected each entry once"),
        ("a = 1", lambda t: t.table("a"), r"a = 1: expected a table; write \[t.a\] on a line of its own"),
        ('a = ""', lambda t: t.path_of("a", "x", "/b"), "a = '': expected a path, absolute or relative to /b"),
        ('a = "~/x"', lambda t: t.path_of("a", "x", "/b"), "a = '~/x': expected a path"),
        (
            'aple = "secret"',
            lambda t: t.only("apple"),
            r"aple = …: expected a known key of \[t\]: apple; did you mean apple",
        ),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(
    text: str, read: Callable[[TableReader], object], message: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^x.toml:{2 if text else 1}: \[t\] {message}"):
        read(reader(text))


def test_right_values_come_back_as_they_are() -> None:
    table = reader('i = -1\nf = 3\ns = "x"\nb = false\nl = ["1", "2"]\np = "../c"\nm = """a\n\tb"""')

    assert table.integer("i", 5, AGES) == -1
    assert table.number("f", 5, AGES) == 3.0
    assert table.string("s") == "x"
    assert table.string("m", is_multiline=True) == "a  b"
    assert table.boolean("b", True) is False
    assert table.strings("l", str.isdigit, "digits") == ("1", "2")
    assert table.path_of("p", "", "/a/b") == "/a/c"
    assert table.path_of("q", "d", "/a/b") == "/a/b/d"
