"""Lines of a JSON text."""

from __future__ import annotations

import pytest

from microedge.twin.lines import line_of, member_lines

TEXT = """{
  "a": {
    "b": "a \\"quoted\\" {brace}",
    "c": [1,
      {"d": 2},
      {
        "d": 3
      }
    ], "e": {}
  },
  "f": "x",
  "g\\u0068": 1
}
"""


def test_every_member_has_its_line():
    assert member_lines(TEXT) == {
        "a": 2,
        "a.b": 3,
        "a.c": 4,
        "a.c[1].d": 5,
        "a.c[2].d": 7,
        "a.e": 9,
        "f": 11,
        "gh": 12,
    }


@pytest.mark.parametrize(
    ("path", "line"),
    [("a.b", 3), ("a.c[2]", 4), ("a.c[2].d", 7), ("a.missing", 2), ("a.e.x.y", 9), ("missing", 0), ("", 0)],
)
def test_a_path_without_a_line_has_that_of_what_encloses_it(path, line):
    assert line_of(TEXT, path) == line
