import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.upstream_owner import make_message

from microedge.upstream.document import encode_envelope, encode_line, iso8601


def test_a_line_holds_all_that_the_message_says():
    message = make_message(7, b'{"celsius": 21.50}', content_type="application/json", properties={"unit": "°C"})

    assert encode_line(message).decode() == (
        '{"message_id":"s1-7","module":"probe","output":"readings","created":"2024-05-17T09:30:00.250Z",'
        '"time_quality":"synced","content_type":"application/json","properties":{"unit":"°C"},'
        '"body":{"celsius": 21.50}}\n'
    )


def test_an_envelope_names_id_and_sequence():
    assert json.loads(encode_envelope(make_message(7, b"on", content_type="text/plain"))) == {
        "id": "s1-7",
        "sequence": 7,
        "created": "2024-05-17T09:30:00.250Z",
        "time_quality": "synced",
        "content_type": "text/plain",
        "properties": {},
        "body": "on",
    }


def test_a_message_says_how_many_of_its_run_were_not_for_upstream_if_there_were_any():
    message = make_message(7)
    message.elsewhere = 3

    assert json.loads(encode_line(message))["elsewhere"] == 3
    assert json.loads(encode_envelope(message))["elsewhere"] == 3
    assert "elsewhere" not in json.loads(encode_line(make_message(7)))


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("application/json", b"[1,\n 2]", [1, 2]),
        ("application/senml+json; charset=utf-8", b"1", 1),
        ("application/json", b"{broken", "{broken"),
        ("application/json", b"NaN", "NaN"),
        ("application/json", b"[" * 100_000, "[" * 100_000),
        ("text/plain", b'{"a":1}', '{"a":1}'),
        ("", "°C".encode(), "°C"),
        ("", b"", ""),
    ],
)
def test_a_body_is_a_json_value_where_it_is_one_and_text_otherwise(content_type, body, expected):
    message = make_message(1, content_type=content_type)
    message.body = body

    assert json.loads(encode_line(message))["body"] == expected


@given(st.binary(), st.sampled_from(["application/json", "text/plain", ""]))
def test_any_body_gives_one_line_from_which_it_can_be_read_back(body, content_type):
    message = make_message(1, content_type=content_type)
    message.body = body

    line = encode_line(message)

    members = json.loads(line)
    assert line.count(b"\n") == 1
    if "body_base64" in members:
        assert base64.b64decode(members["body_base64"]) == body
    elif members["body"] != body.decode():
        assert content_type == "application/json"
        assert members["body"] == json.loads(body)


@given(st.integers(0, 2**63))
def test_a_time_always_has_24_characters(epoch_ms):
    assert len(iso8601(epoch_ms)) == 24
