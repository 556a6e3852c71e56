"""`microedge queue peek|replay|purge`."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from typing import Any

from microedge.cli.client import ACTION_TIMEOUT_S, ControlClient
from microedge.cli.failure import FAILED, OK, USAGE, CommandError
from microedge.cli.queue_view import left_out, render_dead, render_waiting
from microedge.cli.settings import client_of
from microedge.cli.terminal import clean, look_of, say
from microedge.cli.units import count
from microedge.names import UPSTREAM, input_endpoint


def peek(args: Namespace) -> int:
    """Print what waits or, with --dead, dead letters; changes nothing.

    Raises:
        MicroedgeError: no supervisor answers, or it knows no such endpoint.
    """
    request = {"endpoint": endpoint_of(args.endpoint), "count": args.count, "dead": args.dead, "full": args.json}
    answer = client_of(args).request("queue_peek", timeout_s=ACTION_TIMEOUT_S, **request)
    if args.json:
        say(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        say((render_dead if args.dead else render_waiting)(answer, look_of(sys.stdout)))
        if left_out(answer):
            say(left_out(answer))
    return OK


def replay(args: Namespace) -> int:
    """Send dead letters again and print how many. Returns 1 when some of them are still there or were not found.

    Raises:
        CommandError: it was not said which.
        MicroedgeError: no supervisor answers, or it cannot use its disk.
    """
    if not (args.ids or args.endpoint or args.all):
        raise CommandError(
            "which dead letters?", "give ids, --endpoint E, or --all; see: microedge queue peek --dead", USAGE
        )
    request = {"ids": args.ids, "endpoint": endpoint_of(args.endpoint), "all": args.all}
    answer = client_of(args).request("queue_replay", timeout_s=ACTION_TIMEOUT_S, **request)
    replayed, kept = answer.get("replayed") or 0, answer.get("kept") or 0
    say(f"{count(replayed, 'message')} sent again")
    if kept:
        raise CommandError(f"{kept:,} could not be sent again", "see why: microedge queue peek --dead", FAILED)
    if replayed < len(set(args.ids)) and not args.all:
        missing = len(set(args.ids)) - replayed
        raise CommandError(f"{missing:,} of these ids are no dead letters", "see: microedge queue peek --dead", FAILED)
    return OK


def purge(args: Namespace) -> int:
    """Throw away what waits or, with --dead, dead letters; asks on a terminal. Prints how many went.

    Raises:
        CommandError: it is no terminal, and --yes is missing.
        MicroedgeError: no supervisor answers, or it knows no such endpoint.
    """
    client, endpoint = client_of(args), endpoint_of(args.endpoint)
    if not args.yes and not _is_wanted(client, args, endpoint):
        say("nothing was changed")
        return FAILED
    request = {"endpoint": endpoint, "module": args.module, "dead": args.dead}
    answer = client.request("queue_purge", timeout_s=ACTION_TIMEOUT_S, **request)
    say(f"{count(answer.get('purged') or 0, 'dead letter' if args.dead else 'message')} deleted")
    if answer.get("in_flight"):
        say(f"{count(answer['in_flight'], 'message')} in flight stayed: whoever has them may be handling them")
    return OK


def endpoint_of(text: str) -> str:
    """Return the endpoint that a person means: upstream, M/I for an input of a module, or its whole name."""
    if text in ("upstream", UPSTREAM):
        return UPSTREAM  # a shell makes nothing of $upstream without quotes
    module, slash, name = text.partition("/")
    return input_endpoint(module, name) if module and slash and "/" not in name else text


def _is_wanted(client: ControlClient, args: Namespace, endpoint: str) -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise CommandError("purge deletes messages for good", "to do it without being asked: --yes", USAGE)
    of = f" of module {clean(args.module)}" if args.module else ""
    where = f" for {clean(endpoint)}" if endpoint else ""
    what = "all dead letters" if args.dead else f"what waits ({_waiting(client.request('queue'), endpoint)} now)"
    print(f"Delete {what}{of}{where} for good? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _waiting(queue: dict[str, Any], endpoint: str) -> str:
    lines = queue.get("endpoints") or []
    number = sum(line.get("messages") or 0 for line in lines if endpoint in ("", line.get("endpoint")))
    return count(number, "message")
