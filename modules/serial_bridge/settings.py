"""The desired properties of a bridge, checked. A person wrote them, so every refusal says what to write instead."""

from __future__ import annotations

import math

from microedge.serial.checksums import CHECKS, LineCheck
from microedge.serial.decoding import (
    COLUMN_TYPES,
    Column,
    CsvDecoder,
    JsonDecoder,
    RegexDecoder,
    TextDecoder,
)
from microedge.serial.errors import printable
from microedge.serial.fields import FieldRule
from microedge.serial.framing import EOLS, LineFramer
from microedge.serial.identity import check_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from microedge.serial.decoding import Decoder

    Rule = Callable[[Any], bool]

WRITE_EOLS = {"lf": b"\n", "crlf": b"\r\n", "cr": b"\r", "none": b""}

_MAX_LINE_BYTES = 32_768  # as JSON text a byte takes at most six, and a message at most 256 KiB
_FIELD_KEYS = ("scale", "offset", "unit", "range", "type")


class SettingsError(ValueError):
    """A desired property is wrong; the text says which, what was found and what was expected."""


class Settings:
    """What the desired properties say; see README.md. The attributes have the names of the properties."""

    def __init__(self, desired: dict[str, Any]) -> None:
        """Check and store.

        Raises:
            SettingsError: something is wrong; a person must edit it.
        """
        found = {key: value for key, value in desired.items() if not key.startswith("$")}
        for key in found:
            if key not in _RULES:
                raise SettingsError(f"{printable(key, 60)}: unknown key{_hint(key)}")
        for key, (default, expected, holds) in _RULES.items():
            value = found.get(key, default)
            if not holds(value):
                raise SettingsError(f"{key} = {printable(repr(value), 80)}: expected {expected}")
            setattr(self, key, value)
        with _Refusing():
            check_spec(self.port)
        self._check_fields()
        self.decoder()
        self.rules()

    port: str
    baud: int
    bytesize: int
    parity: str
    stopbits: int
    framing: str
    eol: str
    max_line_bytes: int
    decode: str
    check: str
    columns: list[str]
    delimiter: str
    header: bool
    pattern: str
    fields: dict[str, dict[str, Any]]
    timestamp_field: str
    stale_s: float
    reopen_max_s: float
    status_interval_s: float
    coalesce_ms: float
    write_eol: str

    @property
    def knows_fragments(self) -> bool:
        """True if the first line after opening may be taken, because the rest of a line would not pass for a whole one.

        The rest of a JSON object is no JSON object, and a checked line has its check. The rest of a CSV row or of plain
        text looks like one, and a device may pause in the middle of a line, so there it is always thrown away.
        """
        return self.decode == "json" or self.check in ("crc32", "nmea")

    @property
    def line(self) -> tuple[object, ...]:
        """What the port is opened with: another one means opening it again."""
        return self.port, self.baud, self.bytesize, self.parity, self.stopbits

    def framer(self) -> LineFramer:
        return LineFramer(self.eol, max_bytes=self.max_line_bytes)

    def line_check(self) -> LineCheck:
        return LineCheck(self.check)

    def decoder(self) -> Decoder:
        """Return a new decoder.

        Raises:
            SettingsError: columns, header, delimiter or pattern do not suit `decode`.
        """
        if self.decode == "json":
            return JsonDecoder()
        if self.decode == "text":
            return TextDecoder()
        types = {name: rule["type"] for name, rule in self.fields.items() if "type" in rule}
        if self.decode == "regex":
            with _Refusing(f"pattern = {printable(repr(self.pattern))}: "):
                return RegexDecoder(self.pattern, types)
        if not self.columns and not self.header:
            raise SettingsError("columns = []: expected the names of the columns, or header = true for a device")
        columns = [Column(name, "skip" if name == "-" else types.get(name, "number")) for name in self.columns]
        with _Refusing():
            return CsvDecoder(columns, delimiter=self.delimiter)

    def rules(self) -> list[FieldRule]:
        """Return the rules that do something.

        Raises:
            SettingsError: a range is upside down.
        """
        rules = []
        for name, options in self.fields.items():
            given = {key: options[key] for key in ("scale", "offset", "range") if key in options}
            if given:
                with _Refusing(f"fields.{printable(name, 60)}: "):
                    rules.append(FieldRule(name, **given))
        return rules

    def units(self) -> dict[str, str]:
        """Return the message properties that tell the units: `unit.<field>`."""
        return {f"unit.{name}": options["unit"] for name, options in self.fields.items() if options.get("unit")}

    def _check_fields(self) -> None:
        for name, options in self.fields.items():
            where = f"fields.{printable(name, 60)}"
            if not isinstance(options, dict):
                raise SettingsError(f"{where} = {printable(repr(options), 80)}: expected a table, as {{ scale = 0.1 }}")
            for key, value in options.items():
                if key not in _FIELD_KEYS:
                    raise SettingsError(f"{where}.{printable(key, 60)}: expected one of {', '.join(_FIELD_KEYS)}")
                expected, holds = _FIELD_RULES[key]
                if not holds(value):
                    raise SettingsError(f"{where}.{key} = {printable(repr(value), 80)}: expected {expected}")


