from __future__ import annotations

import io

import pytest

from microedge.cli.terminal import Look, clean, labelled, look_of


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def test_colour_is_used_on_a_terminal(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")

    assert look_of(Terminal()).paint("up", "green") == "\x1b[32mup\x1b[0m"


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_person_can_switch_colour_off(monkeypatch, variable, value):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(variable, value)

    assert look_of(Terminal()).paint("up", "green") == "up"


def test_a_pipe_gets_neither_colour_nor_unknown_characters():
    look = look_of(io.TextIOWrapper(io.BytesIO(), "ascii"))

    assert not look.colour
    assert look.plain("✓ grün") == "\\u2713 gr\\xfcn"


@pytest.mark.parametrize(("columns", "width"), [("40", 60), ("100", 100), ("300", 120)])
def test_the_width_stays_readable(monkeypatch, columns, width):
    monkeypatch.setenv("COLUMNS", columns)

    assert look_of(Terminal()).width == width


@pytest.mark.parametrize(
    ("text", "columns", "shown"), [("serial_bridge", 13, "serial_bridge"), ("serial_bridge", 8, "serial_…")]
)
def test_a_cut_text_is_marked(text, columns, shown):
    assert Look().clip(text, columns) == shown


def test_a_text_from_outside_cannot_move_the_cursor():
    assert clean("a\x1b[2Jb\r\n") == "a\\x1b[2Jb\\r\\n"


def test_a_labelled_text_wraps_in_its_own_column():
    assert labelled(Look(width=40), "queue", "one two three four five six seven") == [
        "queue          one two three four five",
        "               six seven",
    ]
