"""`microedge run`: fork the fork server while this process is still small and holds no secret, then become the
supervisor.
"""

from __future__ import annotations

from microedge.postpone import postpone
from microedge.supervisor import forkserver


def run(config_option: str | None) -> int:
    """Run the supervisor in the foreground until SIGTERM or SIGINT; return the exit code.

    Raises:
        MicroedgeError: it cannot start: configuration, state directory or queue; the text says what to do.
    """
    server = forkserver.fork()
    # dataclasses wants the first for classes without a docstring (1 MB with ast and dis), traceback the others
    postpone("inspect", "textwrap", "tokenize")
    from microedge.supervisor.app import start  # only now: what it loads must not be in the modules

    return start(config_option, server)
