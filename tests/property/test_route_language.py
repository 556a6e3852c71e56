"""The route language against an evaluator that walks the tree, and against any text at all."""

from __future__ import annotations

import json
import math
from functools import cache
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from microedge.errors import RouteSyntaxError
from microedge.hub.checks import kind_of, misfit_of_argument, misfit_of_binary, misfit_of_clause
from microedge.hub.compile import compile_condition
from microedge.hub.explain import explain
from microedge.hub.expression import (
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
)
from microedge.hub.facts import Facts
from microedge.hub.functions import FUNCTIONS
from microedge.hub.parser import parse
from microedge.hub.table import RouteTable
from microedge.hub.values import NULL, Kind, Value, show
from microedge.message import Envelope, Message

# --- Trees whose parts fit together ---

NAMES = ("state", "level", "temp-5", "-a", "e5", "größe", "two words", "and", "a'b")
SYSTEM = ("$contentType", "$outputName", "$messageId", "$none", "$state")
PATHS: tuple[tuple[str | int, ...], ...] = (("a",), ("b",), ("a", "b"), ("c", 0), ("c", 1, "a"), ("missing",))

texts = st.text(st.characters(blacklist_categories=("Cs",)), max_size=5)
numbers = st.sampled_from([0.0, 1.0, -2.5, 3.0, 1e300, math.inf])

properties = st.builds(Property, st.sampled_from(NAMES)) | st.builds(
    SystemProperty, st.sampled_from(SYSTEM), st.booleans()
)
body_values = st.sampled_from(PATHS).map(lambda path: BodyValue(path, rival_of(path)))


def rival_of(path: tuple[str | int, ...]) -> str:
    has_index = any(isinstance(step, int) for step in path)
    return "" if has_index else "$body." + ".".join(map(str, path))


def literals(kind: Kind) -> st.SearchStrategy[Node]:
    values: dict[Kind, st.SearchStrategy[Value]] = {
        Kind.NUMBER: numbers,
        Kind.TEXT: texts | st.sampled_from(["on", "3"]),
        Kind.BOOL: st.booleans(),
        Kind.NULL: st.just(NULL),
    }
    return st.builds(Literal, values[kind])


@cache
def below(kind: Kind, depth: int) -> st.SearchStrategy[Node]:
    """Return trees of one kind or of the body, which may be of any; the same strategy for each draw, for speed."""
    return trees(kind, depth)


@st.composite
def trees(draw: Any, kind: Kind, depth: int) -> Node:
    if depth == 0 or draw(st.integers(0, 5)) == 0:
        return draw(leaves(kind))
    if kind is Kind.NULL:
        return draw(literals(kind))
    return draw(branches(kind, depth - 1))


@cache
def leaves(kind: Kind) -> st.SearchStrategy[Node]:
    return body_values | (properties if kind is Kind.TEXT else literals(kind)) | literals(kind)


@cache
def branches(kind: Kind, depth: int) -> st.SearchStrategy[Node]:
    return {Kind.NUMBER: numbers_of, Kind.TEXT: texts_of, Kind.BOOL: clauses_of}[kind](depth)


def calls(result: Kind, depth: int) -> st.SearchStrategy[Node]:
    @st.composite
    def call(draw: Any) -> Node:
        name = draw(st.sampled_from([name for name, one in FUNCTIONS.items() if one.result is result]))
        function = FUNCTIONS[name]
        count = draw(st.integers(len(function.parameters) - function.optional, len(function.parameters) + 2))
        if not function.takes(count):
            count = len(function.parameters)
        kinds = [sorted({Kind.NUMBER, Kind.TEXT, Kind.BOOL} & function.parameter(i), key=str) for i in range(count)]
        return Call(name, tuple(draw(below(draw(st.sampled_from(one)), depth)) for one in kinds))

    return call()


def numbers_of(depth: int) -> st.SearchStrategy[Node]:
    number = below(Kind.NUMBER, depth)
    binary = st.builds(Binary, st.sampled_from(["+", "-", "*", "/", "%", "??"]), number, number)
    return binary | st.builds(Negative, number) | calls(Kind.NUMBER, depth)


def texts_of(depth: int) -> st.SearchStrategy[Node]:
    text = below(Kind.TEXT, depth)
    return st.builds(Binary, st.sampled_from(["||", "??"]), text, text) | calls(Kind.TEXT, depth)


def clauses_of(depth: int) -> st.SearchStrategy[Node]:
    comparisons = st.one_of(
        [
            st.builds(
                Binary, st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), below(kind, depth), below(kind, depth)
            )
            for kind in (Kind.NUMBER, Kind.TEXT, Kind.BOOL, Kind.NULL)
        ]
    )
    clause = below(Kind.BOOL, depth) | st.builds(Literal, st.sampled_from([None, NULL]))
    logic = st.builds(Logic, st.sampled_from(["AND", "OR"]), st.lists(clause, min_size=2, max_size=4).map(tuple))
    return comparisons | logic | st.builds(Not, clause) | calls(Kind.BOOL, depth)


