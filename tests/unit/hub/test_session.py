"""The hub's side of a module's connection: window, sequence, acknowledgement."""

from __future__ import annotations

import pytest

from microedge import wire
from microedge.errors import RemoteProtocolError
from microedge.hub.session import WINDOW, WINDOW_BYTES, Session
from microedge.message import MAX_MESSAGE_BYTES, Envelope

HEAD = Envelope("readings").raw
HEAD_BYTES = Envelope("readings").size_bytes


def send(sequence: int, body: bytes = b"{}", *, head: bytes = HEAD, time_ms: int = 5_000) -> bytes:
    return wire.encode(wire.SEND, sequence, time_ms=time_ms, head=head, body=body)


def session() -> Session:
    return Session("probe", "s1")


def test_a_message_gets_its_identity_its_module_and_both_clocks():
    received = session().receive(send(1, b'{"celsius":21}', time_ms=5_000), clock_offset_ms=1_700_000_000_000)

    (message,) = received.messages
    assert (message.message_id, message.module, message.output) == ("s1-1", "probe", "readings")
    assert (message.body, message.taken_ms, message.created_ms) == (b'{"celsius":21}', 5_000, 1_700_000_005_000)


def test_a_clock_that_is_younger_than_the_boot_gives_no_negative_time():
    (message,) = session().receive(send(1, time_ms=5_000), clock_offset_ms=-10_000).messages

    assert message.created_ms == 0


def test_a_time_that_no_clock_shows_is_refused():
    """It would not fit into the integers of a message record: one module's lie would reach everybody."""
    with pytest.raises(RemoteProtocolError, match=f"time_ms={2**64 - 1}"):
        session().receive(send(1, time_ms=2**64 - 1), 1_700_000_000_000)


def test_ready_progress_and_answers_are_told_apart():
    stream = wire.encode(wire.READY) + wire.encode(wire.PROGRESS) + wire.encode(wire.DONE, 7)
    stream += wire.encode(wire.DONE, 8, head="ValueError: größer".encode())

    received = session().receive(stream, 0)

    assert received.is_ready
    assert received.done == [(7, ""), (8, "ValueError: größer")]
    assert received.messages == []


def test_what_a_handler_raised_is_one_short_line_whatever_the_module_sends():
    one = session()
    shouting = wire.encode(wire.DONE, 7, head=b"\x1b[2J\xff\n") + wire.encode(wire.DONE, 8, head=b"x" * 60_000)

    (_, escaped), (_, cut) = one.receive(shouting, 0).done
    assert escaped == "\\x1b[2J\\xff\\n"
    assert cut == "x" * 1_000 + "…"


def test_reports_are_told_apart_and_their_content_is_left_to_the_twin():
    stream = wire.encode(wire.REPORT, 1, body=b'{"a":{"b":null}}') + wire.encode(wire.REPORT, 2, body=b"[1]")

    assert session().receive(stream, 0).reports == [(1, {"a": {"b": None}}), (2, [1])]


@pytest.mark.parametrize("body", [b"{", b"NaN", b"\xff", b"[" * 60_000, b" " * 131_073])
def test_a_report_that_is_no_json_is_refused(body: bytes):
    with pytest.raises(RemoteProtocolError, match=f"report of bytes={len(body)}"):
        session().receive(wire.encode(wire.REPORT, 1, body=body), 0)


def test_equal_envelopes_are_decoded_once():
    first, second = session().receive(send(1) + send(2), 0).messages

    assert first.envelope is second.envelope


def test_any_number_of_different_envelopes_is_taken():
    one = session()

    for number in range(1, 2_500):
        head = Envelope("readings", properties={"n": str(number)}).raw
        (message,) = one.receive(send(number, head=head), 0).messages
        assert one.acknowledgement() == wire.encode(wire.ACK, number)
        assert message.properties == {"n": str(number)}


@pytest.mark.parametrize("sequence", [0, 2, 2**64 - 1])
def test_the_first_message_has_sequence_1(sequence: int):
    with pytest.raises(RemoteProtocolError, match=f"sequence={sequence}: expected 1"):
        session().receive(send(sequence), 0)


@pytest.mark.parametrize("sequence", [1, 3])
def test_a_gap_or_a_repetition_in_the_sequence_is_refused(sequence: int):
    one = session()
    one.receive(send(1), 0)

    with pytest.raises(RemoteProtocolError, match=f"sequence={sequence}: expected 2"):
        one.receive(send(sequence), 0)


def test_a_full_window_is_taken_and_one_message_more_is_refused():
    one = session()
    received = one.receive(b"".join(send(number + 1) for number in range(WINDOW)), 0)
    for message in received.messages:
        message.waiting = 1
    assert one.unacknowledged == WINDOW

    with pytest.raises(RemoteProtocolError, match=f"{WINDOW + 1} unacknowledged messages"):
        one.receive(send(WINDOW + 1), 0)


def test_a_window_full_of_bytes_is_taken_and_one_byte_more_is_refused():
    one = session()
    body = b"x" * (WINDOW_BYTES // 8 - HEAD_BYTES)
    for number in range(1, 9):
        one.receive(send(number, body), 0)

    with pytest.raises(RemoteProtocolError, match="unacknowledged messages of bytes="):
        one.receive(send(9, b""), 0)


def test_an_acknowledgement_moves_the_window():
    one = session()
    one.receive(b"".join(send(number + 1) for number in range(WINDOW)), 0)

    assert one.acknowledgement() == wire.encode(wire.ACK, WINDOW)
    assert len(one.receive(send(WINDOW + 1), 0).messages) == 1
    assert one.unacknowledged == 1


def test_messages_settled_out_of_order_are_acknowledged_in_order():
    one = session()
    first, second, third = one.receive(send(1) + send(2) + send(3), 0).messages
    first.waiting = second.waiting = third.waiting = 1

    third.waiting = 0
    assert one.acknowledgement() == b""
    first.waiting = 0
    assert one.acknowledgement() == wire.encode(wire.ACK, 1)
    second.waiting = 0
    assert one.acknowledgement() == wire.encode(wire.ACK, 3)
    assert one.acknowledgement() == b""


def test_a_message_of_the_largest_size_is_taken_and_a_larger_one_is_refused():
    largest = b"x" * (MAX_MESSAGE_BYTES - HEAD_BYTES)

    assert len(session().receive(send(1, largest), 0).messages) == 1
    with pytest.raises(RemoteProtocolError, match=f"bytes={MAX_MESSAGE_BYTES + 1}"):
        session().receive(send(1, largest + b"x"), 0)


@pytest.mark.parametrize(
    "head",
    [b"", b"{", b"[]", b"null", b"{}", b'{"output":"no/slash"}', b'{"output":"o","extra":1}', b"\xff", b"[" * 60_000],
)
def test_a_head_that_is_no_envelope_is_refused(head: bytes):
    with pytest.raises(RemoteProtocolError, match="message head"):
        session().receive(send(1, head=head), 0)


def test_a_frame_that_only_the_hub_may_send_is_refused():
    with pytest.raises(RemoteProtocolError, match="type=65"):
        session().receive(wire.encode(wire.START, body=b"{}"), 0)


def test_a_frame_that_is_cut_off_is_no_message():
    one = session()

    assert one.receive(send(1)[:-1], 0).messages == []
    assert one.received == 0
