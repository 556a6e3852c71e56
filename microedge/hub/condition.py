"""From the text behind WHERE to a syntax tree that is known to fit together.

Operators, tightest first; those of one row group from the left:

    -x   NOT x
    *  /  %
    +  -  ||
    <  <=  >  >=
    =  !=  <>
    AND
    OR
    ??

NOT binds tighter than a comparison: `NOT a = b` is `(NOT a) = b`. That is edgeHub's grammar; the check of kinds
refuses nearly everything that meant the other reading, and says so.
"""

from __future__ import annotations

import re
from dataclasses import replace

from microedge.errors import RouteSyntaxError
from microedge.hub.checks import Misfit, misfit_of_argument, misfit_of_binary, misfit_of_clause
from microedge.hub.expression import (
    Binary,
    BodyValue,
    Call,
    Literal,
    Logic,
    Negative,
    Node,
    Not,
    Path,
    Property,
    Span,
    SystemProperty,
    TwinChange,
)
from microedge.hub.functions import FUNCTIONS, TWIN_CHANGE_INCLUDES
from microedge.hub.lexer import Cursor, Token

_BINDING = {"??": 1, "OR": 2, "AND": 3, "=": 4, "!=": 4, "<>": 4, "<": 5, "<=": 5, ">": 5, ">=": 5}
_BINDING.update({"+": 6, "-": 6, "||": 6, "*": 7, "/": 7, "%": 7})
_UNARY_BINDING = 8
_MAX_LEVELS = 50  # of nesting; deeper than a person reads, far from where Python's stack ends

_VALUE = "a property, $body.NAME, a literal, a function or ("
_GLUED = ("+", "-", "*", "%", "|")  # operators that stick to the name behind them
_NOT_HINT = "; NOT binds tighter than a comparison, write NOT (a = b)"
_BODY = "$body."
_STEP = re.compile(r"([^\s()<>@,;:\\\"/\[\]?={}.]+)((?:\[[0-9]{1,9}\])*)")
_TWIN_ROOTS = ("properties.reported.", "properties.desired.", "tags.")
_TWIN_PATH = "a path without quotes: properties.reported.NAME, properties.desired.NAME or tags.NAME"


def parse_condition(cursor: Cursor, *, is_of_twin: bool) -> Node:
    """Read a condition up to INTO; `is_of_twin` says that the route's source is twin changes.

    Raises:
        RouteSyntaxError: it does not follow the grammar, or its parts do not fit together.
    """
    return _Parser(cursor, is_of_twin=is_of_twin).parse()


