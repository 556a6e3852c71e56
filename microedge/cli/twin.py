"""`microedge twin get`, `twin set` and `twin history`: what a module is meant to do, and what it says it does."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from typing import Any

from microedge.cli.acting import given
from microedge.cli.client import RefusedError
from microedge.cli.failure import OK, USAGE, CommandError
from microedge.cli.settings import client_of, file_of, state_directory
from microedge.cli.terminal import clean, look_of, say
from microedge.cli.twin_changes import newest, render_history, render_set
from microedge.cli.twin_patch import object_of, patch_of
from microedge.cli.twin_saved import read_saved
from microedge.cli.twin_view import part_of, render_twin
from microedge.errors import NotRunningError


def get(args: Namespace) -> int:
    """Print a twin, or one part of it; the saved copy when microedge is not running, and say so.

    Raises:
        MicroedgeError: there is no such module, or microedge is not running and there is no saved copy.
    """
    answer = _ask(args, "twin")
    if args.json:
        say(json.dumps(_document(answer, args), indent=2, ensure_ascii=False))
    else:
        say(render_twin(answer, look_of(sys.stdout), time.time(), part=args.part, with_blame=args.blame))
    return OK


def change(args: Namespace) -> int:
    """Change desired properties, or tags, and print what came of it.

    Raises:
        CommandError: the words make no change (exit code 2), or the change is refused (1); nothing was changed.
        MicroedgeError: microedge is not running, or there is no such module.
    """
    words = [given(word) if word == "-" else word for word in args.changes]
    if args.reset and (words or args.unset or args.tags or args.replace):
        raise CommandError("--reset beside another change", "give it alone, once for each key", USAGE)
    patch = object_of(words[0]) if args.changes == ["-"] else patch_of(words, args.unset or args.reset)
    part = "tags" if args.tags else "desired"
    how = {"reset": True} if args.reset else {"replace": args.replace}
    try:
        result = client_of(args).request("twin_set", module=args.name, part=part, patch=patch, **how)
    except RefusedError as error:
        if not str(error.reply.get("path")).startswith(("properties", "tags")):  # there is no such module
            raise
        advice = f"nothing was changed; who says what: microedge twin get {clean(args.name, 80)} --blame"
        raise CommandError(str(error), advice, error.exit_code) from error
    result = {"part": part, **how, **result}
    say(render_set(args.name, patch, result, is_whole=args.replace, look=look_of(sys.stdout)))
    return OK


def history(args: Namespace) -> int:
    """Print the last changes and refused attempts, newest last; the saved ones when microedge is not running.

    Raises:
        MicroedgeError: there is no such module, or microedge is not running and there is no saved copy.
    """
    found = newest(_ask(args, "twin_history"), args.lines)
    if args.json:
        say(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        say(render_history(found, look_of(sys.stdout), time.time()))
    return OK


def _ask(args: Namespace, command: str) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = client_of(args).request(command, module=args.name)
    except NotRunningError:
        if args.socket:  # nobody said where that one keeps its state
            raise
        saved = read_saved(state_directory(file_of(args)), args.name)
        if saved is None:
            raise
        note = f"microedge is not running: this is the saved copy, {clean(saved['file'], 1000)}"
        print(look_of(sys.stderr).plain(note), file=sys.stderr)
        return saved
    return answer


def _document(answer: dict[str, Any], args: Namespace) -> dict[str, Any]:
    twin: dict[str, Any] = answer["twin"]
    if not args.blame:
        return part_of(twin, args.part) if args.part else twin
    document = {args.part: part_of(twin, args.part)} if args.part else twin
    return {**document, "blame": answer.get("blame") or {}, "overruled": answer.get("overruled") or []}
