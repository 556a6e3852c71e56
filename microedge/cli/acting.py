"""`microedge start|stop|restart NAME` and `microedge send NAME INPUT JSON`."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from typing import Any

from microedge.cli.client import ACTION_TIMEOUT_S
from microedge.cli.failure import FAILED, OK, USAGE, CommandError
from microedge.cli.settings import client_of
from microedge.cli.status_view import TROUBLED
from microedge.cli.terminal import clean, say
from microedge.message import MAX_MESSAGE_BYTES


def change(args: Namespace) -> int:
    """Start, stop or restart one module; print its state. Blocks until it is reached, at most 60 s.

    Returns 1 when the module is in trouble afterwards.

    Raises:
        MicroedgeError: no supervisor answers, or it knows no such module.
    """
    result = client_of(args).request(args.verb, timeout_s=ACTION_TIMEOUT_S, module=args.name)
    name, state = clean(result.get("module", args.name)), clean(result.get("state", "?"))
    say(f"{name}: {state}")
    if state not in TROUBLED:
        return OK
    raise CommandError(f"{name} is in state {state} after {args.verb}", f"see why: microedge status {name}", FAILED)


def send(args: Namespace) -> int:
    """Send one message to an input and print its message id.

    Raises:
        CommandError: the body is not JSON or too large.
        MicroedgeError: no supervisor answers, or it knows no such module or input.
    """
    body = body_of(given(args.body))
    result = client_of(args).request("send", module=args.name, input=args.input, body=body)
    say(clean(result.get("message_id", "")))
    return OK


def given(text: str) -> str:
    """Return an argument, or for "-" what standard input holds, at most four times what a message may be."""
    return sys.stdin.read(4 * MAX_MESSAGE_BYTES) if text == "-" else text


def body_of(text: str) -> Any:
    """Return the JSON value that `text` is.

    Raises:
        CommandError: it is not JSON, or larger than a message may be.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CommandError(
            f"the body is not JSON: {error}: {clean(text, 80)}",
            """quote it for the shell: '{"on": true}', '"a text"', 42""",
            USAGE,
        ) from error
    size_bytes = len(text.encode("utf-8", "surrogateescape"))
    if size_bytes > MAX_MESSAGE_BYTES:
        raise CommandError(
            f"the body has {size_bytes:,} bytes, expected at most {MAX_MESSAGE_BYTES:,}",
            "send it in parts",
            USAGE,
        )
    return value
