"""One TOML file, read with limits, that can say on which line each of its keys stands.

Every mistake is a `ConfigError`, whatever the file holds: not text, not TOML, nested beyond reason. No message quotes
a line of the file, which could hold a password.
"""

from __future__ import annotations

import datetime
import os
import re
import stat
import sys
from collections.abc import Mapping
from typing import Any

from microedge.config.lines import KeyPath, key_lines
from microedge.errors import ConfigError, printable

MAX_DEPTH = 24  # tables within tables; the deepest valid file needs 13 (desired properties of a module)
_INT_BITS = 64  # what TOML promises, and what JSON readers elsewhere can take

# A key of this many parts is no configuration; tomllib needs quadratic time for it: 25 s for 64 KiB.
_LONG_KEY = re.compile(r"""(?:\.[ \t]*(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')[ \t]*){40}""")
_POSITION = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)")
_LONG_NUMBER = re.compile(r"[0-9_]{4000}")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

_HINTS = (  # what tomllib says (a part of it), what to do
    ("Invalid value", 'text stands in quotes: key = "value"'),
    ("Expected '='", "write key = value, or [table] on a line of its own"),
    ("Cannot overwrite", "this key is set twice; remove one"),
    ("Cannot declare", "this table is written twice; join the two"),
    ("twice", "this table is written twice; join the two"),
    ("Cannot mutate", "this table is written in two places; join them"),
    ("Unescaped '\\'", "write text with backslashes in single quotes"),
    ("Expected newline", "write one key = value on each line; text stands in quotes"),
    ("Unterminated string", "close the quotes"),
    ("Illegal character '\\n'", "close the quotes on the same line"),
    ("Unclosed array", "close the list with ]"),
    ("inline table", "write { key = value, key = value } on one line"),
    ("Invalid statement", "write key = value, or [table] on a line of its own; comments begin with #"),
)


