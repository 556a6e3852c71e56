"""Why a route takes a message or not, clause by clause: what `microedge route test` shows.

Every node of the condition is computed on its own, so that a reader sees the value of each part, and for the parts
that come from the message why they are undefined.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from microedge.hub.compile import compile_node
from microedge.hub.expression import (
    BodyValue,
    Literal,
    Node,
    Property,
    SystemProperty,
    TwinChange,
    children,
)
from microedge.hub.facts import SYSTEM_PROPERTIES, TWIN_CHANGE, Facts, member
from microedge.hub.route import ALL, MESSAGES, TWIN, Route, Source
from microedge.hub.values import NULL, Value
from microedge.message import Message


@dataclass(frozen=True)
class Clause:
    """One part of a condition, its value for this message, why it has it ("" when that is plain), and its own parts."""

    text: str
    value: Value
    reason: str
    parts: tuple[Clause, ...]


@dataclass(frozen=True)
class Explanation:
    """Whether a route takes a message. `clause` is None for a route without WHERE."""

    is_match: bool
    is_source: bool
    source: str
    clause: Clause | None


def explain(
    route: Route,
    message: Message,
    device: str,
    *,
    is_twin_change: bool = False,
    system: Mapping[str, str] | None = None,
) -> Explanation:
    """Return why `route` takes `message` or not; `system` replaces system properties, by names in lower case."""
    source = route.source
    is_source = source.matches_twin_changes if is_twin_change else source.matches(message.module, message.output)
    clause = None
    if route.condition is not None:
        known = {**(TWIN_CHANGE if is_twin_change else {}), **(system or {})}
        clause = _clause(route.condition.tree, route.text, Facts(message, device, system=known))
    is_match = is_source and (clause is None or clause.value is True)
    return Explanation(is_match, is_source, path_of(message, is_twin_change=is_twin_change), clause)


def path_of(message: Message, *, is_twin_change: bool = False) -> str:
    """Return the path of a message, which sources are compared with."""
    return (
        "/twinChangeNotifications" if is_twin_change else f"/messages/modules/{message.module}/outputs/{message.output}"
    )


def describe(source: Source) -> str:
    """Return what a source takes, in words."""
    if source.kind != MESSAGES:
        return {TWIN: "changes of twins", ALL: "all messages and changes of twins"}[source.kind]
    output = f"output {source.output}" if source.output else "every output"
    return f"{output} of {'module ' + source.module if source.module else 'every module'}"


def _clause(node: Node, text: str, facts: Facts) -> Clause:
    value = compile_node(node)(facts)
    parts = tuple(_clause(child, text, facts) for child in children(node) if not isinstance(child, Literal))
    start, end = node.span
    return Clause(" ".join(text[start:end].split()), value, _reason(node, value, facts), parts)


def _reason(node: Node, value: Value, facts: Facts) -> str:
    if isinstance(node, (BodyValue, TwinChange)):
        return _reason_in_body(node, value, facts)
    if value is not None:
        return ""
    if isinstance(node, Property):
        known = ", ".join(facts.message.properties) or "none"
        return f"the message has no application property {node.name}; it has: {known}"
    if isinstance(node, SystemProperty):
        if node.name[1:].lower() in SYSTEM_PROPERTIES:
            return "the message does not say it"
        return f"no system property is called {node.name}"
    return ""


def _reason_in_body(node: BodyValue | TwinChange, value: Value, facts: Facts) -> str:
    body = facts.body()
    if body is None:
        return facts.problem.text if facts.problem is not None and value is None else ""
    if isinstance(node, BodyValue) and value is NULL:
        parent = member(body, node.path[:-1])
        last = node.path[-1]
        is_there = isinstance(parent, dict) and last in parent
        return "" if is_there else "the body has no such member"
    if isinstance(node, BodyValue) and value is None:
        return "an object or an array: only what is in it can be compared"
    return ""
