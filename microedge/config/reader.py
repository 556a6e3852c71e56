"""Typed reading of one TOML table: every getter checks type and range, and says what it expected and where.

Only `microedge.errors.ConfigError` leaves a getter; its file, line and key are those of the wrong value.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from microedge.config.document import HIDDEN, MISSING, Document, Words, read_capped, why
from microedge.config.lines import KeyPath
from microedge.errors import ConfigError

MAX_LIST = 256  # entries of any list of names
_MAX_SECRET_BYTES = 64 * 1024
_BLANKS = {ord(blank): " " for blank in "\r\n\t"}

Choice = TypeVar("Choice", str, int)


@dataclass(frozen=True)
class Range:
    """From `low` to `high`, both included; `minus_one` says what -1 stands for, where it is allowed."""

    low: int
    high: int
    unit: str = ""
    minus_one: str = ""

    def __contains__(self, number: float) -> bool:
        return self.low <= number <= self.high or (number == -1 and bool(self.minus_one))

    def words(self, kind: str) -> str:
        unit = f" of {self.unit}" if self.unit else ""
        tail = f", or -1 for {self.minus_one}" if self.minus_one else ""
        return f"{kind}{unit} from {self.low} to {self.high}{tail}"


class TableReader:
    """One table of a document. A missing key gives the default; a default of None makes the key required."""

    def __init__(self, document: Document, path: KeyPath = (), table: Mapping[str, Any] | None = None) -> None:
        self.document, self.path = document, path
        self._table = document.table if table is None else table

    def __contains__(self, key: str) -> bool:
        return key in self._table

    def keys(self) -> list[str]:
        return list(self._table)

    @property
    def line(self) -> int:
        return self.document.line(self.path)

    def only(self, *keys: str) -> None:
        """Check that no other than these keys is set; the nearest of them is the hint.

        Raises:
            ConfigError: another key is set. Its value is not shown: a mistyped password is still a password.
        """
        for key in self._table:
            if key not in keys:
                table = f" of [{'.'.join(map(str, self.path))}]" if self.path else ""
                raise self.wrong(key, f"a known key{table}: {', '.join(keys)}", nearest(key, keys), got=Words("…"))

    def wrong(self, key: str, expected: str, hint: str = "", *, got: object = None) -> ConfigError:
        """Return the error about `key`; `got` replaces its value in the message."""
        found = self._table.get(key, MISSING) if got is None else got
        return self.document.wrong((*self.path, key), found, expected, hint)

    def string(
        self, key: str, default: str | None = "", *, max_chars: int = 1024, rule: str = "", is_multiline: bool = False
    ) -> str:
        """Return a string of printable characters; with `is_multiline`, line ends and tabs in it become blanks.

        `rule` says what belongs there, for the message about a missing one.

        Raises:
            ConfigError: it is missing and required, no string, too long, or holds control characters.
        """
        value = self._value(key, default, rule or f"a string of at most {max_chars} characters")
        if not isinstance(value, str):
            raise self.wrong(key, "a string", f'write it in quotes: {key} = "…"')
        if len(value) > max_chars:
            raise self.wrong(key, f"a string of at most {max_chars} characters")
        if is_multiline:
            value = value.translate(_BLANKS)
        if not value.isprintable():
            raise self.wrong(key, "a string without control characters")
        return value

    def integer(self, key: str, default: int | None, span: Range) -> int:
        """Return a whole number within `span`; a boolean is none.

        Raises:
            ConfigError: it is missing and required, no whole number, or outside the range.
        """
        value = self._value(key, default, span.words("a whole number"))
        if type(value) is not int or value not in span:
            raise self.wrong(key, span.words("a whole number"), _number_hint(value, default))
        return value

    def number(self, key: str, default: float | None, span: Range) -> float:
        """Return a finite number, whole or not, within `span`.

        Raises:
            ConfigError: it is missing and required, no number, or outside the range.
        """
        value = self._value(key, default, span.words("a number"))
        if type(value) not in (int, float) or not math.isfinite(value) or value not in span:
            raise self.wrong(key, span.words("a number"), _number_hint(value, default))
        return float(value)

    def boolean(self, key: str, default: bool) -> bool:
        """Return true or false.

        Raises:
            ConfigError: it is something else, "true" in quotes included.
        """
        value = self._table.get(key, default)
        if type(value) is not bool:
            raise self.wrong(key, "true or false, without quotes")
        return value

    def choice(self, key: str, default: Choice | None, choices: Sequence[Choice]) -> Choice:
        """Return one of `choices`.

        Raises:
            ConfigError: it is missing and required, or none of them.
        """
        shown = [f'"{choice}"' if isinstance(choice, str) else str(choice) for choice in choices]
        expected = " or ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))
        value: Choice = self._value(key, default, expected)
        if value not in choices or type(value) is not type(choices[0]):
            is_number = isinstance(choices[0], int)
            hint = _number_hint(value, None) if is_number else nearest(value, [str(choice) for choice in choices])
            raise self.wrong(key, expected, hint)
        return value

    def strings(self, key: str, is_valid: Callable[[str], bool], rule: str) -> tuple[str, ...]:
        """Return a list of different strings, each of which `is_valid`; `rule` says in words what that is.

        Raises:
            ConfigError: it is no list, longer than `MAX_LIST`, or an entry is invalid or there twice.
        """
        value = self._table.get(key, [])
        if not isinstance(value, list) or len(value) > MAX_LIST:
            raise self.wrong(key, f'a list of at most {MAX_LIST} strings, for example ["a", "b"]')
        for place, item in enumerate(value):
            if not isinstance(item, str) or not item.isprintable() or not is_valid(item):
                raise self.wrong(key, rule, got=item)
            if item in value[:place]:
                raise self.wrong(key, "each entry once", got=item)
        return tuple(value)

    def table(self, key: str) -> TableReader:
        """Return the reader of a table within this one; an empty one when it is missing.

        Raises:
            ConfigError: it is no table.
        """
        value = self._table.get(key, {})
        if not isinstance(value, Mapping):
            raise self.wrong(key, "a table", f"write [{'.'.join(map(str, (*self.path, key)))}] on a line of its own")
        return TableReader(self.document, (*self.path, key), value)

    def value(self, key: str) -> Any:
        """Return what stands there, unchecked; None when nothing does."""
        return self._table.get(key)

    def path_of(self, key: str, default: str, base: str) -> str:
        """Return an absolute, normalised path; a relative one is relative to the directory `base`.

        Raises:
            ConfigError: it is empty, or begins with `~`, which means another directory for every user.
        """
        text = self.string(key, default, max_chars=4096)
        if not text or text.startswith("~"):
            raise self.wrong(key, f"a path, absolute or relative to {base}")
        return os.path.normpath(os.path.join(base, text))

    def readable_file(self, key: str, base: str) -> str:
        """Return the absolute path of a file that can be read, or "" when the key is missing.

        Raises:
            ConfigError: there is no such file, or this process may not read it.
        """
        if key not in self:
            return ""
        path = self.path_of(key, "", base)
        if not os.path.isfile(path) or not os.access(path, os.R_OK):
            raise self.wrong(key, "a file that can be read", f"looked at {path}")
        return path

    def secret(self, key: str, base: str, environ: Mapping[str, str]) -> str:
        """Return a string written as it is, or as { file = "…" } or { env = "…" }; "" when the key is missing.

        A file loses one newline at its end. A relative path is relative to `base`. Blocks for one read.

        Raises:
            ConfigError: it is none of these, the file cannot be read, or the variable is not set.
        """
        value = self._table.get(key, "")
        if isinstance(value, Mapping):
            return self._from_elsewhere(key, base, environ)
        if not isinstance(value, str):
            raise self.wrong(key, 'a string, { file = "…" } or { env = "…" }', got=HIDDEN)
        if "\0" in value:
            raise self.wrong(key, "a string without NUL characters", got=HIDDEN)
        return value

    def _from_elsewhere(self, key: str, base: str, environ: Mapping[str, str]) -> str:
        source = self.table(key)
        source.only("file", "env")
        if len(source.keys()) != 1:
            raise self.wrong(key, 'either { file = "…" } or { env = "…" }')
        if "file" in source:
            return source._file_secret(base)
        name = source.string("env")
        if name not in environ:
            raise source.wrong("env", "the name of a variable that is set", "set it where microedge is started")
        return environ[name]

    def _file_secret(self, base: str) -> str:
        path = self.path_of("file", "", base)
        try:
            text = read_capped(path, _MAX_SECRET_BYTES).decode()
        except (OSError, ValueError) as error:
            reason = why(error) if isinstance(error, OSError) else _not_a_secret(error)
            raise self.wrong("file", "a text file with the secret", f"{path}: {reason}") from error
        secret = text[:-1] if text.endswith("\n") else text
        secret = secret[:-1] if secret.endswith("\r") and secret != text else secret
        if not secret or "\0" in secret:
            raise self.wrong("file", "a text file with the secret", f"{path}: it is empty or holds a NUL")
        return secret

    def _value(self, key: str, default: object, expected: str) -> Any:
        if key in self._table:
            return self._table[key]
        if default is None:
            raise self.wrong(key, expected, f"add {key} to {self._place()}")
        return default

    def _place(self) -> str:
        return f"[{'.'.join(map(str, self.path))}]" if self.path else "the top of the file"


def nearest(word: object, known: Sequence[str]) -> str:
    """Return `did you mean X?` for the most similar of `known`, or "" when none is similar."""
    from difflib import get_close_matches  # only here: it is needed when something is wrong, and not small

    found = get_close_matches(str(word)[:100].lower(), known, n=1)
    return f"did you mean {found[0]}?" if found else ""


def _number_hint(value: object, default: float | None) -> str:
    if isinstance(value, str) and value.strip().isdecimal():
        return f"write {value.strip()[:20]}, without quotes"
    return "" if default is None else f"the default is {default:g}"


def _not_a_secret(error: ValueError) -> str:
    return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else f"it is {error}"
