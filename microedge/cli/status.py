"""`microedge status`: the status document, whole or one module of it."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from typing import Any

from microedge.cli.client import ControlClient
from microedge.cli.failure import FAILED, OK
from microedge.cli.module_view import render_module
from microedge.cli.settings import client_of
from microedge.cli.status_view import is_well, render_status
from microedge.cli.terminal import look_of, say

_WATCH_INTERVAL_S = 2.0
_CLEAR = "\x1b[H\x1b[J"  # home, then erase to the end: no flicker, and the scroll-back stays


def show(args: Namespace) -> int:
    """Print the status once or again and again. Returns 0 when all is well, 1 when something is not.

    Raises:
        MicroedgeError: no supervisor answers, or it knows no such module.
    """
    client = client_of(args)
    while True:
        document = fetch(client, args.name)
        if args.watch and sys.stdout.isatty() and not args.json:
            sys.stdout.write(_CLEAR)
        say(_text(document, args))
        if not args.watch:
            return OK if is_well(document) else FAILED
        time.sleep(_WATCH_INTERVAL_S)


def fetch(client: ControlClient, name: str | None = None) -> dict[str, Any]:
    """Return the status document, with one module only if `name` is given."""
    document: dict[str, Any] = client.request("status", module=name) if name else client.request("status")
    return document


def _text(document: dict[str, Any], args: Namespace) -> str:
    if args.json:
        return json.dumps(document, indent=None if args.watch else 2, ensure_ascii=False)
    look = look_of(sys.stdout)
    return render_module(document, look) if args.name else render_status(document, look)
