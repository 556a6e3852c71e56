"""The console script: parse, call the command, turn every end into an exit code.

The supervisor and the modules it forks carry what this process has loaded: argparse and the parsers of all commands
are 3 MiB. So a plain `microedge run` is recognised without them.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is; see above
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 ok, 1 failed, 2 usage, 3 not running, 78 configuration.

    Ctrl-C and a reader that went away (`| head`) end it quietly, with 130 and 141 as a shell reports them.
    """
    argv = sys.argv[1:] if argv is None else argv
    options = plain_run_options(argv)
    if options is not None:
        return _guarded(lambda: _run(options.get("--config")))
    from microedge.cli import arguments

    parser = arguments.build()
    try:
        args = parser.parse_args(argv)
    except SystemExit as end:  # argparse ends the process for --help and for wrong arguments
        return end.code if isinstance(end.code, int) else 2
    if args.call is None:
        parser.print_help(sys.stderr)
        return 2
    return _guarded(lambda: _command(args))


def plain_run_options(argv: list[str]) -> dict[str, str] | None:
    """Return the options of `run`, with or without `--config FILE` before or after it; None for anything else."""
    options: dict[str, str] = {}
    verbs = []
    words = iter(argv)
    for word in words:
        name, equals, value = word.partition("=")
        if name == "--config":
            options[name] = value if equals else next(words, "")
        else:
            verbs.append(word)
    is_complete = all(value and not value.startswith("-") for value in options.values())
    return options if verbs == ["run"] and is_complete else None


def _run(config_option: str | None) -> int:
    from microedge.supervisor.main import run  # forks its fork server before it loads anything else

    return run(config_option)


def _command(args: Namespace) -> int:
    module_name, function_name = args.call.split(":")
    if module_name == "group":
        print(f"microedge {function_name}: which command?\n  see: microedge {function_name} --help", file=sys.stderr)
        return 2
    if args.call == "run:run" and not args.live:
        return _run(args.config)
    import importlib

    command = importlib.import_module(f"microedge.cli.{module_name}")
    code: int = getattr(command, function_name)(args)
    sys.stdout.flush()
    return code


def _guarded(command: Callable[[], int]) -> int:
    from microedge.errors import MicroedgeError

    try:
        return command()
    except MicroedgeError as error:
        return _report(error)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Python flushes stdout at exit and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141


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
