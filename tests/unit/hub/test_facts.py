"""When a body can be read, and why it cannot; properties without regard to case."""

from __future__ import annotations

import json

import pytest
from support.conditions import message

from microedge.hub.facts import Facts, Problem, read_body, value_at
from microedge.hub.values import NULL, Value
from microedge.message import Envelope, Message

TEXT = '{"a": "ä"}'


@pytest.mark.parametrize(
    ("content_type", "encoding", "body"),
    [
        ("application/json", "utf-8", TEXT.encode()),
        ("Application/JSON", "UTF-8", TEXT.encode()),
        ("application/json", "utf-8", TEXT.encode("utf-8-sig")),
        ("application/json", "utf-16", TEXT.encode("utf-16-le")),
        ("application/json", "Utf-16", TEXT.encode("utf-16")),
        ("application/json", "utf-16", b"\xfe\xff" + TEXT.encode("utf-16-be")),
        ("application/json", "utf-32", TEXT.encode("utf-32-le")),
        ("application/json", "utf-32", TEXT.encode("utf-32")),
        ("application/json", "utf-32", b"\x00\x00\xfe\xff" + TEXT.encode("utf-32-be")),
    ],
)
def test_a_body_that_says_it_is_json_and_its_encoding_is_read(content_type: str, encoding: str, body: bytes):
    assert read_body(message(body, content_type=content_type, content_encoding=encoding)) == {"a": "ä"}


@pytest.mark.parametrize(
    ("content_type", "encoding", "body", "code", "text"),
    [
        ("", "", b"{}", "content_type", "content type is '', expected 'application/json'"),
        ("text/plain", "utf-8", b"{}", "content_type", "content type is 'text/plain', expected 'application/json'"),
        ("application/json; charset=utf-8", "utf-8", b"{}", "content_type", "charset"),
        ("application/json", "", b"{}", "content_encoding", "content encoding is '', expected 'utf-8', 'utf-16' or"),
        ("application/json", "gzip", b"{}", "content_encoding", "content encoding is 'gzip', expected 'utf-8'"),
        ("application/json", "utf-8", b"", "malformed", "the body is no JSON: Expecting value"),
        ("application/json", "utf-8", b"{'a': 1}", "malformed", "the body is no JSON: "),
        ("application/json", "utf-8", b'{"a": 1} x', "malformed", "the body is no JSON: Extra data"),
        ("application/json", "utf-8", b'{"a": NaN}', "malformed", "NaN is no number of JSON"),
        ("application/json", "utf-8", b'{"a": -Infinity}', "malformed", "-Infinity is no number of JSON"),
        ("application/json", "utf-8", b'{"a": "\xff"}', "malformed", "can't decode byte 0xff"),
        ("application/json", "utf-16", b"{}x", "malformed", "truncated data"),
        ("application/json", "utf-8", TEXT.encode("utf-16"), "malformed", "the body is no JSON: "),
        ("application/json", "utf-8", b"[" * 100_000, "malformed", "it is nested too deeply"),
        ("application/json", "utf-8", b'{"a":' * 50_000, "malformed", "it is nested too deeply"),
        ("application/json", "utf-8", b"[1]", "no_object", "the body is JSON but no object"),
        ("application/json", "utf-8", b"null", "no_object", "the body is JSON but no object"),
        ("application/json", "utf-8", b'"text"', "no_object", "the body is JSON but no object"),
    ],
)
def test_a_body_that_cannot_be_read_says_why(content_type: str, encoding: str, body: bytes, code: str, text: str):
    about = message(body, content_type=content_type, content_encoding=encoding)
    facts = Facts(about, "d")

    assert facts.problem is None
    assert facts.body() is None
    assert isinstance(facts.problem, Problem)
    assert facts.problem.code == code
    assert text in facts.problem.text


def test_every_number_is_a_double_and_the_longest_takes_no_time():
    body = b'{"a": 1, "b": 1e999, "c": ' + b"9" * 200_000 + b"}"
    read = read_body(message(body))

    assert isinstance(read, dict)
    values = [value_at(read, (name,)) for name in "abc"]
    assert values == [1.0, float("inf"), float("inf")]
    assert {type(value) for value in values} == {float}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("a",), "x"),
        (("b", 1), 2.0),
        (("b", 2), NULL),
        (("n",), NULL),
        (("a", "x"), NULL),
        (("a", 0), NULL),
        (("b", "x"), NULL),
        (("o", 0), NULL),
        (("o",), None),
        (("b",), None),
        (("t",), True),
        (("e",), ""),
    ],
)
def test_a_value_of_the_body_by_its_path(path: tuple[str | int, ...], expected: Value):
    body = {"a": "x", "b": [1.0, 2.0], "n": None, "o": {"0": 1.0}, "t": True, "e": ""}

    assert value_at(body, path) == expected
    assert type(value_at(body, path)) is type(expected)


def test_a_property_is_found_by_its_exact_name_first_and_then_without_regard_to_case():
    facts = Facts(message(properties={"STATE": "1", "state": "2", "Empty": ""}), "d")

    assert facts.property("state", "state") == "2"
    assert facts.property("STATE", "state") == "1"
    assert facts.property("State", "state") == "2"
    assert facts.property("empty", "empty") == ""
    assert facts.property("none", "none") is None


def test_a_clock_that_says_a_year_beyond_9999_gives_no_creation_time():
    about = Message(Envelope("o"), b"", "m", "s", 1, 0, 1 << 48)

    assert Facts(about, "d").system_property("creationtime") is None


def test_system_properties_may_be_replaced():
    facts = Facts(message(), "d", system={"cid": "7", "connectiondeviceid": "other"})

    assert [facts.system_property(name) for name in ("cid", "connectiondeviceid", "outputname")] == [
        "7",
        "other",
        "readings",
    ]


def test_the_input_is_a_system_property_of_messages_that_have_been_delivered():
    about = message(json.loads("{}"))
    about.input = "commands"

    assert Facts(about, "d").system_property("inputname") == "commands"
