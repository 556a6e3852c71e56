"""From a syntax tree to Python functions, each made of those of its operands: no tree is walked for a message.

Each function takes the facts of a message and returns a value. None of them raises: `tests/property` holds them
against an evaluator that walks the tree.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from microedge.hub.checks import kind_of
from microedge.hub.expression import (
    ARITHMETIC,
    EQUALITY,
    Binary,
    BodyValue,
    Call,
    Literal,
    Logic,
    Negative,
    Node,
    Not,
    Property,
    SystemProperty,
    TwinChange,
    is_of_envelope,
)
from microedge.hub.facts import Facts, member, value_at
from microedge.hub.functions import FUNCTIONS, concat, defined, divide, modulo
from microedge.hub.values import NULL, Kind, Value

Code = Callable[[Facts], Value]

_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_SCALARS = (float, str, bool)
_MIRRORED = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_ARITHMETIC: dict[str, Callable[[float, float], float | None]] = {
    "+": lambda left, right: defined(left + right),
    "-": lambda left, right: defined(left - right),
    "*": lambda left, right: defined(left * right),
    "/": divide,
    "%": modulo,
}


@dataclass(frozen=True)
class Condition:
    """What stands behind WHERE. `evaluate` gives True for a match; everything else, undefined as well, is none.

    With `is_of_envelope` the answer is the same for all messages of one envelope from one module.
    """

    tree: Node
    evaluate: Code
    is_of_envelope: bool


def compile_condition(tree: Node) -> Condition:
    """Return the condition that a tree says; the tree's parts fit together, as the parser sees to."""
    return Condition(tree, compile_node(tree), is_of_envelope(tree))


def compile_node(node: Node) -> Code:
    """Return the function that computes the value of one node."""
    build: Callable[[Any], Code] = _BUILDERS[type(node)]
    return build(node)


def _literal(node: Literal) -> Code:
    value = node.value
    return lambda facts: value


def _property(node: Property) -> Code:
    name, lowered = node.name, node.name.lower()
    return lambda facts: facts.property(name, lowered)


def _system_property(node: SystemProperty) -> Code:
    name, lowered = node.name, node.name.lower()
    bare = lowered[1:]
    if node.is_forced:
        return lambda facts: facts.system_property(bare)

    def either(facts: Facts) -> Value:
        value = facts.property(name, lowered)
        return facts.system_property(bare) if value is None else value

    return either


def _body_value(node: BodyValue) -> Code:
    path, lowered = node.path, node.rival.lower()
    key = path[0] if len(path) == 1 and isinstance(path[0], str) else None  # the usual path

    def value(facts: Facts) -> Value:
        if lowered and lowered in facts.names:
            return facts.names[lowered]
        body = facts.decoded if facts.is_read else facts.body()
        if body is None:
            return None
        if key is None:
            return value_at(body, path)
        found = body.get(key)
        return found if type(found) in _SCALARS else NULL if found is None else None

    return value


def _twin_change(node: TwinChange) -> Code:
    """IoT Hub sends a part of the twin document; edgeHub, and so microedge, the patch of reported properties alone."""
    path = node.path
    paths = (path, path[2:]) if path[:2] == ("properties", "reported") else (path,)

    def includes(facts: Facts) -> Value:
        body = facts.body()
        if body is None:
            return None
        return any(member(body, found) is not None for found in paths)

    return includes


def _negative(node: Negative) -> Code:
    code = compile_node(node.operand)

    def negated(facts: Facts) -> Value:
        value = code(facts)
        return -value if isinstance(value, float) else None

    return negated


def _not(node: Not) -> Code:
    if kind_of(node.operand) is Kind.NULL:  # a null that is written there counts as false; one in a body does not
        return lambda facts: True
    code = compile_node(node.operand)

    def inverted(facts: Facts) -> Value:
        value = code(facts)
        return not value if isinstance(value, bool) else None

    return inverted


