"""The console script: parse, call the command, turn every end into an exit code."""

from __future__ import annotations

import os
import sys

from microedge.cli import arguments

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is; `run` forks from this process, so it stays small
if TYPE_CHECKING:
    from argparse import Namespace


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 ok, 1 failed, 2 usage, 3 not running, 78 configuration.

    Ctrl-C and a reader that went away (`| head`) end it quietly, with 130 and 141 as a shell reports them.
    """
    parser = arguments.build()
    try:
        args = parser.parse_args(argv)
    except SystemExit as end:  # argparse ends the process for --help and for wrong arguments
        return end.code if isinstance(end.code, int) else 2
    if args.call is None:
        parser.print_help(sys.stderr)
        return 2
    try:
        return _call(args)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Python flushes stdout at exit and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141


def _call(args: Namespace) -> int:
    from microedge.errors import MicroedgeError

    module_name, function_name = args.call.split(":")
    if module_name == "group":
        print(
            f"microedge {function_name}: which command?\n  see: microedge {function_name} --help",
            file=sys.stderr,
        )
        return 2
    try:
        code = _command(args, module_name, function_name)
        sys.stdout.flush()
        return code
    except MicroedgeError as error:
        return _report(error)


def _command(args: Namespace, module_name: str, function_name: str) -> int:
    if args.call == "run:run" and not args.live:
        from microedge.supervisor.main import run  # forks its fork server before it loads anything else

        return run(args.config)
    import importlib

    command = importlib.import_module(f"microedge.cli.{module_name}")
    code: int = getattr(command, function_name)(args)
    return code


def _report(error: Exception) -> int:
    from microedge.cli.terminal import look_of

    sys.stdout.flush()
    look = look_of(sys.stderr)
    print(f"{look.paint('microedge:', 'red')} {look.plain(str(error))}", file=sys.stderr)
    advice: str = getattr(error, "advice", "")
    if advice:
        print(f"  {look.plain(advice)}", file=sys.stderr)
    exit_code: int = getattr(error, "exit_code", 1)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
