"""`microedge check`: what is wrong with this device, and the cure for each of it."""

from __future__ import annotations

import importlib
import json
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from microedge.cli.checks import ORDER
from microedge.cli.checks.outcome import FAILED, OK, SKIPPED, WARNING, Outcome, Surroundings
from microedge.cli.failure import CONFIGURATION
from microedge.cli.settings import client_of, config_of, file_of
from microedge.cli.status_view import wrapped
from microedge.cli.terminal import Look, clean, look_of, say
from microedge.errors import ConfigError, MicroedgeError

_MARKS = {
    OK: ("✓", "ok", "green"),
    WARNING: ("!", "!", "yellow"),
    FAILED: ("✗", "X", "red"),
    SKIPPED: ("-", "-", "dim"),
}
_NAME_COLUMNS = 14


def check(args: Namespace) -> int:
    """Run every check and print one line each, with the cure below it.

    Returns 0 when none failed, 78 when the configuration does not load, 1 when anything else failed. Blocks for a few
    seconds at most when the upstream does not answer.
    """
    around = _surroundings(args)
    outcomes = list(_outcomes(around))
    is_ok = not any(outcome.outcome == FAILED for outcome in outcomes)
    if args.json:
        say(
            json.dumps({"ok": is_ok, "checks": [asdict(outcome) for outcome in outcomes]}, indent=2, ensure_ascii=False)
        )
    else:
        say(render_outcomes(outcomes, look_of(sys.stdout)))
    if around.config is None:
        return CONFIGURATION
    return 0 if is_ok else 1


def render_outcomes(outcomes: Sequence[Outcome], look: Look) -> str:
    """Return one line for each outcome, its cure indented below it, and a summary."""
    lines: list[str] = []
    for outcome in outcomes:
        lines += _lines(outcome, look)
    counts = Counter(outcome.outcome for outcome in outcomes)
    words = [f"{counts[OK]} ok"]
    words += [f"{counts[kind]} {word}" for kind, word in ((WARNING, "to look at"), (FAILED, "failed")) if counts[kind]]
    return look.plain("\n".join([*lines, "", ", ".join(words)]))


def _lines(outcome: Outcome, look: Look) -> list[str]:
    mark, ascii_mark, style = _MARKS[outcome.outcome]
    mark = mark if look.unicode else f"{ascii_mark:<2}"
    indent = len(mark) + 1 + _NAME_COLUMNS
    found = wrapped(clean(outcome.found, 2000), look, indent) or [""]
    head = f"{look.paint(mark, style)} {outcome.name:<{_NAME_COLUMNS}}{found[0].strip()}"
    cure = wrapped(f"cure: {clean(outcome.cure, 1000)}", look, indent) if outcome.cure else []
    return [head, *found[1:], *(look.paint(line, "bold") for line in cure)]


def _outcomes(around: Surroundings) -> Iterator[Outcome]:
    for name in ORDER:
        yield from importlib.import_module(f"microedge.cli.checks.{name}").find(around)


def _surroundings(args: Namespace) -> Surroundings:
    file, config, error_text, client = args.config or "", None, "", None
    try:
        file = file_of(args)
        config = config_of(args)
    except ConfigError as error:
        error_text = str(error)
    try:
        client = client_of(args)
        status = client.request("status", timeout_s=5.0)
    except MicroedgeError:
        status = None  # the check named "running" says so
    return Surroundings(file, config, error=error_text, is_offline=args.offline, client=client, status=status)
