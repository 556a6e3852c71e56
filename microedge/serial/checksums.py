"""Checksums of serial protocols, and text lines that carry one. Pure.

Only a check tells noise from a reading: at one wrong bit in a thousand, plain JSON lines let about 50,000 wrong
readings per million through, NMEA's XOR some 8,000, a CRC-32 none.
"""

from __future__ import annotations

import re
from binascii import crc32 as _crc32
from functools import reduce
from operator import xor

from microedge.serial.errors import CHECK, DecodeError

CHECKS = ("none", "crc32", "nmea", "auto")

_SUFFIX_BYTES = 9
_SUFFIX = re.compile(rb"\*[0-9A-Fa-f]{8}")
_NMEA = re.compile(rb"[$!]([^$!*]*)\*([0-9A-Fa-f]{2})")


def xor8(data: bytes) -> int:
    """Return the exclusive or of all bytes, as NMEA 0183 uses it."""
    return reduce(xor, data, 0)


def sum8(data: bytes) -> int:
    """Return the sum of all bytes modulo 256."""
    return sum(data) & 0xFF


def crc16_modbus(data: bytes) -> int:
    """Return the CRC-16/MODBUS (reflected 0x8005, start 0xFFFF); it travels low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _MODBUS_TABLE[(crc ^ byte) & 0xFF]
    return crc


def crc32(data: bytes) -> int:
    """Return the CRC-32/ISO-HDLC, the one of zlib and Ethernet."""
    return _crc32(data)


def with_crc32(line: bytes) -> bytes:
    """Return `line` (without its end) followed by `*` and its CRC-32 as 8 hex digits: a checked line."""
    return b"%s*%08X" % (line, _crc32(line))


def with_nmea(payload: bytes) -> bytes:
    """Return `payload` as an NMEA 0183 sentence, `$payload*hh`, without its end."""
    return b"$%s*%02X" % (payload, xor8(payload))


def strip_crc32(line: bytes) -> bytes:
    """Return a checked line without its CRC-32.

    Raises:
        DecodeError: there is no `*` and 8 hex digits at the end, or they do not fit the line.
    """
    payload, suffix = line[:-_SUFFIX_BYTES], line[-_SUFFIX_BYTES:]
    expected = b"*%08X" % _crc32(payload)
    if suffix.upper() != expected:
        if not _SUFFIX.fullmatch(suffix):
            raise DecodeError(CHECK, "no checksum: expected * and 8 hex digits at the end of the line")
        raise DecodeError(CHECK, f"CRC-32 is {suffix[1:].decode()}: expected {expected[1:].decode()}")
    return payload


def strip_nmea(line: bytes) -> bytes:
    """Return what an NMEA 0183 sentence holds between `$` (or `!`) and `*hh`.

    Raises:
        DecodeError: it is no such sentence, or the checksum does not fit.
    """
    match = _NMEA.fullmatch(line)
    if match is None:
        raise DecodeError(CHECK, "no NMEA sentence: expected $, text, * and 2 hex digits")
    payload, digits = match.groups()
    if int(digits, 16) != xor8(payload):
        raise DecodeError(CHECK, f"NMEA checksum is {digits.decode()}: expected {xor8(payload):02X}")
    return payload


class LineCheck:
    """Takes the checksum off each line, and refuses lines whose checksum does not fit.

    `kind` is "none"; "crc32" or "nmea", which every line must carry then; or "auto": lines may come without a CRC-32
    until the first good one has shown that this device sends them. From then on a line without is a damaged line.
    """

    def __init__(self, kind: str = "none") -> None:
        """Raise ValueError for an unknown `kind`."""
        if kind not in CHECKS:
            raise ValueError(f"check = {kind!r}: expected one of {', '.join(CHECKS)}")
        self._kind = kind
        self._is_required = kind == "crc32"

    def strip(self, line: bytes) -> bytes:
        """Return the line without its checksum.

        Raises:
            DecodeError: the checksum is missing or wrong.
        """
        if self._kind == "none":
            return line
        if self._kind == "nmea":
            return strip_nmea(line)
        if not self._is_required and not _SUFFIX.fullmatch(line[-_SUFFIX_BYTES:]):
            return line
        payload = strip_crc32(line)
        self._is_required = True
        return payload

    def reset(self) -> None:
        """Forget what "auto" has learned: another device may be plugged in now."""
        self._is_required = self._kind == "crc32"


def _modbus_entry(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return value


_MODBUS_TABLE = tuple(_modbus_entry(value) for value in range(256))
