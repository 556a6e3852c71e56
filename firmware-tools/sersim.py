#!/usr/bin/env python3
"""A sensor on a pseudo terminal: prints readings at a rate, and misbehaves as sensors do.

    python firmware-tools/sersim.py --link /tmp/ttySENSOR --rate 2

Standard library only. Reading number n is a function of the seed and n alone, so whoever receives one can tell whether
it is right: see `reading`. SIGUSR1 unplugs the device, SIGUSR2 plugs it in again, as a new terminal under the same
link. What nobody reads is lost, as on a real line.
"""

from __future__ import annotations

import argparse
import binascii
import contextlib
import errno
import json
import math
import os
import random
import re
import select
import signal
import sys
import time
import tty
from typing import Any

EOLS = {"lf": b"\n", "crlf": b"\r\n", "cr": b"\r"}
FORMATS = ("json", "csv", "crc32")

_PIECE_BYTES = 8  # of a paced line: what a small UART hands over at once
_UNPLUG = re.compile(r"every ([0-9.]+) ?s for ([0-9.]+) ?s")
_EXAMPLES = """examples:
  python firmware-tools/sersim.py --link /tmp/ttySENSOR --rate 2
  python firmware-tools/sersim.py --link /tmp/ttySENSOR --format crc32 --noise 0.001
  python firmware-tools/sersim.py --link /tmp/ttySENSOR --unplug "every 20s for 3s"
"""


def reading(n: int, seed: int = 1) -> dict[str, Any]:
    """Return reading number `n`: the same for the same seed, on every machine."""
    mix = binascii.crc32(f"{seed}:{n}".encode())
    celsius = 20.0 + 5.0 * math.sin(n / 50.0) + (mix & 0xFF) / 256.0
    percent = 50.0 + 10.0 * math.cos(n / 80.0) + (mix >> 8 & 0xFF) / 128.0
    return {"n": n, "celsius": round(celsius, 2), "percent": round(percent, 1), "token": f"{mix:08x}"}


def encode(values: dict[str, Any], format: str = "json") -> bytes:  # noqa: A002 (the word of the command line)
    """Return one line without its end: JSON, CSV, or JSON followed by * and its CRC-32 in 8 hex digits.

    Raises:
        ValueError: an unknown format.
    """
    if format not in FORMATS:
        raise ValueError(f"format = {format!r}: expected one of {', '.join(FORMATS)}")
    if format == "csv":
        return ",".join(str(value) for value in values.values()).encode()
    line = json.dumps(values, separators=(",", ":")).encode()
    return b"%s*%08X" % (line, binascii.crc32(line)) if format == "crc32" else line


class Noise:
    """Spoils bytes as a bad line does: each bit flips with `bit_error_rate`, a tenth as many bytes drop or appear."""

    def __init__(self, bit_error_rate: float, seed: int = 1) -> None:
        self._rate = bit_error_rate
        self._random = random.Random(seed)

    def spoil(self, data: bytes) -> bytes:
        """Return `data` after its way over the line."""
        if not self._rate:
            return data
        roll, rate = self._random.random, self._rate
        spoilt = bytearray()
        for byte in data:
            flips = sum(1 << bit for bit in range(8) if roll() < rate)
            if roll() >= rate / 10:
                spoilt.append(byte ^ flips)
            if roll() < rate / 10:
                spoilt.append(self._random.randrange(256))
        return bytes(spoilt)


class SensorPty:
    """A pseudo terminal that behaves like a plugged-in device. `path` is what the host opens.

    The host's side is raw and without echo before anybody can open it. The link, if any, appears and goes with the
    device. It holds one descriptor while plugged in, and leaves nothing behind after `close`.
    """

    def __init__(self, link: str = "") -> None:
        self.link = link
        self._master = -1
        self._device = ""

    @property
    def path(self) -> str:
        """The link, or without one the terminal itself, which has another name after each `plug`."""
        return self.link or self._device

    @property
    def is_plugged(self) -> bool:
        return self._master >= 0

    def plug(self) -> None:
        """Make a new terminal and point the link at it. Raises OSError when the link cannot be made."""
        if self.is_plugged:
            return
        if self.link and os.path.lexists(self.link) and not os.path.islink(self.link):
            raise FileExistsError(errno.EEXIST, "exists and is no link", self.link)
        self._master, slave = os.openpty()
        try:
            tty.setraw(slave)
            self._device = os.ttyname(slave)
        finally:
            os.close(slave)  # the settings stay as long as the master; the host must be the only one that has it open
        os.set_blocking(self._master, False)
        if self.link:
            self._point_link()

    def _point_link(self) -> None:
        new = f"{self.link}.{os.getpid()}"
        try:
            os.symlink(self._device, new)
            os.replace(new, self.link)  # one step: whoever looks sees the old device or the new one
        except OSError:
            self.unplug()
            raise

    def unplug(self) -> None:
        """Hang up, as pulling the plug does; what the host has not read is lost. Harmless when unplugged."""
        if not self.is_plugged:
            return
        os.close(self._master)
        self._master = -1
        with contextlib.suppress(OSError):
            if self.link and os.readlink(self.link) == self._device:
                os.unlink(self.link)

    def write(self, data: bytes) -> int:
        """Send bytes to the host and return how many it will get: none while unplugged or nobody listens."""
        if not self.is_plugged or not self.has_listener:
            return 0
        try:
            return os.write(self._master, data)
        except OSError:  # EAGAIN: the host does not read; a UART would lose them too
            return 0

    def read(self) -> bytes:
        """Return what the host has sent, b"" if nothing."""
        if not self.is_plugged:
            return b""
        try:
            return os.read(self._master, 65_536)
        except OSError:  # EAGAIN: nothing there; EIO: nobody has it open
            return b""

    @property
    def has_listener(self) -> bool:
        """True while somebody has the port open."""
        poll = select.poll()
        poll.register(self._master, 0)
        return not poll.poll(0)

    def close(self) -> None:
        """Unplug for good."""
        self.unplug()

    def __enter__(self) -> SensorPty:
        self.plug()
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()


