"""`microedge identity show` and `microedge identity rotate`: who the device and its modules are, and their keys."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from typing import Any

from microedge.cli import table
from microedge.cli.client import ACTION_TIMEOUT_S, REPLY_TIMEOUT_S
from microedge.cli.failure import OK
from microedge.cli.settings import client_of
from microedge.cli.terminal import Look, clean, labelled, look_of, say

_COLUMNS = (
    table.Column("IDENTITY", 12),
    table.Column("GENERATION", 8),
    table.Column("PRIMARY KEY", 8),
    table.Column("SECONDARY KEY", 8),
    table.Column("CREATED"),
    table.Column("ROTATED"),
)
_DATE_CHARS = len("2026-11-23")
_OTHER = {"primary": "secondary", "secondary": "primary"}


def show(args: Namespace) -> int:
    """Print all identities, or one in detail; keys only with `--reveal`.

    Raises:
        MicroedgeError: no supervisor answers, or it knows no such module.
    """
    request = {**_choice(args), "reveal": args.reveal}
    result = client_of(args).request("identity", timeout_s=REPLY_TIMEOUT_S, **request)
    if args.json:
        say(json.dumps(result, indent=2, ensure_ascii=False))
        return OK
    look = look_of(sys.stdout)
    identities: list[dict[str, Any]] = result.get("identities") or []
    is_table = not (args.name or args.device or args.reveal)
    say(render_table(identities, look) if is_table else render_details(identities, look))
    return OK


def rotate(args: Namespace) -> int:
    """Replace one key and print the fingerprints. The key is on disk when this returns; blocks for at most 60 s.

    Raises:
        MicroedgeError: no supervisor answers, it knows no such module, or the disk does not take the key.
    """
    request = {**_choice(args), "which": args.which}
    result = client_of(args).request("identity_rotate", timeout_s=ACTION_TIMEOUT_S, **request)
    say(render_rotated(result, look_of(sys.stdout)))
    return OK


def render_table(identities: list[dict[str, Any]], look: Look) -> str:
    """Return one line per identity: the device, then its modules by name."""
    return look.plain("\n".join(table.render(look, _COLUMNS, [_row(identity) for identity in identities])))


def render_details(identities: list[dict[str, Any]], look: Look) -> str:
    """Return each identity as labelled lines, with its keys where the document has them."""
    return look.plain("\n\n".join("\n".join(_details(identity, look)) for identity in identities))


def render_rotated(result: dict[str, Any], look: Look) -> str:
    """Return what changed, and what to do before the other key is replaced."""
    which = str(result.get("which"))
    name = clean(result.get("module") or "") or "--device"
    other = _OTHER.get(which, "?")
    lines = [
        f"{clean(result.get('path', '?'))}: new {clean(which)} key {_print(result, which)}",
        f"the {other} key {_print(result, other)} stays valid: bring the new one to whoever signs with the old one,",
        f"then: microedge identity rotate {name} --which {other}",
    ]
    return look.plain("\n".join(lines))


def _choice(args: Namespace) -> dict[str, object]:
    return {"of_device": True} if args.device else {"module": args.name} if args.name else {}


def _row(identity: dict[str, Any]) -> table.Row:
    name = clean(identity.get("module") or "") or f"device {clean(identity.get('device', '?'))}"
    removed = clean(identity.get("removed") or "")
    cells = [name, clean(identity.get("generation", "?")), _print(identity, "primary"), _print(identity, "secondary")]
    dates = [clean(identity.get(key) or "-")[:_DATE_CHARS] for key in ("created", "rotated")]
    remarks = [f"  removed {removed}: its keys are not valid any more"] if removed else []
    return table.Row([*cells, *dates], remarks=remarks)


def _details(identity: dict[str, Any], look: Look) -> list[str]:
    lines = [look.paint(clean(identity.get("path", "?")), "bold")]
    lines += labelled(look, "generation", clean(identity.get("generation", "?")))
    for which in _OTHER:
        lines += labelled(look, f"{which} key", f"fingerprint {_print(identity, which)}")
        key = (identity.get("keys") or {}).get(which)
        if key:
            lines += labelled(look, "", clean(key))
    for label in ("created", "rotated", "removed"):
        if identity.get(label):
            lines += labelled(look, label, clean(identity[label]))
    return lines


def _print(identity: dict[str, Any], which: str) -> str:
    return clean((identity.get("fingerprints") or {}).get(which, "?"))
