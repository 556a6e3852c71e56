"""Finding ports on a made-up device tree."""

from __future__ import annotations

from pathlib import Path

import pytest

from microedge.serial.errors import PortError
from microedge.serial.identity import check_spec, find_port, holders, list_ports


class Tree:
    """Just enough of /sys, /dev and /proc."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def add_usb(self, name: str, usb: str, serial: str = "", *, interface: str = "1.0") -> None:
        device = self.root / "sys/devices/usb1" / usb
        device.mkdir(parents=True, exist_ok=True)
        for attribute, value in (("idVendor", "0403"), ("idProduct", "6001"), ("product", "FT232R\x1b[31m")):
            (device / attribute).write_text(f"{value}\n")
        if serial:
            (device / "serial").write_text(f"{serial}\n")
        port = device / f"{usb}:{interface}" / name
        port.mkdir(parents=True)
        self._add_tty(name, port)

    def add_uart(self, name: str, kind: str) -> None:
        port = self.root / "sys/devices/platform" / name
        port.mkdir(parents=True)
        self._add_tty(name, port)
        (self.root / "sys/class/tty" / name / "type").write_text(f"{kind}\n")

    def add_terminal(self, name: str) -> None:
        (self.root / "sys/class/tty" / name).mkdir(parents=True)

    def link(self, kind: str, link: str, name: str) -> None:
        folder = self.root / "dev/serial" / kind
        folder.mkdir(parents=True, exist_ok=True)
        (folder / link).symlink_to(f"../../{name}")

    def hold(self, pid: int, command: str, name: str) -> None:
        folder = self.root / "proc" / str(pid)
        (folder / "fd").mkdir(parents=True)
        (folder / "comm").write_text(f"{command}\n")
        (folder / "fd" / "3").symlink_to(self.root / "dev" / name)

    def _add_tty(self, name: str, port: Path) -> None:
        tty = self.root / "sys/class/tty" / name
        tty.mkdir(parents=True)
        (tty / "device").symlink_to(port)
        (self.root / "dev").mkdir(exist_ok=True)
        (self.root / "dev" / name).touch()


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_ports_are_listed_with_what_is_known_of_them(tree: Tree) -> None:
    tree.add_usb("ttyUSB0", "1-1", "A50285BI")
    tree.link("by-id", "usb-FTDI_A50285BI-if00", "ttyUSB0")
    tree.link("by-path", "pci-usb-0:1", "ttyUSB0")
    tree.add_uart("ttyAMA0", "32")
    tree.add_uart("ttyS0", "0")
    tree.add_terminal("tty1")

    uart, usb = list_ports(str(tree.root))

    assert (uart.path, uart.vid, uart.by_id, uart.spec) == ("/dev/ttyAMA0", "", "", "/dev/ttyAMA0")
    assert (usb.path, usb.vid, usb.pid, usb.serial) == ("/dev/ttyUSB0", "0403", "6001", "A50285BI")
    assert usb.product == "FT232R\\x1b[31m"  # made harmless for terminals
    assert (usb.by_id, usb.by_path) == ("/dev/serial/by-id/usb-FTDI_A50285BI-if00", "/dev/serial/by-path/pci-usb-0:1")
    assert usb.spec == "usb:0403:6001:A50285BI"


def test_a_port_is_found_by_its_serial_number_whatever_its_name(tree: Tree) -> None:
    tree.add_usb("ttyUSB0", "1-1", "AAA")
    tree.add_usb("ttyUSB1", "1-2", "BBB")

    assert find_port("usb:0403:6001:BBB", str(tree.root)) == "/dev/ttyUSB1"
    assert find_port("/dev/ttyUSB0", str(tree.root)) == "/dev/ttyUSB0"


def test_upper_and_lower_case_hex_digits_are_the_same(tree: Tree) -> None:
    tree.add_usb("ttyACM0", "1-1", "x:y")
    for attribute, value in (("idVendor", "2e8a"), ("idProduct", "000a")):
        (tree.root / "sys/devices/usb1/1-1" / attribute).write_text(value)

    assert find_port("usb:2E8A:000A:x:y", str(tree.root)) == "/dev/ttyACM0"


def test_two_adapters_alike_are_an_error_that_names_them_and_the_cure(tree: Tree) -> None:
    tree.add_usb("ttyUSB0", "1-1")
    tree.add_usb("ttyUSB1", "1-2")
    tree.link("by-path", "pci-usb-0:2", "ttyUSB1")

    with pytest.raises(PortError) as error:
        find_port("usb:0403:6001", str(tree.root))

    assert error.value.kind == "invalid"
    assert "/dev/ttyUSB0 (no other name), /dev/ttyUSB1 (/dev/serial/by-path/pci-usb-0:2)" in str(error.value)


@pytest.mark.parametrize("spec", ["/dev/ttyUSB7", "usb:0403:6001", "usb:1a86:7523:X"])
def test_a_port_that_is_not_there_is_missing(tree: Tree, spec: str) -> None:
    with pytest.raises(PortError) as error:
        find_port(spec, str(tree.root))

    assert error.value.kind == "missing"


@pytest.mark.parametrize(
    "spec", ["", "ttyUSB0", "usb:403:6001", "usb:0403", "usb:0403:6001:", "usb:zzzz:6001", "/dev/x\0"]
)
def test_what_names_no_port_is_refused_with_the_forms_that_do(spec: str) -> None:
    with pytest.raises(ValueError, match="expected a path such as"):
        check_spec(spec)


def test_whoever_holds_a_port_is_named(tree: Tree) -> None:
    tree.add_usb("ttyUSB0", "1-1")
    tree.link("by-id", "usb-x", "ttyUSB0")
    tree.hold(4_000_001, "minicom", "ttyUSB0")
    tree.hold(4_000_002, "vim", "other")

    assert holders("/dev/serial/by-id/usb-x", str(tree.root)) == [(4_000_001, "minicom")]
    assert holders("/dev/ttyUSB1", str(tree.root)) == []
