"""`microedge list`: instances, the images they can be made of, and what was rejected."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from typing import Any

from microedge.cli import table
from microedge.cli.failure import OK
from microedge.cli.settings import client_of
from microedge.cli.status_view import STATE_STYLES, wrapped
from microedge.cli.terminal import Look, clean, look_of, say

_INSTANCES = (
    table.Column("INSTANCE", 8),
    table.Column("IMAGE", 8),
    table.Column("STATE"),
    table.Column("PID"),
)
_IMAGES = (
    table.Column("IMAGE", 8),
    table.Column("VERSION"),
    table.Column("ORIGIN"),
    table.Column("INSTANCES", 10),
    table.Column("DESCRIPTION", 12),
)


def show(args: Namespace) -> int:
    """Print what there is and return 0.

    Raises:
        MicroedgeError: no supervisor answers.
    """
    document = client_of(args).request("list")
    if args.json:
        say(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        say(render_list(document, look_of(sys.stdout)))
    return OK


def render_list(document: dict[str, Any], look: Look) -> str:
    """Return the instances, the images and the rejected directories as text."""
    lines = table.render(look, _INSTANCES, [_instance_row(module) for module in document.get("modules") or []])
    lines.append("")
    lines += table.render(look, _IMAGES, [_image_row(image, look) for image in document.get("images") or []])
    rejected = document.get("rejected") or []
    if rejected:
        lines.append("")
    for image in rejected:
        text = f"rejected: {clean(image.get('file', '?'))}: {clean(image.get('reason', ''), 1000)}"
        lines += [look.paint(line, "red") for line in wrapped(text, look, 0)]
    return look.plain("\n".join(lines))


def _instance_row(module: dict[str, Any]) -> table.Row:
    state = clean(module.get("state", "?"))
    cells = [
        clean(module.get("name", "?")),
        clean(module.get("image", "?")),
        state,
        str(module.get("pid") or "-"),
    ]
    return table.Row(cells, {0: "bold", 2: STATE_STYLES.get(state, "")})


def _image_row(image: dict[str, Any], look: Look) -> table.Row:
    cells = [
        clean(image.get("name", "?")),
        clean(image.get("version", "?")),
        clean(image.get("origin", "?")),
        ", ".join(clean(name) for name in image.get("instances") or []) or "-",
        clean(image.get("description") or "", 200),
    ]
    remarks = []
    if image.get("shadows"):
        text = f"hides the bundled image of the same name; it is {clean(image.get('directory', '?'), 1000)}"
        remarks = [look.paint(line, "yellow") for line in wrapped(text, look, 2)]
    return table.Row(cells, {0: "bold"}, remarks)
