"""What an explanation says of each part of a condition."""

from __future__ import annotations

import pytest
from support.conditions import DEVICE, message

from microedge.hub.explain import Clause, describe, explain
from microedge.hub.parser import parse
from microedge.hub.route import Source
from microedge.hub.values import NULL, Value
from microedge.message import Message

MESSAGE = message({"level": 2, "room": {"name": "x"}, "n": None}, properties={"state": "on"})


def clause_of(condition: str, about: Message = MESSAGE) -> Clause:
    clause = explain(parse("r", f"FROM /* WHERE {condition} INTO $upstream"), about, DEVICE).clause
    assert clause is not None
    return clause


def flat(clause: Clause) -> list[tuple[str, Value]]:
    return [(clause.text, clause.value), *(pair for part in clause.parts for pair in flat(part))]


def test_every_part_of_a_condition_is_shown_as_it_is_written_with_its_value():
    assert flat(clause_of("NOT ( $body.level\n>=  3 ) AND lower(state) = 'on' OR missing = 'x'")) == [
        ("NOT ( $body.level >= 3 ) AND lower(state) = 'on' OR missing = 'x'", True),
        ("NOT ( $body.level >= 3 ) AND lower(state) = 'on'", True),
        ("NOT ( $body.level >= 3 )", True),
        ("( $body.level >= 3 )", False),
        ("$body.level", 2.0),
        ("lower(state) = 'on'", True),
        ("lower(state)", "on"),
        ("state", "on"),
        ("missing = 'x'", None),
        ("missing", None),
    ]


@pytest.mark.parametrize(
    ("condition", "about", "reason"),
    [
        ("mode = 'x'", MESSAGE, "the message has no application property mode; it has: state"),
        ("mode = 'x'", message(), "the message has no application property mode; it has: none"),
        ("$contentTyp = 'x'", MESSAGE, "no system property is called $contentTyp"),
        ("$inputName = 'x'", MESSAGE, "the message does not say it"),
        ("$body.room = 'x'", MESSAGE, "an object or an array: only what is in it can be compared"),
        ("$body.rom.name = 'x'", MESSAGE, "the body has no such member"),
        ("$body.n = 'x'", MESSAGE, ""),
        ("$body.level = 2", MESSAGE, ""),
        ("$body.level = 2", message(b"{}", content_type=""), "content type is '', expected 'application/json'"),
        ("$body.level = 2", message(b"{"), "the body is no JSON: Expecting property name enclosed in double quotes"),
    ],
)
def test_a_part_that_is_not_there_says_why(condition: str, about: Message, reason: str):
    assert clause_of(condition, about).parts[0].reason.startswith(reason)
    assert bool(clause_of(condition, about).parts[0].reason) is bool(reason)


def test_a_missing_member_is_null_and_says_that_it_is_missing():
    (part,) = clause_of("$body.rom = null").parts

    assert (part.value, part.reason) == (NULL, "the body has no such member")


@pytest.mark.parametrize(
    ("route", "is_twin_change", "is_source", "is_match"),
    [
        ("FROM /messages/* INTO $upstream", False, True, True),
        ("FROM /messages/modules/other/* INTO $upstream", False, False, False),
        ("FROM /messages/modules/other/* WHERE true INTO $upstream", False, False, False),
        ("FROM /messages/* WHERE false INTO $upstream", False, True, False),
        ("FROM /messages/* WHERE undefined INTO $upstream", False, True, False),
        ("FROM /messages/* INTO $upstream", True, False, False),
        ("FROM /twinChangeNotifications INTO $upstream", True, True, True),
        ("FROM /twinChangeNotifications WHERE twin_change_includes(tags.a) INTO $upstream", True, True, False),
        ("FROM /* WHERE $messageType = 'twinChangeNotification' INTO $upstream", True, True, True),
        ("FROM /* WHERE $messageType = 'twinChangeNotification' INTO $upstream", False, True, False),
        ("FROM /* INTO $upstream", True, True, True),
    ],
)
def test_a_match_needs_the_source_and_the_condition(route: str, is_twin_change: bool, is_source: bool, is_match: bool):
    explanation = explain(parse("r", route), MESSAGE, DEVICE, is_twin_change=is_twin_change)

    assert (explanation.is_source, explanation.is_match) == (is_source, is_match)


def test_system_properties_can_be_given():
    route = parse("r", "FROM /* WHERE $cid = '7' INTO $upstream")

    assert explain(route, MESSAGE, DEVICE, system={"cid": "7"}).is_match


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (Source(), "every output of every module"),
        (Source("probe"), "every output of module probe"),
        (Source("", "alarms"), "output alarms of every module"),
        (Source(kind="twin"), "changes of twins"),
        (Source(kind="all"), "all messages and changes of twins"),
    ],
)
def test_a_source_is_described_in_words(source: Source, words: str):
    assert describe(source) == words
