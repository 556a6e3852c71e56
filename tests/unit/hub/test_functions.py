"""Every function, row by row, and what it does with values that do not fit."""

from __future__ import annotations

import pytest
from support.conditions import message, value_of

from microedge.hub.functions import FUNCTIONS
from microedge.hub.values import NULL, Kind, Value

MESSAGE = message(
    {"n": 4.5, "t": "text", "b": True, "z": None}, properties={"key1": "value1", "key2": "3", "key3": "VALUE3"}
)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("abs(-12) = 12", True),
        ("ABS(as_number(key2)) = 3", True),
        ("is_defined(abs(3 % 0))", False),
        ("is_defined(abs(3 / 0))", True),
        ("exp(0) = 1", True),
        ("abs(exp(1) - 2.718281) < 1e-6", True),
        ("exp(4000) = 3 / 0", True),
        ("power(2, 3) = 8", True),
        ("power(10, 4000) = 3 / 0", True),
        ("power(-10, 4001) = -3 / 0", True),
        ("power(-10, 4000) = 3 / 0", True),
        ("is_defined(power(-8, 0.5))", False),
        ("power(0, -1) = 1 / 0", True),
        ("is_defined(power(2, 3 % 0))", False),
        ("is_defined(power($body.t, 2))", False),
        ("square(3) = 9", True),
        ("square(1e200) = 1 / 0", True),
        ("ceiling(2.1) = 3", True),
        ("ceiling(-2.1) = -2", True),
        ("ceiling(3 / 0) = 3 / 0", True),
        ("floor(2.1) = 2", True),
        ("floor(-2.1) = -3", True),
        ("is_defined(floor(3 / 0))", True),
        ("sign(0) = 0", True),
        ("sign(2.1) = 1", True),
        ("sign(-3 / 0) = -1", True),
        ("is_defined(sign(as_number(key1)))", False),
        ("sqrt(4) = 2", True),
        ("SQRT(-4) = -2", None),
        ("sqrt(3 / 0) = 3 / 0", True),
        ("sqrt($body.n) > 2", True),
        ("is_defined(sqrt($body.t))", False),
    ],
)
def test_functions_of_numbers(condition: str, expected: Value):
    assert value_of(condition, MESSAGE) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", 3.0),
        ("-3.5", -3.5),
        ("+3", 3.0),
        (" 3 ", 3.0),
        ("3.", 3.0),
        (".5", 0.5),
        ("10e10", 10e10),
        ("1E-2", 0.01),
        ("10e1000", float("inf")),
        ("10000000000000000000000000", 1e25),
        ("", None),
        ("value1", None),
        ("3 4", None),
        ("1,000", None),
        ("0x10", None),
        ("nan", None),
        ("inf", None),
        ("Infinity", None),
        ("1_000", None),
        ("٣", None),
        (".", None),
        ("e5", None),
    ],
)
def test_as_number_reads_plain_and_scientific_notation(text: str, expected: float | None):
    assert FUNCTIONS["as_number"].apply(text) == expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("as_number(key2) = 3", True),
        ("as_number(4) = 4", True),
        ("as_number(as_number('4')) = 4", True),
        ("as_number(key1) = 3", None),
        ("as_number(none) = 3", None),
        ("as_number($body.n) = 4.5", True),
        ("as_number($body.t) = 4.5", None),
        ("as_number($body.b) = 1", None),
        ("is_bool(true)", True),
        ("is_bool($body.b)", True),
        ("is_bool('x')", False),
        ("is_bool(none)", False),
        ("is_defined(undefined)", False),
        ("is_defined(key1)", True),
        ("is_defined(key4)", False),
        ("is_defined(undefined and true)", False),
        ("is_defined(null)", True),
        ("is_defined($body.missing)", True),
        ("is_null(null)", True),
        ("is_null($body.z)", True),
        ("is_null($body.missing)", True),
        ("is_null($body.n)", False),  # true in edgeHub
        ("is_null(none)", False),
        ("is_null(12.34)", False),
        ("is_number(12.34)", True),
        ("is_number($body.n)", True),
        ("is_number('12')", False),
        ("is_number(3 / 0)", False),
        ("is_number(true)", False),
        ("is_string('x')", True),
        ("is_string($body.t)", True),
        ("is_string(key1)", True),
        ("is_string(none)", False),
        ("is_string('a' || 'b')", True),
    ],
)
def test_functions_that_ask_for_the_kind_of_a_value(condition: str, expected: Value):
    assert value_of(condition, MESSAGE) is expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("concat('a', 'b', 'c', 'd') = 'abcd'", True),
        ("concat('a', key1, 'd') = 'avalue1d'", True),
        ("is_defined(concat('a', none, 'd'))", False),
        ("is_defined('a' || none || 'd')", False),
        ("is_defined('a' || $body.n)", False),
        ("length('HELLO') = 5", True),
        ("LENGTH('') = 0", True),
        ("is_defined(length($body.n))", False),
        ("lower(key3) = 'value3'", True),
        ("upper(key1) = 'VALUE1'", True),
        ("is_defined(upper(none))", False),
        ("substring('abc', 1) = 'bc'", True),
        ("substring('abc', 3) = ''", True),
        ("SUBSTRING('abc', 4) = 'c'", None),
        ("substring('abc', -1) = ''", None),
        ("substring('abc', 1 % 0) = ''", None),
        ("substring('abc', 1 / 0) = ''", None),
        ("substring(none, 1) = 'a'", None),
        ("substring('abc', 1.9) = 'bc'", True),
        ("substring('abc', 1, 1) = 'b'", True),
        ("substring('abc', 1, 0) = ''", True),
        ("substring('abc', 1, -2) = ''", None),
        ("substring('abc', 1, 3) = ''", None),
        ("substring('abc', 1, 1 % 0) = ''", None),
        ("substring('abc', 3, 0) = ''", None),
        ("substring('hello', 4, 1) = 'o'", True),
        ("index_of('abcdef', 'cd') = 2", True),
        ("index_of('abc', 'xz') = -1", True),
        ("INDEX_OF(key1, 'val') = 0", True),
        ("index_of(none, '1') = 0", None),
        ("starts_with('abc', 'ab')", True),
        ("starts_with('abc', key1)", False),
        ("starts_with(none, '1')", None),
        ("ENDS_WITH(key1, 'e1')", True),
        ("ends_with('abc', 'xz')", False),
        ("ends_with(none, '1')", None),
        ("contains('abc', 'b')", True),
        ("contains(key1, 'VAL')", False),
        ("contains($body.t, 'ex')", True),
        ("contains($body.z, 'ex')", None),
    ],
)
def test_functions_of_text(condition: str, expected: Value):
    assert value_of(condition, MESSAGE) is expected


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("value", [None, NULL, True, -1.5, float("inf"), "text", ""])
def test_no_function_raises_whatever_it_is_given(name: str, value: Value):
    function = FUNCTIONS[name]

    result = function.apply(*[value] * len(function.parameters))

    assert (
        result is None
        or type(result) in {Kind.BOOL: (bool,), Kind.NUMBER: (float,), Kind.TEXT: (str,)}[function.result]
    )