class _Parser:
    """Precedence climbing, one token ahead."""

    def __init__(self, cursor: Cursor, *, is_of_twin: bool) -> None:
        self._cursor = cursor
        self._is_of_twin = is_of_twin
        self._levels = 0  # of calls that are open
        self._height = 0  # of the part of the tree that was read last; a chain of operators grows without nesting
        self._next = cursor.token()

    def parse(self) -> Node:
        node = self._expression(1)
        if self._next.kind != "end":
            raise self._unexpected(self._operator_or("INTO"))
        self._need_fit(misfit_of_clause(node))
        return node

    def _expression(self, binding: int) -> Node:
        """Read an operand and all operators that bind at least as tight as `binding`."""
        self._levels += 1
        self._check_levels(self._levels)
        left = self._operand()
        while self._next.kind == "operator" and _BINDING.get(self._next.text, 0) >= binding:
            operator = self._advance().text
            left = self._logic(operator, left) if operator in ("AND", "OR") else self._binary(operator, left)
        self._levels -= 1
        return left

    def _grow(self, height: int) -> None:
        """The part that was read last is a node above others of this height."""
        self._height = height + 1
        self._check_levels(self._height)

    def _check_levels(self, levels: int) -> None:
        if levels > _MAX_LEVELS:
            raise self._unexpected(f"at most {_MAX_LEVELS} levels of nesting")

    def _logic(self, operator: str, first: Node) -> Node:
        operands, height = [first], self._height
        while True:
            operands.append(self._expression(_BINDING[operator] + 1))
            height = max(height, self._height)
            if self._next.kind != "operator" or self._next.text != operator:
                break
            self._advance()
        for operand in operands:
            self._need_fit(misfit_of_clause(operand))
        self._grow(height)
        return Logic(operator, tuple(operands), _span(first, operands[-1]))

    def _binary(self, operator: str, left: Node) -> Node:
        height = self._height
        right = self._expression(_BINDING[operator] + 1)
        node = Binary("!=" if operator == "<>" else operator, left, right, _span(left, right))
        self._need_fit(misfit_of_binary(node))
        self._grow(max(height, self._height))
        return node

    def _operand(self) -> Node:
        token, self._height = self._next, 1
        if token.kind == "operator" and token.text in ("-", "NOT"):
            return self._unary(self._advance())
        if token.text == "(" and token.kind == "symbol":
            return self._nested(self._advance())
        if token.kind == "literal":
            return Literal(token.value, _span_of(self._advance()))
        if token.kind == "name":
            return self._name(token)
        if token.kind in ("system", "braces"):
            return self._special(self._advance())
        raise self._unexpected(_VALUE)

    def _unary(self, token: Token) -> Node:
        operand = self._expression(_UNARY_BINDING)
        self._grow(self._height)
        span = (token.start, operand.span[1])
        if token.text == "NOT":
            self._need_fit(misfit_of_clause(operand, hint=_NOT_HINT))
            return Not(operand, span)
        self._need_fit(misfit_of_binary(Binary("-", Literal(0.0), operand)))
        return Negative(operand, span)

    def _nested(self, opening: Token) -> Node:
        node = self._expression(1)
        closing = self._need_symbol(")")
        return replace(node, span=(opening.start, closing.end))

    def _name(self, token: Token) -> Node:
        """Read a property or a call: what a name is shows by the bracket behind it."""
        function = token.text.lower()
        if function == TWIN_CHANGE_INCLUDES and self._is_of_twin:
            return self._twin_change(token)
        self._advance()
        if not self._is_symbol("("):
            return Property(token.text, _span_of(token))
        if function not in FUNCTIONS:
            raise self._cursor.error(_known_functions(function), at=token.start)
        return self._call(function, token)

    def _call(self, function: str, token: Token) -> Node:
        self._advance()
        arguments: list[Node] = []
        height = 0
        while not self._is_symbol(")"):
            if arguments:
                self._need_symbol(",", expected=self._operator_or("',' or ')'"))
            arguments.append(self._expression(1))
            height = max(height, self._height)
        self._grow(height)
        closing = self._advance()
        node = Call(function, tuple(arguments), (token.start, closing.end))
        if not FUNCTIONS[function].takes(len(arguments)):
            raise self._cursor.error(_arity(function), at=token.start)
        for index in range(len(arguments)):
            self._need_fit(misfit_of_argument(node, index))
        return node

    def _twin_change(self, token: Token) -> Node:
        """Its argument is a path and no expression, so it is read from the text and not from tokens."""
        self._cursor.need_character("(")
        text, start = self._cursor.path()
        path = _steps(text)
        root = next((root for root in _TWIN_ROOTS if text.lower().startswith(root)), "")
        if path is None or not root or any(isinstance(step, int) for step in path):
            raise self._cursor.error(_TWIN_PATH, at=start)
        self._cursor.need_character(")")
        self._next = self._cursor.token()
        return TwinChange((*root[:-1].split("."), *path[root.count(".") :]), (token.start, start + len(text) + 1))

    def _special(self, token: Token) -> Node:
        is_forced, text, span = token.kind == "braces", token.text, _span_of(token)
        if not text:
            raise self._cursor.error("a name between { and }", at=token.start)
        if not text.startswith("$"):
            return Property(text, span)
        if text.lower() == "$body" or text.lower().startswith((_BODY, "$body[")):
            path = _steps(text[len(_BODY) :]) if text[len(_BODY) - 1 :].startswith(".") else None
            if path is None:
                raise self._cursor.error("$body.NAME, $body.NAME.NAME or $body.NAME[0]", at=token.start)
            return BodyValue(path, "" if is_forced or "[" in text else text, span)
        if "[" in text or "]" in text:
            raise self._cursor.error("[ and ] only in $body.NAME[0]", at=token.start)
        return SystemProperty(text, is_forced, span)

    def _is_symbol(self, text: str) -> bool:
        return self._next.kind == "symbol" and self._next.text == text

    def _need_symbol(self, text: str, *, expected: str = "") -> Token:
        if not self._is_symbol(text):
            raise self._unexpected(expected or self._operator_or(repr(text)))
        return self._advance()

    def _operator_or(self, other: str) -> str:
        is_glued = self._next.kind != "operator" and self._next.text[:1] in _GLUED
        return f"an operator{' with spaces around it' if is_glued else ''} or {other}"

    def _advance(self) -> Token:
        token, self._next = self._next, self._cursor.token()
        return token

    def _unexpected(self, expected: str) -> RouteSyntaxError:
        return self._cursor.error(expected, at=self._next.start)

    def _need_fit(self, misfit: Misfit) -> None:
        if misfit is not None:
            node, expected = misfit
            raise self._cursor.error(expected, at=node.span[0])


def _steps(text: str) -> Path | None:
    """Return the path that `text` writes, or None when it writes none."""
    path: list[str | int] = []
    for segment in text.split("."):
        match = _STEP.fullmatch(segment)
        if match is None:
            return None
        path.append(match[1])
        path += [int(index) for index in match[2][1:-1].split("][") if index]
    return tuple(path)


def _span_of(token: Token) -> Span:
    return (token.start, token.end)


def _span(first: Node, last: Node) -> Span:
    return (first.span[0], last.span[1])


def _known_functions(name: str) -> str:
    if name == TWIN_CHANGE_INCLUDES:
        return f"{name} only in a route FROM /twinChangeNotifications"
    import difflib  # only a mistyped function pays for it

    near = difflib.get_close_matches(name, [*FUNCTIONS, TWIN_CHANGE_INCLUDES], 1)
    return f"a function; did you mean {near[0]}?" if near else f"a function: {', '.join(FUNCTIONS)}"


def _arity(name: str) -> str:
    function = FUNCTIONS[name]
    most = len(function.parameters)
    least = most - function.optional
    count = f"{least} or more" if function.is_variadic else str(most) if most == least else f"{least} or {most}"
    return f"{name} with {count} argument{'' if count == '1' else 's'}"
