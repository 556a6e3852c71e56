from __future__ import annotations

import io

from microedge.cli.screen import Screen
from microedge.cli.terminal import Look


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_pipe_gets_lines_at_once_and_the_footer_when_it_is_new():
    stream = io.StringIO()
    screen = Screen(stream, Look())

    screen.print("a message")
    screen.set_footer("status\nof two lines")
    screen.draw()
    screen.draw()
    screen.print("another")

    assert stream.getvalue() == "a message\n\nstatus\nof two lines\n\nanother\n"


def test_a_terminal_erases_the_old_footer_before_new_lines():
    stream = Terminal()
    screen = Screen(stream, Look())
    screen.set_footer("status")
    screen.draw()
    stream.truncate(0)
    stream.seek(0)

    screen.print("a message")
    screen.draw()

    text = stream.getvalue()
    assert text.startswith("\x1b[2A\r\x1b[Ja message\n")
    assert text.endswith("\nstatus\n")


def test_a_footer_that_wraps_is_erased_whole(monkeypatch):
    monkeypatch.setenv("COLUMNS", "10")
    monkeypatch.setenv("LINES", "24")
    stream = Terminal()
    screen = Screen(stream, Look())
    screen.set_footer("x" * 25)
    screen.draw()

    screen.set_footer("y")
    screen.draw()

    assert "\x1b[4A\r\x1b[J" in stream.getvalue()  # the rule and three rows


def test_a_footer_leaves_room_for_messages(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "10")
    stream = Terminal()
    screen = Screen(stream, Look())

    screen.set_footer("\n".join(str(n) for n in range(50)))
    screen.draw()

    assert stream.getvalue().count("\n") == 4


def test_what_follows_the_end_is_printed_below_the_footer():
    stream = Terminal()
    screen = Screen(stream, Look())
    screen.set_footer("status")
    screen.draw()

    screen.end()
    screen.print("stopped")

    assert stream.getvalue().endswith("status\nstopped\n")
