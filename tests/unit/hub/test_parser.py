"""From a route's text to a Route: every form of the grammar, and the column of every mistake."""

from __future__ import annotations

import subprocess
import sys

import pytest

from microedge.errors import RouteSyntaxError
from microedge.hub.expression import Literal
from microedge.hub.parser import parse
from microedge.hub.route import Sink, Source

INTO = " INTO $upstream"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("/*", Source(kind="all")),
        ("/messages", Source()),
        ("/messages/", Source()),
        ("/messages/*", Source()),
        ("/messages/modules", Source()),
        ("/messages/modules/*", Source()),
        ("/messages/modules/probe", Source("probe")),
        ("/messages/modules/probe/*", Source("probe")),
        ("/messages/modules/probe/outputs", Source("probe")),
        ("/messages/modules/probe/outputs/*", Source("probe")),
        ("/messages/modules/probe/outputs/alarms", Source("probe", "alarms")),
        ("/messages/modules/probe/outputs/alarms/*", Source("probe", "alarms")),
        ("/messages/modules/*/outputs/alarms", Source("", "alarms")),
        ("/Messages/MODULES/Probe/Outputs/Alarms", Source("probe", "alarms")),
        ("/twinChangeNotifications", Source(kind="twin")),
        ("/TWINCHANGENOTIFICATIONS/*", Source(kind="twin")),
    ],
)
def test_every_source_of_the_grammar_is_understood(source: str, expected: Source):
    assert parse("r", f"FROM {source}{INTO}").source == expected


@pytest.mark.parametrize(
    ("sink", "expected"),
    [
        ("$upstream", Sink()),
        ("$UpStream", Sink()),
        ('BrokeredEndpoint("/modules/valve/inputs/commands")', Sink("valve", "commands")),
        ("brokeredendpoint('/Modules/valve/Inputs/commands')", Sink("valve", "commands")),
        ('BrokeredEndpoint ( "/modules/valve/inputs/commands" ) ', Sink("valve", "commands")),
    ],
)
def test_both_sinks_are_understood(sink: str, expected: Sink):
    assert parse("r", f"FROM /* INTO {sink}").sink == expected


@pytest.mark.parametrize(
    "text",
    [
        "from /messages/* into $upstream",
        "SELECT * FROM /messages/* INTO $upstream",
        "  select  *\tFrom\n/messages/*\n  Into   $upstream  ",
    ],
)
def test_keywords_in_any_case_and_any_space_between_words(text: str):
    assert parse("r", text).source == Source()


def test_a_route_keeps_its_name_text_priority_and_ttl():
    route = parse("alarms", "FROM /* INTO $upstream", priority=0, ttl_s=-1)

    assert (route.name, route.text, route.priority, route.ttl_s) == ("alarms", "FROM /* INTO $upstream", 0, -1)


def test_without_more_a_route_has_the_lowest_priority_and_leaves_the_ttl_to_others():
    route = parse("r", "FROM /* INTO $upstream")

    assert (route.priority, route.ttl_s, route.condition) == (9, None, None)


