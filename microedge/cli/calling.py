"""`microedge call NAME METHOD [JSON]`: a direct method, and its answer."""

from __future__ import annotations

import json
from argparse import Namespace

from microedge.cli.acting import body_of, given
from microedge.cli.failure import OK, USAGE, CommandError
from microedge.cli.settings import client_of
from microedge.cli.terminal import clean, say
from microedge.method import AGENT, check_timeouts

_MARGIN_S = 10.0  # the supervisor keeps the time of the call itself


def call(args: Namespace) -> int:
    """Call a method and print its payload as JSON. Blocks for at most both timeouts.

    Returns 0 for a status of 200 to 299; another one is a CommandError, after the payload was printed.

    Raises:
        CommandError: the payload is not JSON, a time is out of range, or the status is none of 200 to 299.
        MicroedgeError: no supervisor answers.
    """
    payload = body_of(given(args.payload))
    try:
        check_timeouts(args.timeout, args.connect_timeout)
    except ValueError as error:
        raise CommandError(str(error), "see: microedge call --help", USAGE) from error
    answer = client_of(args).request(
        "call",
        timeout_s=args.timeout + args.connect_timeout + _MARGIN_S,
        module=args.name,
        method=args.method,
        payload=payload,
        response_timeout_s=args.timeout,
        connect_timeout_s=args.connect_timeout,
    )
    status, result = answer["status"], answer["payload"]
    say(json.dumps(answer if args.json else result, ensure_ascii=False))
    if 200 <= status < 300:
        return OK
    log_name = "supervisor" if args.name == AGENT else clean(args.name, 80)
    see = f"the module's own answer is above; see also: microedge logs {log_name}"
    raise CommandError(f"{clean(args.name, 80)} answered {clean(args.method, 100)} with status {status}", see)
