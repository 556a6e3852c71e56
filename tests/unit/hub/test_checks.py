"""What can never be right is refused when the route is read, at the part that is wrong, with what to write instead."""

from __future__ import annotations

import pytest
from support.conditions import tree_of

from microedge.errors import RouteSyntaxError

PROPERTY_HINT = "properties are text, write as_number[(]level[)]"


@pytest.mark.parametrize(
    ("condition", "column", "expected"),
    [
        ("level > 30", 15, f"a number, as on the other side of >; {PROPERTY_HINT}"),
        ("30 < level", 20, f"a number, as on the other side of <; {PROPERTY_HINT}"),
        ("level = 3", 15, f"a number, as on the other side of =; {PROPERTY_HINT}"),
        ("$contentType = 3", 15, "a number, .* write as_number[(][$]contentType[)]"),
        ("level + 1 = 2", 15, f"a number beside [+]; {PROPERTY_HINT}"),
        ("- level = 2", 17, f"a number beside -; {PROPERTY_HINT}"),
        ("- (level) = 2", 17, f"a number beside -; {PROPERTY_HINT}"),
        ("-level = 2", 15, "a number, .*; -level is the name of one property, operators need spaces around them"),
        ("temp-5 > 3", 15, "a number, .*; temp-5 is the name of one property, operators need spaces around them"),
        ("level = true", 15, "true or false, .* compare level with 'true' or 'false'"),
        ("level = null", 15, "null, as on the other side of =; write is_defined[(]level[)]"),
        ("is_defined(level = undefined)", 34, "a value, because nothing equals undefined; ask with is_defined"),
        ("undefined = $body.a", 15, "a value, because nothing equals undefined"),
        ("3 = 'a'", 19, "a number, as on the other side of ="),
        ("3 = true", 19, "a number, as on the other side of ="),
        ("null = 3", 22, "null, as on the other side of ="),
        ("length('a') = 'b'", 29, "a number, as on the other side of ="),
        ("('a' = 'b') = 'c'", 29, "true or false, as on the other side of ="),
        ("(level ?? 12.34) = 1", 16, f"a number, as on the other side of [?][?]; {PROPERTY_HINT}"),
        ("(as_number(level) ?? level) = 1", 36, f"a number, as on the other side of [?][?]; {PROPERTY_HINT}"),
        ("level ?? 'a' = 'b'", 15, "true or false, "),
        ("level", 15, "true or false,"),
        ("'text'", 15, "true or false,"),
        ("3", 15, "true or false,"),
        ("3 + 4", 15, "true or false,"),
        ("$contentType", 15, "true or false,"),
        ("NOT level = 'a'", 19, "true or false; NOT binds tighter than a comparison, write NOT [(]a = b[)]"),
        ("NOT as_number(level) > 3", 19, "true or false; NOT binds tighter"),
        ("level AND true", 15, "true or false,"),
        ("true AND level", 24, "true or false,"),
        ("true OR 3 OR true", 23, "true or false,"),
        ("true OR 'a' || 'b'", 23, "true or false,"),
        ("3 + undefined = 3", 19, "a number beside [+]"),
        ("true + 3 = 3", 15, "a number beside [+]"),
        ("3 - 'a' = 3", 19, "a number beside -"),
        ("3 * null = 3", 19, "a number beside [*]"),
        ("'a' / 'b' = 3", 15, "a number beside /"),
        ("undefined % 2 = 3", 15, "a number beside %"),
        ("'a' || 3 = 'a3'", 22, "text beside [|][|]"),
        ("'a' || null = 'a'", 22, "text beside [|][|]"),
        ("'a' || undefined = 'a'", 22, "text beside [|][|]"),
        ("true || 'a' = 'a'", 15, "text beside [|][|]"),
        ("abs(level) = 3", 19, f"a number as argument 1 of abs; {PROPERTY_HINT}"),
        ("abs(null) = 3", 19, "a number as argument 1 of abs"),
        ("abs(true) = 3", 19, "a number as argument 1 of abs"),
        ("abs(undefined) = 3", 19, "a number as argument 1 of abs"),
        ("power(2, level) = 3", 24, "a number as argument 2 of power"),
        ("length(12.34) = 3", 22, "text as argument 1 of length"),
        ("lower(true) = 'a'", 21, "text as argument 1 of lower"),
        ("concat('a', 'b', 3) = 'a'", 32, "text as argument 3 of concat"),
        ("substring('hello', 'a') = 'a'", 34, "a number as argument 2 of substring"),
        ("index_of('hello', 12) = 1", 33, "text as argument 2 of index_of"),
        ("starts_with(undefined, 'a')", 27, "text as argument 1 of starts_with"),
        ("contains('a', null)", 29, "text as argument 2 of contains"),
        ("as_number(true) = 1", 25, "a number or text as argument 1 of as_number"),
        ("as_number(null) = 1", 25, "a number or text as argument 1 of as_number"),
        ("as_number(undefined) = 1", 25, "a number or text as argument 1 of as_number"),
    ],
)
def test_parts_that_never_fit_are_refused(condition: str, column: int, expected: str):
    with pytest.raises(RouteSyntaxError, match=f"column {column}: expected {expected}"):
        tree_of(condition)


@pytest.mark.parametrize(
    "condition",
    [
        "$body.a > 3 AND $body.a > 'x' AND $body.a = null AND $body.a",
        "$body.a = level",
        "- $body.a = 3",
        "$body.a + as_number($body.b) = 3",
        "abs($body.a) = length($body.b)",
        "($body.a ?? 3) = 'x'",
        "(level ?? $body.a) > 3",
        "NOT $body.a = true",
        "NOT is_defined(level) = true",
        "undefined = undefined",
        "null ?? null",
        "undefined",
        "null AND true",
        "(null AND true) = null",
        "is_null(undefined) OR is_string(3) OR is_bool(null)",
        "'x' = 'x' = ('a' < 'b')",
        "level = 'true'",
    ],
)
def test_parts_that_may_fit_are_taken(condition: str):
    assert tree_of(condition)
