"""`microedge run --live`; without `--live`, `main` goes straight to the supervisor."""

from __future__ import annotations

from argparse import Namespace

from microedge.cli.live import run_live
from microedge.cli.settings import file_of


def run(args: Namespace) -> int:
    """Run the supervisor as a child, show what it does, and return its exit code.

    Raises:
        MicroedgeError: there is no configuration, or it is wrong.
    """
    return run_live(file_of(args))
