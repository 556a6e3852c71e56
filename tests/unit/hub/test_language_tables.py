"""Tables of the route language, whole: every pair of logic values, of operators, every number of arguments."""

from __future__ import annotations

import itertools

import pytest
from support.conditions import message, tree_of, value_of

from microedge.errors import RouteSyntaxError
from microedge.hub.expression import Node
from microedge.hub.facts import SYSTEM_PROPERTIES
from microedge.hub.functions import FUNCTIONS
from microedge.hub.values import Value

T, F, U = "true", "false", "undefined"
VALUE_OF: dict[str, Value] = {T: True, F: False, U: None}

# left, right, left AND right, left OR right
LOGIC = [
    (T, T, T, T),
    (T, F, F, T),
    (T, U, U, T),
    (F, T, F, T),
    (F, F, F, F),
    (F, U, F, U),
    (U, T, U, T),
    (U, F, F, U),
    (U, U, U, U),
]

# Tightest first. Of each two, the tighter one holds its operands together, wherever it stands.
LEVELS = [("*", "/", "%"), ("+", "-", "||"), ("<", "<=", ">", ">="), ("=", "!=", "<>"), ("AND",), ("OR",), ("??",)]
TIGHTER = [
    (tight, loose)
    for place, level in enumerate(LEVELS)
    for tight in level
    for below in LEVELS[place + 1 :]
    for loose in below
]

ONE_NUMBER, ANY, ONE_TEXT, TWO_TEXTS = ("1",), ("'1'",), ("'a'",), ("'a'", "'b'")
ARGUMENTS = {
    **dict.fromkeys(("abs", "exp", "square", "ceiling", "floor", "sign", "sqrt"), ONE_NUMBER),
    "power": ("1", "2"),
    **dict.fromkeys(("as_number", "is_bool", "is_defined", "is_null", "is_number", "is_string"), ANY),
    **dict.fromkeys(("length", "lower", "upper"), ONE_TEXT),
    **dict.fromkeys(("concat", "index_of", "starts_with", "ends_with", "contains"), TWO_TEXTS),
    "substring": ("'abc'", "1", "1"),
}
UNLIMITED = {"concat"}
OPTIONAL = {"substring": 1}


@pytest.mark.parametrize(("left", "right", "both", "either"), LOGIC)
@pytest.mark.parametrize("spelt", [{}, {U: "none = 'x'"}, {T: "$body.yes", F: "$body.no", U: "$body.object"}])
def test_and_and_or_of_every_two_values(left: str, right: str, both: str, either: str, spelt: dict[str, str]):
    one, other = spelt.get(left, left), spelt.get(right, right)
    about = message({"yes": True, "no": False, "object": {}})

    assert value_of(f"({one}) AND ({other})", about) is VALUE_OF[both]
    assert value_of(f"({one}) OR ({other})", about) is VALUE_OF[either]


@pytest.mark.parametrize(("value", "expected"), [(T, F), (F, T), (U, U)])
def test_not_of_every_value(value: str, expected: str):
    assert value_of(f"NOT {value}", message()) is VALUE_OF[expected]


@pytest.mark.parametrize("operator", [op for level in LEVELS[2:4] for op in level])
@pytest.mark.parametrize("operands", ["$body.object {} 1", "1 {} $body.object", "$body.object {} $body.object"])
def test_whatever_is_compared_with_undefined_is_undefined(operator: str, operands: str):
    assert value_of(operands.format(operator), message({"object": {}})) is None


@pytest.mark.parametrize(("tight", "loose"), TIGHTER)
def test_of_every_two_operators_the_tighter_holds_its_operands_together(tight: str, loose: str):
    for left, right, grouped in (
        (tight, loose, "({0} {1} {0}) {2} {0}"),
        (loose, tight, "{0} {1} ({0} {2} {0})"),
    ):
        flat = f"$body.a {left} $body.a {right} $body.a"
        bracketed = grouped.format("$body.a", left, right)
        assert tree(flat) == tree(bracketed), f"{flat} is not {bracketed}"


@pytest.mark.parametrize("operator", [op for level in LEVELS for op in level])
def test_not_and_minus_bind_tighter_than_any_operator(operator: str):
    assert tree(f"NOT $body.a {operator} $body.a") == tree(f"(NOT $body.a) {operator} $body.a")
    assert tree(f"-$body.a {operator} $body.a") == tree(f"(-$body.a) {operator} $body.a")


def tree(condition: str) -> Node | None:
    """Return the tree, None where the kinds of the operands do not fit: then they must not fit with brackets either."""
    try:
        return tree_of(condition)
    except RouteSyntaxError:
        return None


def test_every_function_is_in_the_table():
    assert ARGUMENTS.keys() == FUNCTIONS.keys()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_takes_the_arguments_that_it_takes_and_no_others(name: str):
    arguments = ARGUMENTS[name]
    fewest = len(arguments) - OPTIONAL.get(name, 0)

    for count in range(len(arguments) + 2):
        taken = list(itertools.islice(itertools.cycle(arguments), count))
        is_right = fewest <= count and (count <= len(arguments) or name in UNLIMITED)
        call = f"is_defined({name}({', '.join(taken)}))"
        if is_right:
            assert value_of(call, message()) is True
        else:
            with pytest.raises(RouteSyntaxError):
                tree_of(call)


SYSTEM = {
    "connectionDeviceId": "greenhouse-7",
    "connectionModuleId": "probe",
    "contentType": "application/json",
    "contentEncoding": "utf-8",
    "creationTime": "2023-11-14T22:13:20.123Z",
    "edgeMessageId": "session-42",
    "messageId": "session-42",
    "outputName": "readings",
}


@pytest.mark.parametrize("name", SYSTEM)
@pytest.mark.parametrize("spelling", ["${}", "{{${}}}"])
def test_every_system_property_has_its_value_in_both_spellings(name: str, spelling: str):
    assert value_of(f"{spelling.format(name)} = '{SYSTEM[name]}'", message()) is True


def test_an_application_property_of_that_name_wins_unless_the_system_one_is_forced():
    for name, value in SYSTEM.items():
        about = message(properties={f"${name}": "mine"})

        assert value_of(f"${name} = 'mine'", about) is True
        assert value_of(f"{{${name}}} = '{value}'", about) is True


def test_every_system_property_is_in_the_table():
    assert {name.lower() for name in SYSTEM} | {"inputname"} == set(SYSTEM_PROPERTIES)
