from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from microedge.cli.table import Column, Row, render
from microedge.cli.terminal import Look

COLUMNS = (Column("NAME", 8), Column("STATE"), Column("SENT", is_number=True))


def test_text_is_left_and_numbers_are_right():
    rows = [Row(["north", "running", "12"]), Row(["b", "stopped", "3,400"])]

    assert render(Look(80), COLUMNS, rows) == [
        "NAME   STATE     SENT",
        "north  running     12",
        "b      stopped  3,400",
    ]


def test_a_remark_follows_its_row():
    rows = [Row(["north", "failed", "0"], remarks=["  it says why"]), Row(["b", "running", "0"])]

    assert render(Look(80), COLUMNS, rows)[1:] == ["north  failed      0", "  it says why", "b      running     0"]


def test_colour_does_not_move_columns():
    rows = [Row(["north", "running", "12"], {1: "green"})]

    assert render(Look(80, colour=True), COLUMNS, rows)[1] == "north  \x1b[32mrunning\x1b[0m    12"


def test_a_table_without_rows_has_its_headings():
    assert render(Look(80), COLUMNS, []) == ["NAME  STATE  SENT"]


@given(st.text("abc", max_size=90), st.integers(60, 120))
def test_a_cuttable_column_makes_every_line_fit(name, width):
    lines = render(Look(width), COLUMNS, [Row([name, "running", "1,000,000"])])

    assert max(map(len, lines)) <= width
