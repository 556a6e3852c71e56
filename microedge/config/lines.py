"""Which line of a TOML text holds which key: what `tomllib` knows while it parses and then throws away.

The scanner reads statements only: table headers and the keys in front of `=`. Values are skipped, so keys inside an
inline table have the line of the statement they stand in. It trusts the parser to find mistakes: it never raises,
and what it cannot read it leaves out.
"""

from __future__ import annotations

import re
from typing import Union

KeyPath = tuple[Union[str, int], ...]
"""Keys from the top down; an index follows the name of an array of tables."""

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2}|.)")
_PLAIN_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b"}

# What decides where a value ends: strings as a whole (the closing quotes of a multi-line string may be preceded by
# two of its own), comments, brackets and the end of the line.
_TOKEN = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})|'
    r"'''.*?'''(?:'{0,2})|"
    r'"(?:[^"\\\n]|\\.)*"|'
    r"'[^'\n]*'|"
    r"#[^\n]*|[\[\]{}\n]",
    re.DOTALL,
)


def key_lines(text: str) -> dict[KeyPath, int]:
    """Return the line, counted from 1, of every table and of every key that a statement of `text` sets.

    A table that only a longer header implies has the line of the first such header. Never raises.
    """
    scanner = _Scanner(text.replace("\r\n", "\n"))
    scanner.run()
    return scanner.lines


class _Scanner:
    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._text = text
        self._at = 0
        self._line = 1
        self._table: KeyPath = ()
        self._lengths: dict[KeyPath, int] = {}  # of arrays of tables

    def run(self) -> None:
        while True:
            self._take(_BLANK)
            if self._at >= len(self._text):
                return
            if self._text.startswith("[", self._at):
                self._header()
            else:
                self._statement()

    def _header(self) -> None:
        is_array = self._text.startswith("[[", self._at)
        self._at += 2 if is_array else 1
        path = self._inside(self._keys(), is_array)
        self._mark((), path)
        self._table = path
        self._skip_line()

    def _inside(self, keys: list[str], is_array: bool) -> KeyPath:
        path: KeyPath = ()
        for place, key in enumerate(keys, 1):
            path += (key,)
            if is_array and place == len(keys):
                self._lengths[path] = self._lengths.get(path, 0) + 1
            if path in self._lengths:
                self.lines.setdefault(path, self._line)
                path += (self._lengths[path] - 1,)
        return path

    def _statement(self) -> None:
        keys = self._keys()
        if not keys or not self._text.startswith("=", self._at):
            self._skip_line()
            return
        self._mark(self._table, self._table + tuple(keys))
        self._skip_value()

    def _mark(self, table: KeyPath, path: KeyPath) -> None:
        for length in range(len(table) + 1, len(path)):
            self.lines.setdefault(path[:length], self._line)
        self.lines[path] = self._line

    def _keys(self) -> list[str]:
        keys = []
        while True:
            self._take(_SPACE)
            token = self._take(_KEY)
            if not token:
                return []
            keys.append(_unquoted(token))
            self._take(_SPACE)
            if not self._text.startswith(".", self._at):
                return keys
            self._at += 1

    def _skip_value(self) -> None:
        depth = 0
        for token in _TOKEN.finditer(self._text, self._at):
            mark = token.group()
            if mark == "\n" and depth <= 0:
                self._move(token.end())
                return
            depth += (mark in "[{") - (mark in "]}")
        self._move(len(self._text))

    def _skip_line(self) -> None:
        end = self._text.find("\n", self._at)
        self._move(len(self._text) if end < 0 else end + 1)

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            return ""
        self._move(found.end())
        return found.group()

    def _move(self, to: int) -> None:
        self._line += self._text.count("\n", self._at, to)
        self._at = to


def _unquoted(token: str) -> str:
    if token.startswith("'"):
        return token[1:-1]
    if token.startswith('"'):
        return _ESCAPE.sub(_unescaped, token[1:-1])
    return token


def _unescaped(found: re.Match[str]) -> str:
    code = found.group(1)
    if len(code) == 1:
        return _PLAIN_ESCAPES.get(code, code)
    point = int(code[1:], 16)
    return chr(point) if point <= 0x10FFFF else "\ufffd"
