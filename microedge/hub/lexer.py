"""From a route's text to words: keywords and paths between SELECT and INTO, tokens within a condition.

A name is any run of characters but white space and ( ) < > @ , ; : \\ " / [ ] ? = { }, so `-`, `+`, `*` and `%`
belong to names and need spaces when they are operators. Azure IoT Edge reads it that way. Two spellings are refused
that would silently be names there: `a!=b` (the name `a!`) and `a||b`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from microedge.errors import RouteSyntaxError
from microedge.hub.values import NULL, Value

_SPACE = re.compile(r"\s*")
_WORD = re.compile(r"[^\s()\"']+")
_STRING = re.compile(r"\"([^\"]*)\"|'([^']*)'")

_TEXT = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'", re.DOTALL)
_ESCAPE = re.compile(r"\\(?:([\"'\\])|u([0-9A-Fa-f]{4}))?")
_NAME = re.compile(r"[^\s()<>@,;:\\\"/\[\]?={}]+")
_SYSTEM = re.compile(r"\$[^\s()<>@,;:\\\"/?={}]+")  # with [ and ], for $body.a[0]
_BRACES = re.compile(r"\{\s*([^{}]*?)\s*\}")
_SYMBOL = re.compile(r"<=|>=|<>|!=|\?\?|[<>=(),/]")
_NUMBER = re.compile(r"-?(?:[0-9]+|[0-9]*\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_HEX = re.compile(r"0[xX][0-9A-Fa-f]+")
_HEX_DIGITS_MAX = 16  # 64 bits
_PATH = re.compile(r"[^\s(),\"']*")

_WORD_OPERATORS = ("*", "%", "+", "-", "||")
_LOGIC = ("AND", "OR", "NOT")
_CONSTANTS: dict[str, Value] = {"true": True, "false": False, "null": NULL, "undefined": None}
_ESCAPES = "an escape: \\', \\\", \\\\ or \\uXXXX"


@dataclass(frozen=True)
class Token:
    """One word of a condition. `start` and `end` are offsets in the route, from 0.

    Kinds: "literal" (`value`), "name", "system", "braces" (`text` is what stands between them), "operator" (also
    AND, OR and NOT, in capitals), "symbol" and "end", which is INTO or the end of the text.
    """

    kind: str
    text: str
    start: int
    end: int
    value: Value = None


class Cursor:
    """A place in the text. Offsets count from 0 here, columns in errors from 1."""

    def __init__(self, name: str, text: str) -> None:
        self.text = text
        self.word_at = 0
        self._name = name
        self._at = 0

    def takes(self, keyword: str) -> bool:
        """Step over `keyword` if it comes next; a question and a move, because grammars are read that way."""
        self._skip_space()
        match = _WORD.match(self.text, self._at)
        if match is None or match.group().upper() != keyword:
            return False
        self.word_at, self._at = match.start(), match.end()
        return True

    def need(self, keyword: str, expected: str) -> None:
        """Step over `keyword`.

        Raises:
            RouteSyntaxError: something else comes next.
        """
        if not self.takes(keyword):
            raise self.error(expected)

    def word(self, expected: str) -> str:
        """Return the next run without spaces, brackets and quotes; `word_at` is where it begins.

        Raises:
            RouteSyntaxError: there is none.
        """
        self._skip_space()
        match = _WORD.match(self.text, self._at)
        if match is None:
            raise self.error(expected)
        self.word_at, self._at = match.start(), match.end()
        return match.group()

    def string(self, expected: str) -> tuple[str, int]:
        """Return the text between the next quotes and where it begins; there are no escapes in it.

        Raises:
            RouteSyntaxError: no quoted text comes next.
        """
        self._skip_space()
        match = _STRING.match(self.text, self._at)
        if match is None:
            raise self.error(expected)
        self._at = match.end()
        return match.group(1) or match.group(2) or "", match.start()

    def path(self) -> tuple[str, int]:
        """Return what comes up to a space, a bracket, a comma or a quote, and where it begins."""
        self._skip_space()
        match = _PATH.match(self.text, self._at)
        assert match is not None
        self._at = match.end()
        return match.group(), match.start()

    def need_character(self, character: str) -> None:
        """Step over one character.

        Raises:
            RouteSyntaxError: another one comes next.
        """
        self._skip_space()
        if not self.text.startswith(character, self._at):
            raise self.error(f"{character!r}")
        self._at += 1

    def need_end(self) -> None:
        """Raise RouteSyntaxError unless only space is left."""
        self._skip_space()
        if self._at < len(self.text):
            raise self.error("the end of the route")

    def error(self, expected: str, *, at: int | None = None) -> RouteSyntaxError:
        """Return the error that at this place, or at `at`, something else was expected."""
        self._skip_space()
        return RouteSyntaxError(self._name, self.text, (self._at if at is None else at) + 1, expected)

    def token(self) -> Token:
        """Return the next token of a condition and step over it; INTO stays where it is.

        Raises:
            RouteSyntaxError: no token begins here.
        """
        self._skip_space()
        if self._at == len(self.text):
            return Token("end", "", self._at, self._at)
        token = self._token_at(self.text[self._at])
        if token.kind != "end":
            self._at = token.end
        return token

    def _token_at(self, character: str) -> Token:
        if character in "\"'":
            return self._text_literal()
        for kind, pattern in (("braces", _BRACES), ("system", _SYSTEM), ("symbol", _SYMBOL)):
            match = pattern.match(self.text, self._at)
            if match is not None:
                return _token(match, kind)
        match = _NAME.match(self.text, self._at)
        if match is None:
            raise self.error("a property, a value or an operator")
        return self._word_token(match)

    def _word_token(self, match: re.Match[str]) -> Token:
        """Return what a run of name characters is: an operator, a literal or a name."""
        text, start, end = match.group(), match.start(), match.end()
        if text in _WORD_OPERATORS:
            return Token("operator", text, start, end)
        if text.upper() in _LOGIC:
            return Token("operator", text.upper(), start, end)
        if text.upper() == "INTO":
            return Token("end", text, start, end)
        if text in _CONSTANTS:
            return Token("literal", text, start, end, _CONSTANTS[text])
        if _NUMBER.fullmatch(text):
            return Token("literal", text, start, end, float(text))
        if _HEX.fullmatch(text):
            if len(text) - 2 > _HEX_DIGITS_MAX:
                raise self.error(f"at most {_HEX_DIGITS_MAX} hexadecimal digits", at=start)
            return Token("literal", text, start, end, float(int(text, 16)))
        if text.endswith("!") and self.text.startswith("=", end):
            raise self.error("a space before !=, because ! may belong to a name", at=end - 1)
        if "||" in text:
            raise self.error("a space on both sides of ||, because | may belong to a name", at=start + text.find("||"))
        return Token("name", text, start, end)

    def _text_literal(self) -> Token:
        match = _TEXT.match(self.text, self._at)
        if match is None:
            raise self.error(f"a closing {self.text[self._at]} for this text")
        value = _ESCAPE.sub(self._unescaped, match.group()[1:-1])
        try:
            # Two \u escapes may be the halves of one character.
            value = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        except UnicodeDecodeError:
            raise self.error("text without half a character: \\uD800 to \\uDFFF come in pairs") from None
        return Token("literal", match.group(), match.start(), match.end(), value)

    def _unescaped(self, match: re.Match[str]) -> str:
        character, code = match.groups()
        if character is None and code is None:
            raise self.error(_ESCAPES, at=self._at + 1 + match.start())
        return character or chr(int(code, 16))

    def _skip_space(self) -> None:
        match = _SPACE.match(self.text, self._at)
        self._at = match.end() if match else self._at


def _token(match: re.Match[str], kind: str) -> Token:
    text = match.group(1) if kind == "braces" else match.group()
    kind = "operator" if kind == "symbol" and text not in "()," else kind
    return Token(kind, text, match.start(), match.end())
