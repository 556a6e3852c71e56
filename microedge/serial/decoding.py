"""From one line to one reading: JSON, CSV, regular expression, plain text. Pure.

A decoder takes a whole, checked line and returns a dict, or refuses the line with a DecodeError; garbage never raises
anything else. It is strict on purpose: what is nearly a reading is noise, and a wrong reading is worse than none.
"""

from __future__ import annotations

import json
import re

from microedge.serial.errors import FORMAT, DecodeError, printable

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is, without loading typing (0.6 MiB resident)
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Protocol

    Reading = dict[str, Any]

    class Decoder(Protocol):
        def decode(self, line: bytes) -> Reading:
            """Return the reading in `line`; an empty dict stands for a line that rightly has none, as a header.

            Raises:
                DecodeError: the line is not a reading.
            """


MAX_NUMBER = 1.7976931348623157e308  # the largest double: what is beyond is infinite for whoever reads it next
MAX_DEPTH = 16  # of nested JSON; sensors use one or two, and json itself breaks only at about a thousand
COLUMN_TYPES = ("number", "text", "skip")

_INTEGER = re.compile(r"[+-]?[0-9]{1,300}", re.ASCII)
_FLOAT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_COLUMN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_ .%()/-]{0,62}")


class Column:
    """One column of a CSV line: "number" (anything else refuses the line), "text", or "skip"."""

    __slots__ = ("name", "type")

    def __init__(self, name: str, type: str = "number") -> None:  # noqa: A002 (the word that users write)
        """Raise ValueError for an unknown `type`."""
        if type not in COLUMN_TYPES:
            raise ValueError(f"type = {type!r}: expected one of {', '.join(COLUMN_TYPES)}")
        self.name, self.type = name, type


class JsonDecoder:
    """A line is one JSON object in UTF-8, with finite numbers and at least one member."""

    def __init__(self) -> None:
        self._parse = json.JSONDecoder(parse_constant=_refuse_constant).raw_decode

    def decode(self, line: bytes) -> Reading:
        """Return the object.

        Raises:
            DecodeError: the line is not such an object.
        """
        try:
            text = line.decode()
            reading, end = self._parse(text)
            if end != len(text):
                raise ValueError(f"{len(text) - end} characters follow the JSON value")
            if type(reading) is not dict or not reading:
                raise ValueError("expected a JSON object with members")
            for value in reading.values():
                kind = type(value)
                if kind is not str and not (kind in _NUMBERS and -MAX_NUMBER <= value <= MAX_NUMBER):
                    _refuse_unsafe(value, MAX_DEPTH)
            if "\\u" in text:
                json.dumps(reading, ensure_ascii=False).encode()  # half a surrogate pair parses, but is no text
        except (ValueError, RecursionError) as error:  # UnicodeError is a ValueError
            raise DecodeError(FORMAT, f"not a JSON object: {_first_words(error)}") from error
        found: Reading = reading
        return found


class CsvDecoder:
    """A line is one row with exactly the given columns.

    Without `columns`, the names come from a header row: a row in which no cell is a number. A repeated header row is
    no reading and no error. `delimiter` " " means any run of white space.
    """

    def __init__(self, columns: Sequence[Column] = (), *, delimiter: str = ",") -> None:
        """Raise ValueError for a delimiter of other than one character, or a name that occurs twice."""
        if len(delimiter) != 1:
            raise ValueError(f"delimiter = {delimiter!r}: expected one character")
        self._delimiter = delimiter
        self._learns = not columns
        self._use(columns)

    def decode(self, line: bytes) -> Reading:
        """Return a dict of the columns by name.

        Raises:
            DecodeError: wrong number of columns, a cell is no number, or no header row has been seen yet.
        """
        cells = self._split(_text(line))
        if self._learns and self._learn(cells):
            return {}
        if len(cells) != len(self._columns):
            raise DecodeError(FORMAT, self._wrong_count(len(cells)))
        if cells == self._names:
            return {}
        reading: Reading = {}
        for column, cell in zip(self._columns, cells):
            if column.type == "number":
                reading[column.name] = _number(column.name, cell)
            elif column.type == "text":
                reading[column.name] = cell
        return reading

    def _use(self, columns: Sequence[Column]) -> None:
        self._columns = tuple(columns)
        self._names = [column.name for column in columns]
        kept = [column.name for column in columns if column.type != "skip"]
        if len(set(kept)) != len(kept):
            raise ValueError(f"columns = {self._names!r}: expected each name once")

    def _learn(self, cells: list[str]) -> bool:
        is_header = len(set(cells)) == len(cells) and all(_COLUMN_NAME.fullmatch(cell) for cell in cells)
        if is_header:
            self._use([Column(cell) for cell in cells])
        return is_header

    def _split(self, text: str) -> list[str]:
        if self._delimiter == " ":
            return text.split()
        if '"' not in text:
            return [cell.strip() for cell in text.split(self._delimiter)]
        import csv  # only for devices that quote

        try:
            rows = list(csv.reader([text], delimiter=self._delimiter, strict=True))
        except csv.Error as error:
            raise DecodeError(FORMAT, f"not a CSV row: {error}") from error
        return [cell.strip() for row in rows for cell in row]

    def _wrong_count(self, found: int) -> str:
        if not self._columns:
            return "no header row seen yet; name the columns in the settings, or restart the device"
        return f"columns = {found}: expected {len(self._columns)}"