def fits(node: Node) -> bool:
    """True when the parser takes a tree: null in AND and OR makes null of it, which fits not everywhere."""
    if isinstance(node, Binary):
        return misfit_of_binary(node) is None and fits(node.left) and fits(node.right)
    if isinstance(node, Negative):
        return misfit_of_binary(Binary("-", Literal(0.0), node.operand)) is None and fits(node.operand)
    if isinstance(node, Not):
        return misfit_of_clause(node.operand) is None and fits(node.operand)
    if isinstance(node, Logic):
        return all(misfit_of_clause(one) is None and fits(one) for one in node.operands)
    if isinstance(node, Call):
        indexes = range(len(node.arguments))
        return all(misfit_of_argument(node, index) is None and fits(node.arguments[index]) for index in indexes)
    return True


conditions = below(Kind.BOOL, 3).filter(lambda node: misfit_of_clause(node) is None and fits(node))


# --- Printing ---


def printed(node: Node) -> str:
    """Return a tree as text, with brackets around everything that has operands."""
    if isinstance(node, Literal):
        return printed_literal(node.value)
    if isinstance(node, Property):
        return "{" + node.name + "}"
    if isinstance(node, SystemProperty):
        return "{ " + node.name + " }" if node.is_forced else node.name
    if isinstance(node, BodyValue):
        return "$body" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in node.path)
    if isinstance(node, Negative):
        return f"- ({printed(node.operand)})"
    if isinstance(node, Not):
        return f"NOT ({printed(node.operand)})"
    if isinstance(node, Call):
        return f"{node.function}({', '.join(map(printed, node.arguments))})"
    operands = node.operands if isinstance(node, Logic) else (node.left, node.right)
    return f" {node.operator} ".join(f"({printed(one)})" for one in operands)


def printed_literal(value: Value) -> str:
    return "1e999" if value == math.inf and isinstance(value, float) else show(value)


# --- The evaluator that walks the tree: what a person would write who had the rules and no time ---


def naive(node: Node, message: Message) -> Value:
    if isinstance(node, Literal):
        return node.value
    if isinstance(node, Property):
        return naive_property(message, node.name)
    if isinstance(node, SystemProperty):
        own = None if node.is_forced else naive_property(message, node.name)
        return own if own is not None else naive_system(message, node.name)
    if isinstance(node, BodyValue):
        own = naive_property(message, node.rival)
        return own if own is not None else naive_body(message, node.path)
    if isinstance(node, Negative):
        value = naive(node.operand, message)
        return -value if type(value) is float else None
    if isinstance(node, Not):
        value = naive(node.operand, message)
        if kind_of(node.operand) is Kind.NULL:
            return True
        return (not value) if type(value) is bool else None
    if isinstance(node, Logic):
        return naive_logic(node, message)
    if isinstance(node, Call):
        return FUNCTIONS[node.function].apply(*[naive(one, message) for one in node.arguments])
    return naive_binary(node.operator, naive(node.left, message), naive(node.right, message))


def naive_property(message: Message, name: str) -> str | None:
    for wanted in (name, name.lower()):
        if wanted in message.properties:
            return message.properties[wanted]
    found = [value for key, value in message.properties.items() if key.lower() == name.lower()]
    return found[-1] if found else None


def naive_system(message: Message, name: str) -> str | None:
    known = {"contenttype": message.content_type, "outputname": message.output, "messageid": message.message_id}
    return known.get(name[1:].lower()) or None


def naive_body(message: Message, path: tuple[str | int, ...]) -> Value:
    if message.content_type != "application/json" or message.content_encoding != "utf-8":
        return None
    try:
        value = json.loads(message.body)
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    for step in path:
        try:
            value = value[step] if isinstance(value, (list if isinstance(step, int) else dict)) else None
        except (KeyError, IndexError):
            value = None
    if isinstance(value, (dict, list)):
        return None
    return NULL if value is None else float(value) if type(value) is int else value


def naive_logic(node: Logic, message: Message) -> Value:
    values = [
        False if kind_of(one) is Kind.NULL else value if type(value := naive(one, message)) is bool else None
        for one in node.operands
    ]
    nulls = [kind_of(one) is Kind.NULL for one in node.operands]
    if any(nulls) if node.operator == "AND" else all(nulls):
        return NULL
    if node.operator == "AND":
        return False if False in values else None if None in values else True
    return True if True in values else None if None in values else False


def naive_binary(operator: str, left: Value, right: Value) -> Value:
    if operator == "??":
        return right if left is None else left
    if operator == "||":
        return left + right if isinstance(left, str) and isinstance(right, str) else None
    if operator in ("=", "!=", "<", "<=", ">", ">="):
        return naive_comparison(operator, left, right)
    if type(left) is not float or type(right) is not float:
        return None
    try:
        result = {
            "+": lambda: left + right,
            "-": lambda: left - right,
            "*": lambda: left * right,
            "/": lambda: left / right,
            "%": lambda: math.fmod(left, right),
        }[operator]()
    except ZeroDivisionError:
        result = math.nan if left == 0 or left != left else math.copysign(math.inf, left) * math.copysign(1.0, right)
    except ValueError:
        result = math.nan
    return None if math.isnan(result) else result


