from __future__ import annotations

import json

import pytest
from support.upstream_owner import make_message

from microedge.cli.verify_analysis import Sighting
from microedge.cli.verify_parse import Topics, filter_of, read_line, read_message
from microedge.upstream.document import encode_envelope, encode_line

CREATED_MS = 1_715_938_200_250
USER = {"microedge-id": "s1-7", "microedge-sequence": "7", "microedge-created": "2024-05-17T09:30:00.250Z"}
TOPIC = "microedge/hall-3/probe/readings"
SEEN = Sighting("hall-3", "probe", "s1", 7, 0, CREATED_MS)


def message(elsewhere: int = 0):
    made = make_message(7)
    made.elsewhere = elsewhere
    return made


def test_a_line_of_the_file_upstream_is_read():
    assert read_line(encode_line(message(2)), Topics()) == SEEN._replace(device="", elsewhere=2)


def test_an_envelope_alone_is_read():
    assert read_line(encode_envelope(message(2)), Topics()) == SEEN._replace(device="", module="?", elsewhere=2)


@pytest.mark.parametrize("payload", ["text", {"n": 1}, '{"id": 1}', None])
def test_what_mosquitto_sub_records_of_mqtt_5_is_read(payload):
    properties = {"user-properties": {**USER, "microedge-elsewhere": "2"}}
    line = json.dumps({"tst": "x", "topic": TOPIC, "qos": 1, "properties": properties, "payload": payload})

    assert read_line(line.encode(), Topics()) == SEEN._replace(elsewhere=2)


@pytest.mark.parametrize("read", [str, json.loads])
def test_what_mosquitto_sub_records_of_envelopes_is_read(read):
    payload = read(encode_envelope(message(2)).decode())

    line = json.dumps({"topic": TOPIC, "payload": payload}).encode()

    assert read_line(line, Topics()) == SEEN._replace(elsewhere=2)


@pytest.mark.parametrize(
    ("properties", "body"), [(USER, b"\xff"), ({}, encode_envelope(make_message(7))), (USER, b'{"id":"x-1"}')]
)
def test_a_message_from_a_broker_is_read(properties, body):
    assert read_message(TOPIC, properties, body, Topics()) == SEEN


@pytest.mark.parametrize("body", [b"", b"text", b"{broken", b"\xff", b"[" * 100_000, b'{"id":"a-1"}', b"{" * 100_000])
def test_a_message_of_somebody_else_is_none_of_microedge(body):
    assert read_message("a/b", {}, body, Topics()) is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"garbage", "no JSON"),
        (b'{"message_id":"a-1","mod', "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[1]", "no JSON object"),
        (b'{"message_id":"a"}', "'a' is no message id"),
        (b'{"message_id":"a-0"}', "'a-0' is no message id"),
        (b'{"message_id":"a-99999999999999999999"}', "is no message id"),
        (b'{"message_id":7}', "7 is no message id"),
        (b'{"message_id":"a-7","elsewhere":7}', "elsewhere 7: expected 0 to 6"),
        (b'{"message_id":"a-7","elsewhere":-1}', "expected 0 to 6"),
        (b'{"message_id":"a-7","elsewhere":"x"}', "expected 0 to 6"),
        (b'{"message_id":"a-7","elsewhere":true}', "expected 0 to 6"),
        (b'{"message_id":"a-9000000000000000000"}', "expected 0 to"),
    ],
)
def test_what_cannot_be_read_says_why(line, said):
    with pytest.raises(ValueError, match=said):
        read_line(line, Topics())


@pytest.mark.parametrize(
    "created", [None, 7, "", "2024-05-17", "2024-13-17T09:30:00.250Z", "2024-05-17T09:30:00.²50Z", "x" * 24]
)
def test_a_time_that_is_none_is_unknown(created):
    line = json.dumps({"message_id": "s1-7", "module": "probe", "created": created}).encode()

    assert read_line(line, Topics()) == Sighting("", "probe", "s1", 7, 0, -1)


def test_changes_of_twins_are_one_run_whichever_module_they_are_about():
    seen = [read_line(b'{"message_id":"twins-ab-1","module":"%b"}' % name, Topics()) for name in (b"a", b"b")]

    assert [each and (each.module, each.session) for each in seen] == [("(twin changes)", "twins-ab")] * 2


@pytest.mark.parametrize(
    ("template", "device", "topic", "expected"),
    [
        ("microedge/{device}/{module}/{output}", "", TOPIC, ("hall-3", "probe")),
        ("microedge/{device}/{module}/{output}", "", "other/topic", ("", "other/topic")),
        ("site/{module}", "hall-3", "site/probe", ("hall-3", "probe")),
        ("x-{module}.{output}/{device}", "", "x-probe.readings/d", ("d", "probe")),
        ("{device}/{device}/{module}", "", "d/d/probe", ("d", "probe")),
        ("fixed", "d", "fixed", ("d", "fixed")),
    ],
)
def test_a_topic_names_device_and_module_as_its_template_says(template, device, topic, expected):
    assert Topics(template, device).names_in(topic) == expected


@pytest.mark.parametrize(
    ("template", "device", "expected"),
    [
        ("microedge/{device}/{module}/{output}", "", "microedge/+/+/+"),
        ("microedge/{device}/{module}/{output}", "hall-3", "microedge/hall-3/+/+"),
        ("a/x-{module}.{output}/b", "", "a/+/b"),
    ],
)
def test_a_filter_takes_all_outputs(template, device, expected):
    assert filter_of(template, device) == expected
