"""From the text behind WHERE to a tree: precedence, names, and the column of every mistake."""

from __future__ import annotations

import pytest
from support.conditions import tree_of

from microedge.errors import RouteSyntaxError
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
    TwinChange,
)
from microedge.hub.functions import FUNCTIONS
from microedge.hub.values import NULL

A, B, C = Property("a"), Property("b"), Property("c")
ONE = Literal(1.0)
P = BodyValue(("p",), "$body.p")
Q = BodyValue(("q",), "$body.q")
R = BodyValue(("r",), "$body.r")


def is_defined(node: Node) -> Call:
    return Call("is_defined", (node,))


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("NOT $body.p = $body.q", Binary("=", Not(P), Q)),
        ("NOT ($body.p = $body.q)", Not(Binary("=", P, Q))),
        ("NOT NOT $body.p", Not(Not(P))),
        ("- - $body.p = 1", Binary("=", Negative(Negative(P)), ONE)),
        ("- $body.p * $body.q = 1", Binary("=", Binary("*", Negative(P), Q), ONE)),
        ("$body.p + $body.q * $body.r = 1", Binary("=", Binary("+", P, Binary("*", Q, R)), ONE)),
        ("$body.p - $body.q - $body.r = 1", Binary("=", Binary("-", Binary("-", P, Q), R), ONE)),
        ("$body.p - ($body.q - $body.r) = 1", Binary("=", Binary("-", P, Binary("-", Q, R)), ONE)),
        ("$body.p < $body.q = $body.r", Binary("=", Binary("<", P, Q), R)),
        ("$body.p = $body.q < $body.r", Binary("=", P, Binary("<", Q, R))),
        ("$body.p <> $body.q", Binary("!=", P, Q)),
        ("a || b || c = a", Binary("=", Binary("||", Binary("||", A, B), C), A)),
        ("$body.p AND $body.q AND $body.r", Logic("AND", (P, Q, R))),
        ("($body.p AND $body.q) AND $body.r", Logic("AND", (Logic("AND", (P, Q)), R))),
        ("$body.p OR $body.q AND $body.r", Logic("OR", (P, Logic("AND", (Q, R))))),
        ("$body.p or $body.q and not $body.r", Logic("OR", (P, Logic("AND", (Q, Not(R)))))),
        ("$body.p ?? $body.q OR $body.r", Binary("??", P, Logic("OR", (Q, R)))),
        ("$body.p ?? $body.q ?? $body.r", Binary("??", Binary("??", P, Q), R)),
    ],
)
def test_operators_group_by_how_tight_they_bind_and_from_the_left(condition: str, expected: Node):
    assert tree_of(condition) == expected


@pytest.mark.parametrize(
    ("operand", "expected"),
    [
        ("temperature", Property("temperature")),
        ("temp-5", Property("temp-5")),
        ("-a", Property("-a")),
        ("a*b", Property("a*b")),
        ("a.b+c%d", Property("a.b+c%d")),
        ("5.", Property("5.")),
        ("1.2.3", Property("1.2.3")),
        ("e5", Property("e5")),
        ("True", Property("True")),
        ("NULL", Property("NULL")),
        ("größe", Property("größe")),
        ("it's", Property("it's")),
        ("$", Property("$")),
        ("abs", Property("abs")),
        ("{abs}", Property("abs")),
        ("{ and }", Property("and")),
        ("{two words}", Property("two words")),
        ("{a:b/c@d}", Property("a:b/c@d")),
        ("$contentType", SystemProperty("$contentType")),
        ("$bodyguard", SystemProperty("$bodyguard")),
        ("{$contentType}", SystemProperty("$contentType", is_forced=True)),
        ("$body.a.b", BodyValue(("a", "b"), "$body.a.b")),
        ("$BODY.a", BodyValue(("a",), "$BODY.a")),
        ("$body.a-b.c+d", BodyValue(("a-b", "c+d"), "$body.a-b.c+d")),
        ("$body.a[0].b", BodyValue(("a", 0, "b"))),
        ("$body.a[0][12]", BodyValue(("a", 0, 12))),
        ("{$body.a.b}", BodyValue(("a", "b"))),
        ("true", Literal(True)),
        ("null", Literal(NULL)),
        ("undefined", Literal(None)),
        ("'it''", None),
        ("12", Literal(12.0)),
        ("-12.5e-1", Literal(-1.25)),
        ("0xff", Literal(255.0)),
        ("0xFFFFFFFFFFFFFFFF", Literal(float(2**64 - 1))),
        ('"say \\"x\\" \\\\ \\\'"', Literal('say "x" \\ \'')),
        ("'\\u00e4\\u0041'", Literal("äA")),
        ("'\\ud83d\\ude00'", Literal("😀")),
        ("'a\"b'", Literal('a"b')),
        ("'INTO'", Literal("INTO")),
        ("ABS(1)", Call("abs", (ONE,))),
        ("abs ( 1 )", Call("abs", (ONE,))),
    ],
)
def test_names_literals_and_calls(operand: str, expected: Node | None):
    if expected is None:
        with pytest.raises(RouteSyntaxError):
            tree_of(f"is_defined({operand})")
    else:
        assert tree_of(f"is_defined({operand})") == is_defined(expected)


