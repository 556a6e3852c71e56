"""Which port is which: by path or by the USB device behind it, and who holds it.

Names like /dev/ttyUSB0 change when devices are plugged in another order; the vendor, product and serial number of a
USB device do not. This reads /sys by itself: pyserial's list_ports takes about eight times as long.
Every function takes the `root` of the file system, so that it also works on a tree made up by a test, or on a card
mounted elsewhere. Paths that come back are as that device sees them.
"""

from __future__ import annotations

import os
import re

from microedge.serial.errors import INVALID, MISSING, PortError, printable

_USB_LEVELS = 5  # from a tty up to its USB device: interface, hub port, device; ttyUSB has one level more than ttyACM
_SYS_TTY, _BY_ID, _BY_PATH = "sys/class/tty", "dev/serial/by-id", "dev/serial/by-path"
_USB = re.compile(r"usb:([0-9A-Fa-f]{4}):([0-9A-Fa-f]{4})(?::(.+))?")

SPEC_RULE = "a path such as /dev/ttyUSB0 or /dev/serial/by-id/..., or usb:VID:PID or usb:VID:PID:SERIAL"


class PortIdentity:
    """One serial port and, where it is a USB device, who that says it is ("" for what is not known)."""

    __slots__ = ("by_id", "by_path", "manufacturer", "path", "pid", "product", "serial", "vid")

    def __init__(self, path: str, usb: dict[str, str], *, by_id: str = "", by_path: str = "") -> None:
        """`usb` holds the attributes of the USB device by their names in /sys."""
        self.path = path
        self.vid, self.pid = usb.get("idVendor", ""), usb.get("idProduct", "")
        self.serial, self.manufacturer = usb.get("serial", ""), usb.get("manufacturer", "")
        self.product = usb.get("product", "")
        self.by_id, self.by_path = by_id, by_path

    @property
    def spec(self) -> str:
        """The best name for the settings: by USB serial number, else by id, else by socket, else the path."""
        if self.vid and self.serial:
            return f"usb:{self.vid}:{self.pid}:{self.serial}"
        return self.by_id or self.by_path or self.path


def check_spec(spec: str) -> None:
    """Raise ValueError unless `spec` is written as a port can be named; whether it exists is not asked."""
    if not (spec.startswith("/") or _USB.fullmatch(spec)) or "\0" in spec:
        raise ValueError(f"port = {printable(spec)!r}: expected {SPEC_RULE}")


def find_port(spec: str, root: str = "/") -> str:
    """Return the path of the port that `spec` names.

    Raises:
        PortError: missing when there is no such port now; invalid when several fit, and the text names them.
        ValueError: `spec` is not written as a port can be named.
    """
    check_spec(spec)
    match = _USB.fullmatch(spec)
    if match is None:
        if not os.path.exists(_under(root, spec)):
            raise PortError(MISSING, spec, "no such port now")
        return spec
    vid, pid, serial = match.groups()
    found = [port for port in list_ports(root) if _is_usb(port, vid.lower(), pid.lower(), serial)]
    if not found:
        raise PortError(MISSING, spec, "no such USB device is plugged in now")
    if len(found) > 1:
        names = ", ".join(f"{port.path} ({port.by_id or port.by_path or 'no other name'})" for port in found)
        raise PortError(INVALID, spec, f"fits {len(found)} ports: {names}; name one of them by its /dev/serial/ path")
    return found[0].path


def list_ports(root: str = "/") -> list[PortIdentity]:
    """Return the ports with a device behind them, sorted by path. Terminals and absent UARTs are left out."""
    by_id, by_path = _links(root, _BY_ID), _links(root, _BY_PATH)
    ports = []
    for name in sorted(_listdir(_under(root, _SYS_TTY))):
        folder = os.path.join(_under(root, _SYS_TTY), name)
        if not os.path.exists(os.path.join(folder, "device")):
            continue
        if _read(os.path.join(folder, "type")) == "0":  # PORT_UNKNOWN: a UART that could be there and is not
            continue
        usb = _usb_attributes(os.path.realpath(os.path.join(folder, "device")))
        ports.append(PortIdentity(f"/dev/{name}", usb, by_id=by_id.get(name, ""), by_path=by_path.get(name, "")))
    return ports


def holders(path: str, root: str = "/") -> list[tuple[int, str]]:
    """Return (pid, command) of each other process that has the port open, as far as this user may see it.

    Looks at every process: some 10 ms on a small device. Ask when opening, not in a loop.
    """
    device = os.path.realpath(_under(root, path))
    proc = _under(root, "proc")
    found = []
    for name in _listdir(proc):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        folder = os.path.join(proc, name, "fd")
        if any(_readlink(os.path.join(folder, fd)) == device for fd in _listdir(folder)):
            found.append((int(name), printable(_read(os.path.join(proc, name, "comm")), 40)))
    return sorted(found)


def _under(root: str, path: str) -> str:
    return os.path.join(root, path.lstrip("/"))


def _is_usb(port: PortIdentity, vid: str, pid: str, serial: str | None) -> bool:
    return (port.vid, port.pid) == (vid, pid) and serial in (None, port.serial)


def _links(root: str, folder: str) -> dict[str, str]:
    """Return the links below /dev/serial by the name of the device they lead to."""
    place = _under(root, folder)
    return {
        os.path.basename(os.path.realpath(os.path.join(place, name))): f"/{folder}/{name}" for name in _listdir(place)
    }


def _usb_attributes(folder: str) -> dict[str, str]:
    """Return the attributes of the USB device that `folder` in /sys belongs to; empty if it is none."""
    for _ in range(_USB_LEVELS):
        if os.path.exists(os.path.join(folder, "idVendor")):
            names = ("idVendor", "idProduct", "serial", "manufacturer", "product")
            return {name: printable(_read(os.path.join(folder, name))) for name in names}
        folder = os.path.dirname(folder)
    return {}


def _listdir(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:  # not there, not ours, or gone since
        return []


def _readlink(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(4_096).strip()
    except OSError:
        return ""