def _call(node: Call) -> Code:
    apply = FUNCTIONS[node.function].apply
    codes = tuple(map(compile_node, node.arguments))
    if len(codes) == 1:
        only = codes[0]
        return lambda facts: apply(only(facts))
    if len(codes) == 2:
        first, second = codes
        return lambda facts: apply(first(facts), second(facts))
    return lambda facts: apply(*[code(facts) for code in codes])


def _binary(node: Binary) -> Code:
    if node.operator in ARITHMETIC:
        return _arithmetic(node)
    if node.operator == "||":
        left, right = compile_node(node.left), compile_node(node.right)
        return lambda facts: concat(left(facts), right(facts))
    if node.operator == "??":
        return _coalesce(node)
    if isinstance(node.right, Literal):
        return _comparison_with(node.operator, compile_node(node.left), node.right.value)
    if isinstance(node.left, Literal):
        return _comparison_with(_MIRRORED[node.operator], compile_node(node.right), node.left.value)
    return _comparison(node)


def _arithmetic(node: Binary) -> Code:
    left, right, compute = compile_node(node.left), compile_node(node.right), _ARITHMETIC[node.operator]

    def computed(facts: Facts) -> Value:
        a, b = left(facts), right(facts)
        return compute(a, b) if isinstance(a, float) and isinstance(b, float) else None

    return computed


def _coalesce(node: Binary) -> Code:
    left, right = compile_node(node.left), compile_node(node.right)

    def first_defined(facts: Facts) -> Value:
        value = left(facts)
        return right(facts) if value is None else value

    return first_defined


def _comparison(node: Binary) -> Code:
    """Values of different kinds are not equal, and neither is less or more than the other."""
    left, right, test = compile_node(node.left), compile_node(node.right), _TESTS[node.operator]
    otherwise, of_nulls = _otherwise(node.operator), node.operator in ("=", "<=", ">=")

    def compared(facts: Facts) -> Value:
        a, b = left(facts), right(facts)
        if a is None or b is None:
            return None
        if type(a) is not type(b):
            return otherwise
        return of_nulls if a is NULL else test(a, b)

    return compared


def _comparison_with(symbol: str, code: Code, constant: Value) -> Code:
    """The usual case, something beside a literal, with half of the questions asked beforehand."""
    test, otherwise, expected = _TESTS[symbol], _otherwise(symbol), type(constant)
    if constant is None:
        return lambda facts: None
    if constant is NULL:
        is_alike = symbol in ("=", "<=", ">=")
        return lambda facts: None if (value := code(facts)) is None else is_alike if value is NULL else otherwise

    def compared(facts: Facts) -> Value:
        value = code(facts)
        if type(value) is expected:
            return test(value, constant)
        return None if value is None else otherwise

    return compared


def _otherwise(symbol: str) -> bool | None:
    return symbol == "!=" if symbol in EQUALITY else None


def _logic(node: Logic) -> Code:
    is_and = node.operator == "AND"
    nulls = [kind_of(operand) is Kind.NULL for operand in node.operands]
    if any(nulls) if is_and else all(nulls):
        return lambda facts: NULL
    codes = tuple(compile_node(operand) for operand, is_null in zip(node.operands, nulls) if not is_null)
    return _chain(codes, decisive=not is_and)


def _chain(codes: tuple[Code, ...], *, decisive: bool) -> Code:
    """False decides AND, true decides OR; else undefined if there is any. What follows the decision is not asked."""
    neutral = not decisive

    def chained(facts: Facts) -> Value:
        result: Value = neutral
        for code in codes:
            value = code(facts)
            if value is decisive:
                return decisive
            if value is not neutral:
                result = None
        return result

    return chained


_BUILDERS: dict[type, Callable[[Any], Code]] = {
    Literal: _literal,
    Property: _property,
    SystemProperty: _system_property,
    BodyValue: _body_value,
    TwinChange: _twin_change,
    Negative: _negative,
    Not: _not,
    Binary: _binary,
    Logic: _logic,
    Call: _call,
}
