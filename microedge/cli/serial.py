"""`microedge serial list`: the ports of this device and the names that survive replugging."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from typing import Any

from microedge.cli import table
from microedge.cli.failure import OK
from microedge.cli.status_view import wrapped
from microedge.cli.terminal import Look, clean, look_of, say
from microedge.serial.identity import PortIdentity, holders, list_ports

_COLUMNS = (
    table.Column("PORT"),
    table.Column("NAME FOR THE CONFIGURATION", 24),
    table.Column("DEVICE", 10),
    table.Column("USED BY", 10),
)


def show(args: Namespace) -> int:
    """Print the serial ports and return 0. Needs no configuration and no supervisor."""
    ports = [facts_of(port) for port in list_ports()]
    say(json.dumps({"ports": ports}, indent=2) if args.json else render_ports(ports, look_of(sys.stdout)))
    return OK


def facts_of(port: PortIdentity) -> dict[str, Any]:
    """Return what is known about a port, with who uses it and whether this user may open it. Blocks some 10 ms."""
    return {
        "path": port.path,
        "name": port.spec,
        "vendor_id": port.vid,
        "product_id": port.pid,
        "serial_number": port.serial,
        "manufacturer": port.manufacturer,
        "product": port.product,
        "by_id": port.by_id,
        "by_path": port.by_path,
        "may_open": os.access(port.path, os.R_OK | os.W_OK),
        "used_by": [{"pid": pid, "command": command} for pid, command in holders(port.path)],
    }


def render_ports(ports: list[dict[str, Any]], look: Look) -> str:
    """Return the ports as a table, with a cure under each that this user may not open."""
    if not ports:
        return "no serial port: plug the adapter in, then look at what the kernel says: dmesg | tail"
    lines = table.render(look, _COLUMNS, [_row(port, look) for port in ports])
    lines += ["", "in microedge.toml:"]
    lines.append(
        f'  desired = {{ port = "{clean(ports[0]["name"])}", baud = 9600, framing = "line", decode = "json" }}'
    )
    return look.plain("\n".join(lines))


def _row(port: dict[str, Any], look: Look) -> table.Row:
    device = " ".join(filter(None, (port["manufacturer"], port["product"])))
    users = ", ".join(f"{user['command']} ({user['pid']})" for user in port["used_by"])
    remarks = []
    if not port["may_open"]:
        text = "this user may not open it: sudo usermod -aG dialout $USER, then log in again"
        remarks = [look.paint(line, "yellow") for line in wrapped(text, look, 2)]
    cells = [clean(port["path"]), clean(port["name"]), clean(device) or "-", clean(users) or "-"]
    return table.Row(cells, {0: "bold"}, remarks)