class _Refusing:
    """Inside, a ValueError is a mistake in the settings: it becomes a SettingsError that begins with `where`."""

    def __init__(self, where: str = "") -> None:
        self._where = where

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ValueError):
            raise SettingsError(f"{self._where}{error}") from error


def _hint(key: str) -> str:
    import difflib  # only for people who mistype

    near = difflib.get_close_matches(key, _RULES, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(_RULES)}"


def _whole(low: int, high: int) -> tuple[str, Rule]:
    return f"a whole number from {low} to {high}", lambda value: type(value) is int and low <= value <= high


def _number(low: float, high: float) -> tuple[str, Rule]:
    return f"a number from {low:g} to {high:g}", lambda value: _is_number(value) and low <= value <= high


def _choice(*names: str) -> tuple[str, Rule]:
    return f"one of {', '.join(names)}", lambda value: isinstance(value, str) and value in names


def _text(max_chars: int) -> tuple[str, Rule]:
    return f"text of at most {max_chars} characters", lambda value: isinstance(value, str) and len(value) <= max_chars


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]  # bool is out, see above


def _is_name_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) and 0 < len(name) <= 64 for name in value)


def _is_range(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(_is_number(bound) for bound in value)


_FINITE = "a finite number", _is_number
_RULES: dict[str, tuple[Any, str, Rule]] = {
    "port": ("", *_text(4_096)),
    "baud": (9600, *_whole(50, 12_000_000)),
    "bytesize": (8, *_whole(5, 8)),
    "parity": ("none", *_choice("none", "even", "odd")),
    "stopbits": (1, *_whole(1, 2)),
    "framing": ("line", *_choice("line")),
    "eol": ("any", *_choice(*EOLS)),
    "max_line_bytes": (1024, *_whole(8, _MAX_LINE_BYTES)),
    "decode": ("json", *_choice("json", "csv", "regex", "text")),
    "check": ("none", *_choice(*CHECKS)),
    "columns": ([], "a list of names, - for a column to skip", _is_name_list),
    "delimiter": (",", "one character", lambda value: isinstance(value, str) and len(value) == 1),
    "header": (False, "true or false", lambda value: isinstance(value, bool)),
    "pattern": ("", *_text(1_024)),
    "fields": ({}, "a table of tables, by field", lambda value: isinstance(value, dict)),
    "timestamp_field": ("", *_text(64)),
    "stale_s": (0, *_number(0, 31_536_000)),
    "reopen_max_s": (2.0, *_number(0.25, 3_600)),
    "status_interval_s": (60, *_number(1, 86_400)),
    "coalesce_ms": (10, *_number(0, 1_000)),
    "write_eol": ("lf", *_choice(*WRITE_EOLS)),
}
_FIELD_RULES: dict[str, tuple[str, Rule]] = {
    "scale": _FINITE,
    "offset": _FINITE,
    "range": ("two numbers, [lowest, highest]", _is_range),
    "type": _choice(*COLUMN_TYPES[:2]),
    "unit": _text(32),
}