def test_twin_changes_are_named_by_a_path():
    tree = tree_of("twin_change_includes(Properties.Desired.a.b) = true", "/twinChangeNotifications")

    assert tree == Binary("=", TwinChange(("properties", "desired", "a", "b")), Literal(True))


@pytest.mark.parametrize(
    ("condition", "column", "expected"),
    [
        ("", 16, "a property, [$]body[.]NAME, a literal, a function or [(], found 'INTO'"),
        ("a =", 19, "a property, "),
        ("= a", 15, "a property, "),
        ("a = = b", 19, "a property, "),
        ("a b", 17, "an operator or INTO, found 'b'"),
        ("'x' 'y'", 19, "an operator or INTO"),
        ("as_number(a)+5 > 3", 27, "an operator with spaces around it or INTO, found '[+]5'"),
        ("3 -4 = 1", 17, "an operator with spaces around it or INTO, found '-4'"),
        ("(a = b", 22, "an operator or '[)]', found 'INTO'"),
        ("a = b)", 20, "an operator or INTO, found '[)]'"),
        ("a, b", 16, "an operator or INTO, found ','"),
        ("abs(1", 21, "an operator or ',' or '[)]'"),
        ("abs(1 2)", 21, "an operator or ',' or '[)]'"),
        ("abs(1,)", 21, "a property, "),
        ("abs(,1)", 19, "a property, "),
        ("a @ b", 17, "a property, a value or an operator, found '@'"),
        ("a & b", 17, "an operator or INTO"),
        ("a == b", 18, "a property, "),
        ("a!= b", 16, "a space before !=, because ! may belong to a name"),
        ("a||b = 'c'", 16, "a space on both sides of [|][|]"),
        ("'a'||'b' = 'c'", 18, "a space on both sides of [|][|]"),
        ("a = 'b", 19, "a closing ' for this text"),
        ('a = "b', 19, 'a closing " for this text'),
        ("a = 'b\\n'", 21, "an escape: "),
        ("a = '\\u12'", 20, "an escape: "),
        ("a = '\\ud83d'", 19, "text without half a character"),
        ("0x10000000000000000 = 1", 15, "at most 16 hexadecimal digits"),
        ("{} = 'a'", 15, "a name between { and }"),
        ("{a = 'a'", 15, "a property, a value or an operator, found '{a'"),
        ("[0] = 1", 15, "a property, a value or an operator"),
        ("a[0] = 'x'", 16, "a property, a value or an operator, found '.0.'"),
        ("$body = 1", 15, "[$]body[.]NAME, "),
        ("{$body} = 1", 15, "[$]body[.]NAME, "),
        ("$body[0] = 1", 15, "[$]body[.]NAME, "),
        ("$body.a. = 1", 15, "[$]body[.]NAME, "),
        ("$body.a[] = 1", 15, "[$]body[.]NAME, "),
        ("$body.a[x] = 1", 15, "[$]body[.]NAME, "),
        ("$body.a[-1] = 1", 15, "[$]body[.]NAME, "),
        ("$body.[0] = 1", 15, "[$]body[.]NAME, "),
        ("$body.a[1:2] = 1", 24, "a property, a value or an operator|an operator"),
        ("$contentType[0] = 'a'", 15, r"\[ and \] only in \$body\.NAME\[0\]"),
        ("uper(a) = 'A'", 15, "a function; did you mean upper[?]"),
        ("twin_change_include(tags.a)", 15, "a function; did you mean twin_change_includes[?]"),
        ("zzzzz(a) = 'A'", 15, "a function: abs, exp, power, "),
        ("-abs(1) = 1", 15, "a function; did you mean abs[?]"),
        ("twin_change_includes(tags.a)", 15, "twin_change_includes only in a route FROM /twinChangeNotifications"),
        ("concat() = 'a'", 15, "concat with 2 or more arguments"),
        ("concat('a') = 'a'", 15, "concat with 2 or more arguments"),
        ("abs() = 1", 15, "abs with 1 argument,"),
        ("abs(3, 4) = 1", 15, "abs with 1 argument,"),
        ("substring('a') = 'a'", 15, "substring with 2 or 3 arguments"),
        ("index_of('a') = 1", 15, "index_of with 2 arguments"),
        ("index_of('a', 'b', 'c') = 1", 15, "index_of with 2 arguments"),
    ],
)
def test_a_bad_condition_names_the_column_and_what_was_expected(condition: str, column: int, expected: str):
    with pytest.raises(RouteSyntaxError, match=f"column {column}: expected ({expected})"):
        tree_of(condition)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "properties.",
        "properties.reported",
        "properties.abcd123",
        "123abc",
        "tags",
        "'tags.a'",
        "tags.a[0]",
        "properties.desired.twin[0].test1",
        "properties.desired.[123]",
        "properties.desired.a[]",
        "properties.desired.twin,,,",
        "tags.a, tags.b",
        "tags.a.",
    ],
)
def test_twin_change_includes_takes_one_path_into_a_twin(path: str):
    with pytest.raises(RouteSyntaxError):
        tree_of(f"twin_change_includes({path})", "/twinChangeNotifications")