def naive_comparison(operator: str, left: Value, right: Value) -> Value:
    if left is None or right is None:
        return None
    if type(left) is not type(right):
        return {"=": False, "!=": True}.get(operator)
    a, b = (0, 0) if left is NULL else (left, right)
    return {"=": a == b, "!=": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[operator]


# --- Messages ---

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
    | st.sampled_from(["on", "3"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
bodies = st.dictionaries(st.sampled_from("abc"), json_values, max_size=3).map(lambda body: json.dumps(body).encode())
printables = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=4).filter(str.isprintable)
messages = st.builds(
    lambda body, types, properties: Message(
        Envelope("readings", content_type=types[0], content_encoding=types[1], properties=properties),
        body,
        "probe",
        "s",
        7,
        0,
        0,
    ),
    bodies | st.binary(max_size=8) | json_values.map(lambda value: json.dumps(value).encode()),
    st.sampled_from(
        [("application/json", "utf-8")] * 4 + [("application/json", ""), ("", ""), ("text/plain", "utf-8")]
    ),
    st.dictionaries(
        st.sampled_from([*NAMES, "State", "$state", "$none", "$body.a", "$BODY.a.b"]), printables, max_size=4
    ),
)


# --- The properties ---


@settings(max_examples=100)
@given(conditions)
def test_a_tree_that_is_printed_and_read_is_the_same_tree(tree: Node):
    text = f"FROM /* WHERE {printed(tree)} INTO $upstream"
    if len(text) > 4_096:
        return
    route = parse("r", text)

    assert route.condition is not None
    assert route.condition.tree == tree


@settings(max_examples=150)
@given(conditions, messages)
def test_a_compiled_condition_gives_what_walking_the_tree_gives(tree: Node, message: Message):
    facts = Facts(message, "d")

    compiled, walked = compile_condition(tree).evaluate(facts), naive(tree, message)
    assert (type(compiled), compiled) == (type(walked), walked)


@settings(max_examples=60)
@given(st.lists(conditions, max_size=4), st.lists(messages, min_size=1, max_size=4))
def test_a_table_takes_what_each_of_its_conditions_takes_alone_and_keeps_nothing_wrong(
    trees: list[Node], messages: list[Message]
):
    texts = [f"FROM /* WHERE {printed(tree)} INTO $upstream" for tree in trees]
    routes = [parse(f"r{number}", text) for number, text in enumerate(texts) if len(text) <= 4_096]
    table = RouteTable(routes, ttl_s=7)
    expected = dict.fromkeys((route.name for route in routes), 0)
    for message in [*messages, *messages]:
        takers = [route.name for route in routes if explain(route, message, "").is_match]
        for name in takers:
            expected[name] += 1
        assert bool(table.targets(message)) == bool(takers)

    assert table.counts() == expected


OPERANDS = [
    "a",
    "$body.a",
    "$body.a[0]",
    "$body",
    "{$a}",
    "{a}",
    "'x'",
    '"y"',
    "3",
    "-1",
    "0x1f",
    "1e5",
    "true",
    "null",
]
OPERATORS = ["NOT", "AND", "OR", "=", "!=", "<>", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "||", "??", "INTO"]
BRACKETS = ["(", ")", ",", "abs(", "concat(", "is_null(", "as_number(", "twin_change_includes(", "{", "}", "[", "]"]
fragments = st.sampled_from([*OPERANDS, "undefined", "tags.a", "'", '"', "\\", *OPERATORS, *BRACKETS])


@settings(max_examples=150)
@given(
    st.text(max_size=40) | st.lists(fragments, max_size=14).map(" ".join),
    st.sampled_from(["/*", "/twinChangeNotifications"]),
)
def test_any_condition_is_a_route_or_a_syntax_error_with_a_column_within_it(condition: str, source: str):
    text = f"FROM {source} WHERE {condition} INTO $upstream"
    error = None
    try:
        route = parse("r", text)
    except RouteSyntaxError as caught:
        error = caught
    if error is not None:
        assert 1 <= error.column <= len(text) + 1
        assert error.caret()
        return

    message = Message(Envelope("o", properties={"a": "x"}), b"{}", "m", "s", 1, 0, 0)
    RouteTable([route], ttl_s=1).decide(message)
    explain(route, message, "d")


@settings(max_examples=100)
@given(st.binary(max_size=60), st.sampled_from(["utf-8", "utf-16", "utf-32"]))
def test_any_body_gives_a_decision(body: bytes, encoding: str):
    table = RouteTable([parse("r", "FROM /* WHERE $body.a.b[0] > 3 INTO $upstream")], ttl_s=1)
    envelope = Envelope("o", content_type="application/json", content_encoding=encoding)

    table.decide(Message(envelope, body, "m", "s", 1, 0, 0))

    assert sum(table.undefined_bodies.values()) <= 1
