"""What routes cost: one condition, and 1, 10 and 100 routes for each message.

Beside the compiled conditions, in the same run and on the same messages: an evaluator that walks the syntax tree for
every message, and the condition written by hand in Python, with json.loads and nothing around it. No process, no
socket, no queue: this is the time that the hub thinks. Prints JSON; `--quick` takes rough figures.
"""

from __future__ import annotations

import json
import operator
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from rows import Plan, Row, plan_of_arguments, print_rows

from microedge.hub.compile import Condition
from microedge.hub.expression import Binary, BodyValue, Call, Literal, Logic, Node, Not, Property, SystemProperty
from microedge.hub.facts import Facts, value_at
from microedge.hub.functions import FUNCTIONS
from microedge.hub.parser import parse
from microedge.hub.table import RouteTable
from microedge.message import Envelope, Message

BODY = {"room": "north", "level": 3, "celsius": 21.4, "percent": 48, "samples": [21.3, 21.4, 21.5], "ok": True}
ENVELOPE = Envelope(
    "readings", content_type="application/json", content_encoding="utf-8", properties={"state": "on", "limit": "2.5"}
)
MESSAGE = Message(ENVELOPE, json.dumps(BODY).encode(), "probe", "session", 1, 0, 1_700_000_000_000)

By_hand = Callable[[dict[str, str], dict[str, Any]], bool]

CONDITIONS: dict[str, tuple[str, By_hand]] = {
    "one property": ("state = 'on'", lambda properties, body: properties.get("state") == "on"),
    "one value of the body": ("$body.level >= 3", lambda properties, body: body.get("level") >= 3),
    "three clauses": (
        "$body.level >= 3 AND state = 'on' AND NOT ($body.room = 'south')",
        lambda properties, body: (
            body.get("level") >= 3 and properties.get("state") == "on" and body.get("room") != "south"
        ),
    ),
    "functions and arithmetic": (
        "$body.level * 2 > as_number(limit) AND starts_with(lower($body.room), 'no')",
        lambda properties, body: (
            body.get("level") * 2 > float(properties.get("limit", "nan")) and body.get("room").lower().startswith("no")
        ),
    ),
}
TESTS = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "*": operator.mul,
}


def main() -> None:
    plan = plan_of_arguments(__doc__ or "")
    print_rows("routes", [*condition_rows(plan), *table_rows(plan)])


def condition_rows(plan: Plan) -> list[Row]:
    """One condition about a message whose body is decoded already."""
    rows = []
    for name, (text, by_hand) in CONDITIONS.items():
        condition = condition_of(text)
        facts = Facts(MESSAGE, "device")
        properties, body = MESSAGE.properties, facts.body() or {}
        assert condition.evaluate(facts) is walk(condition.tree, facts) is by_hand(properties, body) is True
        evaluate, tree = condition.evaluate, condition.tree
        ours = cost_us(plan, lambda: evaluate(facts))  # noqa: B023 (used at once)
        peers = {
            "tree walk": cost_us(plan, lambda: walk(tree, facts)),  # noqa: B023
            "by hand": cost_us(plan, lambda: by_hand(properties, body)),  # noqa: B023
        }
        rows.append(Row(f"{name}: {text}", "us", ours, peers, detail={"conditions_per_s": round(1e6 / ours)}))
    return rows


def table_rows(plan: Plan) -> list[Row]:
    """All routes of a table about one message, its body not yet decoded: what Exchange pays for each."""
    rows = []
    kinds = (("by source", ""), ("WHERE a property", "WHERE state = 'v{}'"), ("WHERE $body", "WHERE $body.level = {}"))
    for what, where in kinds:
        for count in (1, 10, 100):
            texts = [f"FROM /messages/* {where.format(number)} INTO $upstream" for number in range(count)]
            routes = [parse(f"r{number}", text) for number, text in enumerate(texts)]
            table = RouteTable(routes, ttl_s=7200, device="device")
            decide = table.decide
            ours = cost_us(plan, lambda: decide(MESSAGE))  # noqa: B023
            conditions = [route.condition for route in routes if route.condition is not None]
            peers = peers_of(plan, conditions, is_body="$body" in where) if conditions else {}
            rows.append(Row(f"{count} routes {what}", "us per message", ours, peers))
    return rows


def peers_of(plan: Plan, conditions: Sequence[Condition], *, is_body: bool) -> dict[str, float]:
    """The same conditions without anything kept: walked, and by hand with one json.loads for each message."""
    trees = [condition.tree for condition in conditions]
    wanted = range(len(trees))

    def walked() -> None:
        facts = Facts(MESSAGE, "device")
        for tree in trees:
            walk(tree, facts)

    def by_hand_body() -> list[int]:
        body = json.loads(MESSAGE.body)
        return [number for number in wanted if isinstance(body, dict) and body.get("level") == number]

    def by_hand_property() -> list[int]:
        properties = MESSAGE.properties
        return [number for number in wanted if properties.get("state") == f"v{number}"]

    by_hand = by_hand_body if is_body else by_hand_property
    return {"tree walk": cost_us(plan, walked), "by hand": cost_us(plan, by_hand)}


def cost_us(plan: Plan, call: Callable[[], object]) -> float:
    """Return what one call costs in microseconds of CPU, without the loop around it: the median of the runs."""
    count = max(1, int(plan.of(200_000, 20_000) / max(1.0, once_us(call))))
    runs = []
    for _ in range(plan.runs + 1):
        began_s = time.process_time()
        for _ in range(count):
            call()
        called_s = time.process_time()
        for _ in range(count):
            nothing()
        runs.append((called_s - began_s - (time.process_time() - called_s)) * 1e6 / count)
    cost = statistics.median(runs[1:])
    print(f"  {cost:8.3f} us", file=sys.stderr)
    return cost


def once_us(call: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    for _ in range(100):
        call()
    return (time.perf_counter() - began_s) * 1e4


def nothing() -> None:
    """What the loop costs."""


def condition_of(text: str) -> Condition:
    condition = parse("r", f"FROM /* WHERE {text} INTO $upstream").condition
    assert condition is not None
    return condition


def walk(node: Node, facts: Facts) -> Any:
    """Return the value of a tree by walking it: as much of the language as the conditions above need."""
    if isinstance(node, Binary):
        left, right = walk(node.left, facts), walk(node.right, facts)
        if left is None or right is None:
            return None
        if type(left) is not type(right):
            return {"=": False, "!=": True}.get(node.operator)
        return TESTS[node.operator](left, right)
    if isinstance(node, Logic):
        values = [walk(one, facts) for one in node.operands]
        decisive = node.operator == "OR"
        return decisive if decisive in values else None if None in values else not decisive
    if isinstance(node, Not):
        value = walk(node.operand, facts)
        return None if value is None else not value
    if isinstance(node, Call):
        return FUNCTIONS[node.function].apply(*[walk(one, facts) for one in node.arguments])
    return walk_leaf(node, facts)


def walk_leaf(node: Node, facts: Facts) -> Any:
    if isinstance(node, Literal):
        return node.value
    if isinstance(node, Property):
        return facts.property(node.name, node.name.lower())
    if isinstance(node, SystemProperty):
        return facts.system_property(node.name[1:].lower())
    body = facts.body()
    return value_at(body, node.path) if isinstance(node, BodyValue) and body is not None else None


if __name__ == "__main__":
    main()