@pytest.mark.parametrize(
    ("levels", "is_taken"),
    [(20, True), (60, False), (1_000, False)],
)
@pytest.mark.parametrize(
    ("opening", "middle", "closing"),
    [
        ("(", "true", ")"),
        ("NOT ", "true", ""),
        ("is_null(", "true", ")"),
        ("", "1", " + 1"),
        ("true = (", "true", ")"),
        ("", "$body.x", " ?? $body.x"),
    ],
)
def test_nesting_and_long_chains_have_a_limit_before_python_has(
    opening: str, middle: str, closing: str, levels: int, is_taken: bool
):
    text = opening * levels + middle + closing * levels
    text = f"({text}) = 1" if "+" in closing else text

    if is_taken:
        assert tree_of(text)
    else:
        with pytest.raises(RouteSyntaxError, match=r"at most (50 levels of nesting|4096 characters)"):
            tree_of(text)


def test_and_and_or_may_have_hundreds_of_operands():
    tree = tree_of(" OR ".join(["$body.a = 1"] * 200))

    assert isinstance(tree, Logic)
    assert len(tree.operands) == 200


def test_chains_within_brackets_do_not_add_up_beyond_the_limit():
    text = "1"
    for length in range(45, 20, -1):
        text = f"({text}{' + 1' * length})"
    text = text[-3_900:]  # whatever is left of it: a route or an error, never a RecursionError

    with pytest.raises(RouteSyntaxError):
        tree_of(f"{text} = 1")


def test_every_function_has_the_name_it_has_in_iot_edge():
    numbers = {"abs", "exp", "power", "square", "ceiling", "floor", "sign", "sqrt"}
    kinds = {"as_number", "is_bool", "is_defined", "is_null", "is_number", "is_string"}
    texts = {"concat", "length", "lower", "upper", "substring", "index_of", "starts_with", "ends_with", "contains"}

    assert set(FUNCTIONS) == numbers | kinds | texts
