"""The syntax tree of a condition.

`span` says where in the route a node stands (offsets from 0); it takes no part in comparing trees. AND and OR hold
all their operands side by side, so that a chain of a hundred clauses is one node and not a hundred deep.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Union

from microedge.hub.values import Value

Path = tuple[Union[str, int], ...]
"""Where in a JSON document: member names and positions in arrays."""

Span = tuple[int, int]

_NOWHERE: Span = (0, 0)


@dataclass(frozen=True)
class Literal:
    value: Value
    span: Span = field(default=_NOWHERE, compare=False)


@dataclass(frozen=True)
class Property:
    """An application property: `name` or `{name}`."""

    name: str
    span: Span = field(default=_NOWHERE, compare=False)


@dataclass(frozen=True)
class SystemProperty:
    """`$name`, where an application property of just that name goes first; `{$name}` is forced and skips it."""

    name: str  # with the $
    is_forced: bool = False
    span: Span = field(default=_NOWHERE, compare=False)


@dataclass(frozen=True)
class BodyValue:
    """`$body.a.b[0]`. `rival` is the application property that would go first, "" where there can be none."""

    path: Path
    rival: str = ""
    span: Span = field(default=_NOWHERE, compare=False)


@dataclass(frozen=True)
class TwinChange:
    """`twin_change_includes(properties.reported.a)`."""

    path: Path
    span: Span = field(default=_NOWHERE, compare=False)


@dataclass(frozen=True)
class Negative:
    operand: Node
    span: Span = field(default=_NOWHERE, compare=False)


@dataclass(frozen=True)
class Not:
    operand: Node
    span: Span = field(default=_NOWHERE, compare=False)


@dataclass(frozen=True)
class Binary:
    """Arithmetic, `||`, a comparison or `??`; `<>` is kept as `!=`."""

    operator: str
    left: Node
    right: Node
    span: Span = field(default=_NOWHERE, compare=False)


@dataclass(frozen=True)
class Logic:
    """AND or OR of two or more operands."""

    operator: str
    operands: tuple[Node, ...]
    span: Span = field(default=_NOWHERE, compare=False)


@dataclass(frozen=True)
class Call:
    """A function, in lower case."""

    function: str
    arguments: tuple[Node, ...]
    span: Span = field(default=_NOWHERE, compare=False)


Node = Union[Literal, Property, SystemProperty, BodyValue, TwinChange, Negative, Not, Binary, Logic, Call]

ARITHMETIC = ("+", "-", "*", "/", "%")
EQUALITY = ("=", "!=")
ORDERING = ("<", "<=", ">", ">=")

# These differ between messages of one envelope. Everything else that a condition can ask is the envelope, the module
# or the device.
OF_ONE_MESSAGE = frozenset({"$messageid", "$edgemessageid", "$creationtime", "$inputname"})


def children(node: Node) -> tuple[Node, ...]:
    """Return the nodes right below one, from left to right."""
    if isinstance(node, (Negative, Not)):
        return (node.operand,)
    if isinstance(node, Binary):
        return (node.left, node.right)
    if isinstance(node, Logic):
        return node.operands
    return node.arguments if isinstance(node, Call) else ()


def is_of_envelope(node: Node) -> bool:
    """True when all messages with the same envelope, from the same module, give the same value."""
    if isinstance(node, (BodyValue, TwinChange)):
        return False
    if isinstance(node, SystemProperty):
        return node.name.lower() not in OF_ONE_MESSAGE
    return all(is_of_envelope(child) for child in children(node))
