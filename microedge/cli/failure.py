"""What a command ends with when it cannot do what was asked."""

from __future__ import annotations

from microedge.errors import MicroedgeError

OK, FAILED, USAGE, NOT_RUNNING, CONFIGURATION = 0, 1, 2, 3, 78
INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended


class CommandError(MicroedgeError):
    """A command failed; `advice` is the next thing to do, printed on a line of its own."""

    def __init__(self, text: str, advice: str = "", exit_code: int = FAILED) -> None:
        super().__init__(text)
        self.advice = advice
        self.exit_code = exit_code
