"""What can be known of a condition before there is a message: the kind of each part, and whether they fit together.

Properties are text, and what the body holds is known only when a message comes. Everything that can never be right is
refused when the route is read, with the part that is wrong: a route that silently never matches is worse than none.
"""

from __future__ import annotations

from typing import Optional

from microedge.hub.expression import (
    ARITHMETIC,
    EQUALITY,
    ORDERING,
    Binary,
    BodyValue,
    Call,
    Literal,
    Logic,
    Negative,
    Node,
    Property,
    SystemProperty,
)
from microedge.hub.functions import FUNCTIONS, NUMBERS, TEXTS
from microedge.hub.values import Kind, kind_of_value

Misfit = Optional[tuple[Node, str]]
"""The part that is wrong and what was expected there; None when all is well."""

_CLAUSES = frozenset({Kind.BOOL, Kind.NULL, Kind.UNDEFINED, Kind.ANY})
_ASK = "a value, because nothing equals undefined; ask with"


def kind_of(node: Node) -> Kind:
    """Return what is known of the value of a node, taken that its parts fit together."""
    if isinstance(node, Literal):
        return kind_of_value(node.value)
    if isinstance(node, (Property, SystemProperty)):
        return Kind.TEXT
    if isinstance(node, BodyValue):
        return Kind.ANY
    if isinstance(node, Call):
        return FUNCTIONS[node.function].result
    if isinstance(node, Negative):
        return Kind.NUMBER
    if isinstance(node, Binary):
        return _kind_of_binary(node)
    return _kind_of_logic(node) if isinstance(node, Logic) else Kind.BOOL


def _kind_of_binary(node: Binary) -> Kind:
    if node.operator in ARITHMETIC:
        return Kind.NUMBER
    if node.operator == "||":
        return Kind.TEXT
    if node.operator != "??":
        return Kind.BOOL
    left, right = kind_of(node.left), kind_of(node.right)
    return left if left == right else Kind.ANY


def _kind_of_logic(node: Logic) -> Kind:
    """AND with a literal null is null, OR without anything else as well; that is edgeHub's null."""
    are_null = [kind_of(operand) is Kind.NULL for operand in node.operands]
    is_null = any(are_null) if node.operator == "AND" else all(are_null)
    return Kind.NULL if is_null else Kind.BOOL


def misfit_of_clause(node: Node, *, hint: str = "") -> Misfit:
    """Check what is to be true or false: a whole condition, or an operand of AND, OR or NOT."""
    return None if kind_of(node) in _CLAUSES else (node, f"true or false{hint}")


def misfit_of_binary(node: Binary) -> Misfit:
    """Check the operands of one operator, the left one first."""
    if node.operator in EQUALITY or node.operator in ORDERING or node.operator == "??":
        return _misfit_of_pair(node)
    kinds, expected = (NUMBERS, "a number") if node.operator in ARITHMETIC else (TEXTS, "text")
    for operand in (node.left, node.right):
        if kind_of(operand) not in kinds:
            return operand, f"{expected} beside {node.operator}{_advice(operand, expected)}"
    return None


def _misfit_of_pair(node: Binary) -> Misfit:
    """Both sides of a comparison and of ?? are of one kind, as far as it is known."""
    left, right = kind_of(node.left), kind_of(node.right)
    if left == right:
        return None
    if Kind.UNDEFINED in (left, right):
        return node.left if left is Kind.UNDEFINED else node.right, f"{_ASK} is_defined(...)"
    if Kind.ANY in (left, right):
        return None
    wrong, other = (node.left, right) if _is_property(node.left) else (node.right, left)
    return wrong, f"{other.value}, as on the other side of {node.operator}{_advice(wrong, other.value)}"


def misfit_of_argument(node: Call, index: int) -> Misfit:
    """Check one argument of a function that takes as many."""
    argument, kinds = node.arguments[index], FUNCTIONS[node.function].parameter(index)
    if kind_of(argument) in kinds:
        return None
    expected = " or ".join(kind.value for kind in (Kind.NUMBER, Kind.TEXT) if kind in kinds)
    return argument, f"{expected} as argument {index + 1} of {node.function}{_advice(argument, expected)}"


def _is_property(node: Node) -> bool:
    return isinstance(node, (Property, SystemProperty))


def _advice(node: Node, expected: str) -> str:
    """What to write instead of a property in the wrong place."""
    if not isinstance(node, (Property, SystemProperty)):
        return ""
    name = node.name
    if isinstance(node, Property) and any(character in name for character in "+-*%"):
        return f"; {name} is the name of one property, operators need spaces around them"
    if expected == Kind.NUMBER.value:
        return f"; properties are text, write as_number({name})"
    if expected in (Kind.NULL.value, Kind.UNDEFINED.value):
        return f"; write is_defined({name})"
    return f"; properties are text, compare {name} with 'true' or 'false'" if expected == Kind.BOOL.value else ""