class Simulator:
    """Sends readings through a SensorPty as the options say."""

    def __init__(self, pty: SensorPty, options: argparse.Namespace) -> None:
        self._pty = pty
        self._options = options
        self._random = random.Random(options.seed)
        self._noise = Noise(options.noise, options.seed)
        self._is_stopping = False
        self._wanted_plugged = True
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_writer, False)

    def run(self) -> None:
        """Send until `count` is reached or a signal asks to stop. The link is gone afterwards."""
        self._obey_signals()
        try:
            self._pty.plug()
            print(_usage(self._pty.path, self._options), flush=True)
            self._loop()
        finally:
            self._pty.close()

    def _obey_signals(self) -> None:
        signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: setattr(self, "_is_stopping", True))
        signal.signal(signal.SIGUSR1, lambda *_: setattr(self, "_wanted_plugged", False))
        signal.signal(signal.SIGUSR2, lambda *_: setattr(self, "_wanted_plugged", True))

    def _loop(self) -> None:
        started_s = time.monotonic()
        n = 0
        while not self._is_stopping and (not self._options.count or n < self._options.count):
            n += 1
            self._sleep_until(started_s, started_s + n / self._options.rate)
            if self._options.dropout and self._random.random() < self._options.dropout:
                continue
            line = encode(reading(n, self._options.seed), self._options.format) + EOLS[self._options.eol]
            self._send(self._noise.spoil(line))

    def _sleep_until(self, started_s: float, until_s: float) -> None:
        """Wait, and plug and unplug meanwhile; the host's bytes are taken, so that it never blocks."""
        while not self._is_stopping:
            self._follow_plan(time.monotonic() - started_s)
            self._pty.read()
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return
            if select.select([self._wake_reader], [], [], min(left_s, 0.05))[0]:
                os.read(self._wake_reader, 64)

    def _follow_plan(self, elapsed_s: float) -> None:
        should = self._wanted_plugged
        if self._options.unplug:
            every_s, for_s = self._options.unplug
            should = should and elapsed_s % (every_s + for_s) < every_s
        if should != self._pty.is_plugged:
            print("plugged in" if should else "unplugged", flush=True)
            (self._pty.plug if should else self._pty.unplug)()

    def _send(self, data: bytes) -> None:
        if not self._options.baud:
            self._pty.write(data)
            return
        for at in range(0, len(data), _PIECE_BYTES):
            piece = data[at : at + _PIECE_BYTES]
            self._pty.write(piece)
            time.sleep(len(piece) * 10 / self._options.baud)  # start bit, 8 bits, stop bit


def main(arguments: list[str] | None = None) -> int:
    """Run the simulator; return the exit code."""
    options = _parse(arguments)
    try:
        Simulator(SensorPty(options.link), options).run()
    except OSError as error:
        print(f"sersim: {options.link or 'pty'}: {error.strerror}: expected a path where a link can be made")
        return 1
    return 0


def _usage(path: str, options: argparse.Namespace) -> str:
    decode = {"json": 'decode = "json"', "crc32": 'decode = "json", check = "crc32"'}.get(options.format)
    decode = (
        decode
        or 'decode = "csv", columns = ["n", "celsius", "percent", "token"], fields = { token = { type = "text" } }'
    )
    return (
        f"{path}\n"
        f'  read it:   desired = {{ port = "{path}", {decode} }}\n'
        f"  unplug:    kill -USR1 {os.getpid()}    plug in: kill -USR2 {os.getpid()}    stop: Ctrl-C"
    )


def _plan(text: str) -> tuple[float, float]:
    match = _UNPLUG.fullmatch(text.strip())
    if match is None or not all(float(group) > 0 for group in match.groups()):
        raise argparse.ArgumentTypeError(f"{text!r}: expected 'every 20s for 3s'")
    return float(match[1]), float(match[2])


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a number from 0 to 1")
    return value


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: expected a number above 0")
    return value


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="sersim",
        description="A sensor on a pseudo terminal: prints readings at a rate, and misbehaves as sensors do.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--link", default="", metavar="PATH", help="link to the terminal, e.g. /tmp/ttySENSOR")
    parser.add_argument("--rate", type=_positive, default=1.0, metavar="HZ", help="readings per second (default 1)")
    parser.add_argument("--format", choices=FORMATS, default="json", help="crc32 is JSON with * and a CRC-32 behind")
    parser.add_argument("--eol", choices=tuple(EOLS), default="lf", help="end of line (default lf)")
    parser.add_argument("--noise", type=_share, default=0.0, metavar="BER", help="share of bits that flip, e.g. 0.001")
    parser.add_argument("--dropout", type=_share, default=0.0, metavar="P", help="share of readings that are skipped")
    parser.add_argument("--unplug", type=_plan, metavar="PLAN", help="'every 20s for 3s'")
    parser.add_argument("--baud", type=_positive, metavar="BAUD", help="pace the bytes as this speed would")
    parser.add_argument("--count", type=int, default=0, metavar="N", help="end after N readings")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of values, noise and dropouts (default 1)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
