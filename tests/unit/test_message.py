from __future__ import annotations

import pytest

from microedge.message import (
    BATCHED,
    IMMEDIATE,
    MAX_PROPERTIES,
    MAX_TTL_S,
    TIME_QUALITIES,
    Envelope,
    Message,
    encode_body,
    pack,
    unpack,
)


def a_message(body: bytes = b'{"celsius":21}', **envelope: object) -> Message:
    return Message(Envelope("readings", **envelope), body, "probe", "s1", 7, 1_000, 1_700_000_000_000)


def facts(message: Message) -> tuple[object, ...]:
    times = message.taken_ms, message.created_ms, message.elsewhere
    return (message.envelope.raw, message.body, message.module, message.session, message.sequence, message.input, times)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"output": ""}, "output = ''"),
        ({"output": "a/b"}, "output = 'a/b'"),
        ({"output": 3}, "output = 3"),
        ({"content_type": "x" * 129}, "content_type"),
        ({"content_type": "a\nb"}, "content_type"),
        ({"content_encoding": 8}, "content_encoding = 8"),
        ({"ttl_s": -2}, "ttl_s = -2"),
        ({"ttl_s": True}, "ttl_s = True"),
        ({"ttl_s": 1.5}, "ttl_s = 1.5"),
        ({"ttl_s": MAX_TTL_S + 1}, "ttl_s = 4294967296"),
        ({"durability": "forever"}, "durability = 'forever'"),
        ({"properties": {"": "x"}}, "property ''"),
        ({"properties": {"a": 1}}, "property 'a' = 1"),
        ({"properties": {"a": "b\0"}}, "property 'a'"),
        ({"properties": ["a"]}, "properties"),
        ({"properties": {str(number): "" for number in range(MAX_PROPERTIES + 1)}}, "properties"),
    ],
)
def test_a_wrong_envelope_is_refused_with_its_key_and_value(wrong, named):
    members = {"output": "readings", **wrong}

    with pytest.raises(ValueError, match="expected") as caught:
        Envelope(members.pop("output"), **members)

    assert str(caught.value).startswith(named)


@pytest.mark.parametrize("ttl_s", [None, -1, 0, MAX_TTL_S])
def test_every_time_to_live_of_the_range_is_kept(ttl_s):
    assert Envelope.decode(Envelope("o", ttl_s=ttl_s).raw).ttl_s == ttl_s


def test_equal_envelopes_have_equal_bytes_and_say_only_what_is_not_the_default():
    assert Envelope("o", durability=BATCHED).raw == b'{"output":"o"}'
    assert Envelope("o", properties={"a": "b"}).raw == Envelope("o", properties={"a": "b"}).raw


def test_an_envelope_survives_encoding():
    envelope = Envelope(
        "o", content_type="text/plain", content_encoding="utf-8", properties={"ä": "ö"}, ttl_s=5, durability=IMMEDIATE
    )

    again = Envelope.decode(envelope.raw)

    assert all(getattr(again, name) == getattr(envelope, name) for name in Envelope.__slots__)


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"7", b"null", b"{}", b'{"output":"o","colour":"red"}', b"\xff", b"[" * 100_000, b'{"output":"o"'],
)
def test_what_is_no_envelope_is_a_value_error(raw):
    with pytest.raises(ValueError, match=r"."):
        Envelope.decode(raw)


def test_a_message_has_the_size_that_iot_edge_counts():
    message = a_message(b"12345", content_type="text/plain", properties={"ä": "b"})

    assert message.size_bytes == 5 + len("readings") + len("text/plain") + len("ä".encode()) + len("b")


def test_a_message_id_names_session_and_sequence():
    message = a_message()

    assert message.message_id == "s1-7"
    assert repr(message) == "<Message s1-7 probe/readings bytes=14>"


def test_a_message_shows_its_envelope():
    message = a_message(content_type="text/plain", content_encoding="utf-8", properties={"a": "b"})

    assert (message.output, message.properties) == ("readings", {"a": "b"})
    assert (message.content_type, message.content_encoding) == ("text/plain", "utf-8")


def test_a_json_body_is_decoded_on_request():
    assert a_message().json() == {"celsius": 21}


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe\xfd", b"[" * 100_000])
def test_a_body_that_is_not_json_is_a_value_error(body):
    with pytest.raises(ValueError, match=r"."):
        a_message(body).json()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"\x00\x01", (b"\x00\x01", "", "")),
        (bytearray(b"x"), (b"x", "", "")),
        (memoryview(b"x"), (b"x", "", "")),
        ("grüße", ("grüße".encode(), "text/plain", "utf-8")),
        ({"a": [1, None]}, (b'{"a":[1,null]}', "application/json", "utf-8")),
        (["ü"], ('["ü"]'.encode(), "application/json", "utf-8")),
        (21.5, (b"21.5", "application/json", "utf-8")),
        (None, (b"null", "application/json", "utf-8")),
    ],
)
def test_a_body_says_what_it_is(body, expected):
    assert encode_body(body) == expected


@pytest.mark.parametrize(("body", "kind"), [(float("nan"), ValueError), ({1, 2}, TypeError), ({"a": b"x"}, TypeError)])
def test_a_body_that_json_cannot_express_is_refused(body, kind):
    with pytest.raises(kind):
        encode_body(body)


def test_a_record_gives_the_message_back_and_says_where_the_next_begins():
    first, second = a_message(), a_message(b"", properties={"a": "b"})
    second.input, second.elsewhere = "commands", 2**40
    record = pack(first) + pack(second)

    again, middle = unpack(record, 0, {})
    last, end = unpack(record, middle, {})

    assert facts(again) == facts(first)
    assert facts(last) == facts(second)
    assert end == len(record)


def test_a_record_is_longer_only_where_messages_went_elsewhere():
    plain, message = pack(a_message()), a_message()
    message.elsewhere = 1
    record = pack(message)

    assert len(record) == len(plain) + 8
    with pytest.raises(ValueError, match="record at byte 0 is cut: 1 bytes missing"):
        unpack(record[:-1], 0, {})


@pytest.mark.parametrize("quality", TIME_QUALITIES)
def test_a_record_says_how_good_the_time_is_and_knows_times_before_this_boot(quality):
    message = a_message()
    message.taken_ms, message.time_quality = -5_000, quality

    found, _ = unpack(pack(message), 0, {})

    assert (found.taken_ms, found.created_ms, found.time_quality) == (-5_000, message.created_ms, quality)


def test_an_envelope_is_decoded_once_for_many_records():
    envelopes: dict[bytes, Envelope] = {}
    record = pack(a_message())

    first, _ = unpack(record, 0, envelopes)
    second, _ = unpack(record, 0, envelopes)

    assert first.envelope is second.envelope
    assert len(envelopes) == 1


@pytest.mark.parametrize("kept", [0, 1, 30, 45, -1])
def test_a_record_that_ends_too_early_is_a_value_error(kept):
    with pytest.raises(ValueError, match=r"record at byte 0|envelope"):
        unpack(pack(a_message())[:kept], 0, {})
