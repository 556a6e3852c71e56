"""A condition and a message, and what comes of them."""

from __future__ import annotations

import json

from microedge.hub.expression import Node
from microedge.hub.facts import Facts
from microedge.hub.parser import parse
from microedge.hub.values import Value
from microedge.message import Envelope, Message

DEVICE = "greenhouse-7"
CREATED_MS = 1_700_000_000_123


def message(
    body: object = None,
    *,
    properties: dict[str, str] | None = None,
    content_type: str = "application/json",
    content_encoding: str = "utf-8",
    module: str = "probe",
) -> Message:
    """Return a message of probe/readings; a body that is no bytes becomes JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    envelope = Envelope("readings", content_type=content_type, content_encoding=content_encoding, properties=properties)
    return Message(envelope, raw, module, "session", 42, 0, CREATED_MS)


def tree_of(condition: str, source: str = "/*") -> Node:
    route = parse("r", f"FROM {source} WHERE {condition} INTO $upstream")
    assert route.condition is not None
    return route.condition.tree


def value_of(condition: str, about: Message, *, source: str = "/*") -> Value:
    """Return what a whole condition gives for a message."""
    route = parse("r", f"FROM {source} WHERE {condition} INTO $upstream")
    assert route.condition is not None
    return route.condition.evaluate(Facts(about, DEVICE))