class Words(str):
    """A description in place of a value: its repr has no quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


MISSING = Words("(missing)")
HIDDEN = Words("(hidden)")


class Document:
    """A parsed file: the whole table, and where each key of it stands."""

    def __init__(self, file: str, table: Mapping[str, Any], lines: Mapping[KeyPath, int]) -> None:
        self.file, self.table = file, table
        self._lines = lines

    def line(self, path: KeyPath) -> int:
        """Return the line of `path`, or of the innermost table around it that has one; 0 when none has."""
        for length in range(len(path), 0, -1):
            if path[:length] in self._lines:
                return self._lines[path[:length]]
        return 0

    def wrong(self, path: KeyPath, got: object, expected: str, hint: str = "") -> ConfigError:
        """Return the error that says that the value `got` of `path` is not what was `expected`."""
        return ConfigError(self.file, self.line(path), shown_key(path), as_toml(got), expected, hint)


def open_document(file: str, max_bytes: int) -> Document:
    """Read and parse `file`, which may hold at most `max_bytes`. Blocks for one read.

    Raises:
        ConfigError: it is missing, no regular file, unreadable, too large, not UTF-8, not TOML, or nested deeper than
            `MAX_DEPTH`.
    """
    try:
        raw = read_capped(file, max_bytes)
    except OSError as error:
        hint = "check the name" if isinstance(error, FileNotFoundError) else "check its owner and mode"
        raise ConfigError(file, 0, "", Words(why(error)), "a file that can be read", hint) from error
    except ValueError as error:
        raise ConfigError(file, 0, "", Words(error), f"a regular file of at most {max_bytes} bytes") from error
    return parse_document(file, raw)


def parse_document(file: str, raw: bytes) -> Document:
    """Return the document that `raw` encodes; `file` is for messages.

    Raises:
        ConfigError: it is not UTF-8, not TOML, or nested deeper than `MAX_DEPTH`.
    """
    text = _decoded(file, raw)
    document = Document(file, _parsed(file, text), key_lines(text))
    _check_values(document)
    return document


def read_capped(file: str, max_bytes: int) -> bytes:
    """Return the content of a regular file. Blocks for one read, but never on a FIFO or a device.

    Raises:
        OSError: the system refused.
        ValueError: the name holds a NUL, or it is no regular file, or it is larger than `max_bytes`; the text says so.
    """
    if "\0" in file:
        raise ValueError("a NUL character in its name")
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise ValueError("a directory" if stat.S_ISDIR(mode) else "a device, pipe or socket")
        with open(descriptor, "rb", closefd=False) as stream:
            raw = stream.read(max_bytes + 1)
    finally:
        os.close(descriptor)
    if len(raw) > max_bytes:
        raise ValueError("a larger file")
    return raw


def why(error: OSError) -> str:
    """Return the system's reason as lower-case words, without the file's name."""
    return (error.strerror or type(error).__name__).lower()


def shown_key(path: KeyPath) -> str:
    """Return `path` as an operator writes it: `[table] key`; a path of one key stands alone."""
    *table, key = [_shown_part(part) for part in path]
    return printable(f"[{'.'.join(table)}] {key}" if table else key)


def as_toml(value: object) -> object:
    """Return `value` so that its repr is what a reader of TOML expects."""
    if isinstance(value, bool):
        return Words("true" if value else "false")
    if isinstance(value, Mapping):
        return Words("(a table)")
    if isinstance(value, list):
        return Words("(a list)")
    if isinstance(value, (datetime.date, datetime.time)):
        return Words(value.isoformat())
    return value


def _shown_part(part: str | int) -> str:
    text = str(part)
    return text if _BARE_KEY.fullmatch(text) else f'"{text}"'


def _decoded(file: str, raw: bytes) -> str:
    nul = raw.find(b"\0")
    if nul >= 0:
        hint = "the file is damaged (a power cut?) or not saved as UTF-8; write it again"
        raise ConfigError(file, raw.count(b"\n", 0, nul) + 1, "", Words("a NUL byte"), "text in UTF-8", hint)
    try:
        return raw.decode("utf-8-sig")  # Windows editors put a byte order mark in front
    except UnicodeDecodeError as error:
        line, found = raw.count(b"\n", 0, error.start) + 1, Words(f"the byte 0x{raw[error.start]:02x}")
        raise ConfigError(file, line, "", found, "text in UTF-8", "save the file as UTF-8") from error


def _parsed(file: str, text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    long_key = _LONG_KEY.search(text)
    if long_key:
        line = text.count("\n", 0, long_key.start()) + 1
        raise ConfigError(file, line, "", Words("a key of more than 40 parts"), f"at most {MAX_DEPTH} levels of tables")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        found, expected = Words("tables or lists nested too deeply"), f"at most {MAX_DEPTH} levels"
        raise ConfigError(file, _deepest_line(text), "", found, expected) from error
    except ValueError as error:
        raise _syntax_error(file, text, str(error)) from error


def _syntax_error(file: str, text: str, said: str) -> ConfigError:
    if "digits" in said:  # not tomllib but int() speaks here, and does not know the line
        found = _LONG_NUMBER.search(text)
        line = text.count("\n", 0, found.start()) + 1 if found else 0
        return ConfigError(file, line, "", Words("a number of thousands of digits"), f"at most {_INT_BITS} bits")
    position = _POSITION.search(said)
    words = said[: position.start()] if position else said
    line = int(position.group(1)) if position and position.group(1) else text.rstrip().count("\n") + 1
    column = f"column {position.group(2)}" if position and position.group(2) else "the end of the file"
    hint = next((hint for part, hint in _HINTS if part in said), "see https://toml.io for how TOML is written")
    found_words = Words(f"a mistake at {column} ({words[:1].lower()}{words[1:]})")
    return ConfigError(file, line, "", found_words, "valid TOML", hint)


def _deepest_line(text: str) -> int:
    deepest = depth = at = 0
    for bracket in re.finditer(r"[\[{\]}]", text):
        depth += 1 if bracket.group() in "[{" else -1
        if depth > deepest:
            deepest, at = depth, bracket.start()
    return text.count("\n", 0, at) + 1


def _check_values(document: Document) -> None:
    """Refuse what repr, JSON or recursion could not take, without recursing: dotted keys nest without limit."""
    waiting: list[tuple[KeyPath, Any, int]] = [((), document.table, 0)]
    while waiting:
        path, value, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise document.wrong(path, Words("(nested too deeply)"), f"at most {MAX_DEPTH} levels of tables")
        if isinstance(value, Mapping):
            waiting += [((*path, key), item, depth + 1) for key, item in value.items()]
        elif isinstance(value, list):
            waiting += [(path, item, depth + 1) for item in value]
        elif isinstance(value, int) and value.bit_length() >= _INT_BITS and value != -(1 << 63):
            raise document.wrong(path, Words("(a huge number)"), f"a whole number of at most {_INT_BITS} bits")
