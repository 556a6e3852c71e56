from __future__ import annotations

import pytest

from microedge.config.lines import key_lines


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("a = 1", ("a",), 1),
        ("\n# a = 1\n\na = 1", ("a",), 4),
        ("[t]\na = 1\nb = 2", ("t", "b"), 3),
        ("[t]\r\na = 1\r\nb = 2\r\n", ("t", "b"), 3),
        ("  [ t . u ]  # why\n  a = 1", ("t", "u", "a"), 2),
        ("[t.u]\na = 1", ("t",), 1),
        ("[t.u]\na = 1\n[t]\nb = 1", ("t",), 3),
        ("a.b.c = 1", ("a", "b", "c"), 1),
        ("a.b = 1\na.c = 1", ("a",), 1),
        ('"a b"."c\\u0041" = 1', ("a b", "cA"), 1),
        ("'a\\b' = 1", ("a\\b",), 1),
        ('[t]\na = """\nb = 1\n[u]\n"""\nc = 1', ("t", "c"), 6),
        ("a = '''\n'quoted'\n'''\nb = 1", ("b",), 4),
        ('a = """x"""""\nb = 1', ("b",), 2),
        ('a = "\\"#["\nb = 1', ("b",), 2),
        ("a = [ # ]\n  1,\n  2,\n]\nb = 1", ("b",), 5),
        ("a = { b = { c = 1 } }\nd = 1", ("d",), 2),
        ("[[t]]\na = 1\n[[t]]\na = 2", ("t", 1, "a"), 4),
        ("[[t]]\n[t.u]\na = 1", ("t", 0, "u", "a"), 3),
        ("[[t]]\n[[t.u]]\n[[t.u]]\na = 1", ("t", 0, "u", 1, "a"), 4),
    ],
)
def test_a_key_has_the_line_on_which_it_is_written(text: str, path: tuple[str | int, ...], line: int) -> None:
    assert key_lines(text)[path] == line


def test_keys_within_a_multi_line_string_or_list_are_not_keys() -> None:
    lines = key_lines('a = """\nb = 1\n"""\nc = [\n"d = 1",\n]\n')

    assert set(lines) == {("a",), ("c",)}


@pytest.mark.parametrize(
    "text", ["=", "[", "[[", "a", "a.", '"a', "a = '''", 'a = "', "a = [[[", "]", "\\", "[a.]", "a ="]
)
def test_text_that_is_no_toml_is_passed_over(text: str) -> None:
    key_lines(text)
