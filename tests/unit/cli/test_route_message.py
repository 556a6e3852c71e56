"""From a JSON text to the message that a route is tried on."""

from __future__ import annotations

import base64
import json

import pytest

from microedge.cli.failure import CommandError
from microedge.cli.route_message import MAX_FILE_BYTES, message_of
from microedge.hub.facts import read_body


def test_every_key_may_be_left_out():
    given = message_of("{}")

    message = given.message
    assert (message.module, message.output, message.content_type, message.body) == ("module", "output", "", b"")
    assert not given.is_twin_change
    assert given.system == {}


@pytest.mark.parametrize(
    ("fields", "content_type", "encoding", "body"),
    [
        ({"body": {"a": "ä"}}, "application/json", "utf-8", '{"a": "ä"}'.encode()),
        ({"body": [1]}, "application/json", "utf-8", b"[1]"),
        ({"body": None}, "application/json", "utf-8", b"null"),
        ({"body": "text"}, "", "", b"text"),
        ({"body": '{"a": 1}', "content_type": "application/json"}, "application/json", "", b'{"a": 1}'),
        ({"body": {}, "content_type": "", "content_encoding": ""}, "", "", b"{}"),
        ({"body_base64": base64.b64encode(b"\xff").decode()}, "", "", b"\xff"),
    ],
)
def test_a_body_that_is_no_text_becomes_json_as_in_the_sdk(fields, content_type, encoding, body):
    message = message_of(json.dumps(fields)).message

    assert (message.content_type, message.content_encoding, message.body) == (content_type, encoding, body)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32", "UTF-16"])
def test_a_body_is_encoded_as_its_message_says(encoding):
    fields = {"body": {"a": "ä"}, "content_encoding": encoding}

    assert read_body(message_of(json.dumps(fields)).message) == {"a": "ä"}


def test_what_tail_prints_is_a_message():
    line = {
        "module": "north",
        "output": "readings",
        "time_ms": 1_700_000_000_000,
        "message_id": "s-7",
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "properties": {"state": "on"},
        "body": '{"level": 3}',
    }

    given = message_of(json.dumps(line))
    assert read_body(given.message) == {"level": 3.0}
    assert given.message.created_ms == 1_700_000_000_000
    assert given.system == {"messageid": "s-7", "edgemessageid": "s-7"}


def test_system_properties_are_named_with_or_without_their_sign_in_any_case():
    given = message_of('{"system": {"$CID": "7", "userId": "me"}, "origin": "twin"}')

    assert given.system == {"cid": "7", "userid": "me"}
    assert given.is_twin_change


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "the message is not JSON"),
        ("[" * 100_000, "the message is not JSON"),
        ("[]", "the message is JSON but no object"),
        ('{"modul": "x"}', "the message has an unknown key 'modul'"),
        ('{"module": 1}', "module in the message: found 1"),
        ('{"properties": []}', r"properties in the message: found \[\]"),
        ('{"properties": {"level": 3}}', "properties.level = 3: expected a text"),
        ('{"system": {"cid": null}}', "system.cid = null: expected a text"),
        ('{"origin": "cloud"}', "origin in the message: found 'cloud'"),
        ('{"output": "a/b"}', "output = 'a/b': expected a port name"),
        ('{"body_base64": "?"}', "body_base64: "),
        (" " * (MAX_FILE_BYTES + 1), "the message is longer than"),
    ],
)
def test_a_wrong_message_says_what_is_wrong(text, expected):
    with pytest.raises(CommandError, match=expected) as caught:
        message_of(text)

    assert caught.value.exit_code == 2
    assert caught.value.advice