@pytest.mark.parametrize(
    ("text", "column", "expected"),
    [
        ("", 1, "FROM"),
        ("INTO $upstream", 1, "FROM"),
        ("SELECT FROM /*" + INTO, 8, "[*] after SELECT"),
        ("FROM", 5, "a source"),
        ("FROM sensors" + INTO, 6, "a source"),
        ("FROM /" + INTO, 6, "a source"),
        ("FROM //messages" + INTO, 6, "a source"),
        ("FROM /message/*" + INTO, 6, "a source"),
        ("FROM /messages/module/probe" + INTO, 16, "modules in a source"),
        ("FROM /messages/*/probe" + INTO, 16, "modules in a source"),
        ("FROM /messages/modules/so!l" + INTO, 24, "a name or [*] in a source"),
        ("FROM /messages/modules/probe/inputs/x" + INTO, 30, "outputs in a source"),
        ("FROM /messages/modules/probe/outputs/x/y" + INTO, 40, "no further segment in a source"),
        ("FROM /twinChangeNotifications/x" + INTO, 6, "a source"),
        ('FROM "/messages/*"' + INTO, 6, "a source"),
        ("FROM /messages/*", 17, "WHERE or INTO"),
        ("FROM /messages/* TO $upstream", 18, "WHERE or INTO"),
        ("FROM /messages/* WHERE" + INTO, 24, "a property"),
        ("FROM /messages/* WHERE $body.x = 1", 35, "INTO"),
        ("FROM /messages/* WHERE $body.x = 1 WHERE true" + INTO, 36, "an operator or INTO"),
        ("FROM /messages/* WHERE true INTO upstream", 34, r"\$upstream or"),
        ("FROM /messages/* INTO", 22, r"\$upstream or"),
        ("FROM /messages/* INTO upstream", 23, r"\$upstream or"),
        ("FROM /messages/* INTO $upstream, $upstream", 23, r"\$upstream or"),
        ("FROM /messages/* INTO $upstream $upstream", 33, "the end of the route"),
        ("FROM /* INTO BrokeredEndpoint", 30, "'[(]'"),
        ("FROM /* INTO BrokeredEndpoint(/modules/v/inputs/c)", 31, '"/modules/<module>/inputs/<input>"'),
        ('FROM /* INTO BrokeredEndpoint("/modules/v/inputs/c"', 52, "'[)]'"),
        ('FROM /* INTO BrokeredEndpoint("/modules/v/inputs/c', 31, '"/modules/<module>/inputs/<input>"'),
        ('FROM /* INTO BrokeredEndpoint("/modules/v/outputs/c")', 31, '"/modules/<module>/inputs/<input>"'),
        ('FROM /* INTO BrokeredEndpoint("modules/v/inputs/c")', 31, '"/modules/<module>/inputs/<input>"'),
        ('FROM /* INTO BrokeredEndpoint("/modules/v v/inputs/c")', 31, "a module name and an input name"),
        ('FROM /* INTO BrokeredEndpoint("/modules/*/inputs/c")', 31, "a module name and an input name"),
    ],
)
def test_a_bad_route_names_the_column_and_what_was_expected(text: str, column: int, expected: str):
    with pytest.raises(RouteSyntaxError, match=f"column {column}: expected {expected}") as caught:
        parse("r", text)

    assert caught.value.column == column


@pytest.mark.parametrize("text", ["FROM /* where true into $upstream", "FROM /* WhErE  (\ttrue\n) INTO $upstream"])
def test_a_condition_stands_between_where_and_into(text: str):
    condition = parse("r", text).condition

    assert condition is not None
    assert condition.tree == Literal(True)


def test_twin_change_includes_belongs_to_routes_from_twin_changes():
    twin = "twin_change_includes(properties.reported.pump)"

    assert parse("r", f"FROM /twinChangeNotifications WHERE {twin}{INTO}").condition is not None
    with pytest.raises(RouteSyntaxError, match="column 15: expected twin_change_includes only in a route FROM /twin"):
        parse("r", f"FROM /* WHERE {twin}{INTO}")


def test_the_error_shows_a_caret_under_the_column():
    with pytest.raises(RouteSyntaxError) as caught:
        parse("r", "FROM /* WHERE level > 3 INTO $upstream")

    assert caught.value.caret() == (
        "FROM /* WHERE level > 3 INTO $upstream\n"
        "              ^ expected a number, as on the other side of >; properties are text, write as_number(level)"
    )


def test_a_route_longer_than_4096_characters_is_refused():
    with pytest.raises(RouteSyntaxError, match="at most 4096 characters"):
        parse("r", "FROM /messages/*" + " " * 4_096 + "INTO $upstream")


def test_a_device_without_a_condition_does_not_load_the_language_of_conditions():
    code = (
        "import sys; from microedge.hub.parser import parse; from microedge.hub.table import RouteTable; "
        "RouteTable([parse('r', 'FROM /* INTO $upstream')], ttl_s=1); print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert not {f"microedge.hub.{name}" for name in ("condition", "compile", "functions", "expression")} & set(loaded)