class RegexDecoder:
    """A line matches a pattern as a whole; its named groups are the reading.

    A group that looks like a number becomes one; `types` overrides this per group with "number" or "text". A group
    that took no part is left out. The time that a pattern takes is its author's affair: nested repeats may take long.
    """

    def __init__(self, pattern: str, types: dict[str, str] | None = None) -> None:
        """Raise ValueError when the pattern does not compile, or has no named group."""
        try:
            self._pattern = re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"not a regular expression: {error}") from error
        if not self._pattern.groupindex:
            raise ValueError("expected at least one named group, as in (?P<celsius>[0-9.]+)")
        self._types = types or {}

    def decode(self, line: bytes) -> Reading:
        """Return the named groups.

        Raises:
            DecodeError: the line does not match, or a group of type "number" is none.
        """
        match = self._pattern.fullmatch(_text(line))
        if match is None:
            raise DecodeError(FORMAT, "the line does not match the pattern")
        groups = match.groupdict()
        return {name: self._value(name, text) for name, text in groups.items() if text is not None}

    def _value(self, name: str, text: str) -> object:
        wanted = self._types.get(name, "")
        if wanted == "text":
            return text
        compact = "".join(text.split())  # scales print "+  12.34"
        if wanted == "number" or _FLOAT.fullmatch(compact):
            return _number(name, compact)
        return text


class TextDecoder:
    """Any printable line in UTF-8 is a reading `{"text": line}`."""

    def decode(self, line: bytes) -> Reading:
        """Return the text.

        Raises:
            DecodeError: the line is not UTF-8, or has control characters in it.
        """
        return {"text": _text(line)}


def _text(line: bytes) -> str:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise DecodeError(FORMAT, f"not UTF-8 text: byte {line[error.start]:#04x} at {error.start}") from error
    if not text.isprintable() and any(not c.isprintable() and c != "\t" for c in text):
        raise DecodeError(FORMAT, "control characters in the line")
    return text


def _number(name: str, cell: str) -> int | float:
    if _INTEGER.fullmatch(cell):
        return int(cell)
    value = float(cell) if _FLOAT.fullmatch(cell) else None  # float() also takes "nan", "1_000" and Arabic digits
    if value is None or not -MAX_NUMBER <= value <= MAX_NUMBER:
        raise DecodeError(FORMAT, f"{printable(name, 40)} = {printable(cell, 40)!r}: expected a number")
    return value


_NUMBERS = frozenset((int, float))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def _refuse_unsafe(value: object, depth: int) -> None:
    """Raise ValueError for an infinite number anywhere in `value`, or too deep nesting."""
    if isinstance(value, (int, float)):
        if not -MAX_NUMBER <= value <= MAX_NUMBER:
            raise ValueError("a number is not finite")
    elif isinstance(value, (dict, list)):
        if not depth:
            raise ValueError(f"nested more than {MAX_DEPTH} deep")
        for item in value.values() if isinstance(value, dict) else value:
            _refuse_unsafe(item, depth - 1)


def _first_words(error: BaseException) -> str:
    return printable(str(error).split(":", 1)[0] if isinstance(error, UnicodeError) else error, 120)
