"""One input of a module: what is under way, and what follows from each answer."""

from __future__ import annotations

from microedge import wire
from microedge.hub.inputs import AHEAD, AHEAD_BYTES, MAX_FAILURES, Answer, InputPort
from microedge.message import Envelope, Message, unpack

ENVELOPE = Envelope("readings")


def port() -> InputPort:
    return InputPort("/modules/valve/inputs/commands", "commands")


def message(number: int, body: bytes = b"{}") -> Message:
    return Message(ENVELOPE, body, "probe", "s", number, 0, 0)


def frame(encoded: bytes) -> wire.Frame:
    (found,) = wire.Decoder(wire.FROM_HUB).feed(encoded)
    return found


def fail(one: InputPort, times: int, *, first_delivery: int = 1) -> list[Answer]:
    """Deliver message 1 again and again; return what the port says to each failure."""
    answers = []
    for delivery in range(first_delivery, first_delivery + times):
        one.deliver(delivery, 100 + delivery, message(1))
        answers.append(one.rejected(delivery, "ValueError: too cold"))
    return answers


def test_a_delivery_carries_the_whole_message():
    kind, number, epoch, head, body = frame(port().deliver(7, 107, message(1, b'{"open":true}')))

    delivered, _ = unpack(body, 0, {})
    assert (kind, number, epoch, head) == (wire.DELIVER, 7, 0, b"commands")
    assert (delivered.message_id, delivered.module, delivered.body) == ("s-1", "probe", b'{"open":true}')


def test_a_handled_message_is_acknowledged():
    one = port()
    one.deliver(1, 101, message(1))

    assert one.accepted(1) == 101


def test_a_number_of_messages_and_of_bytes_is_sent_ahead_and_no_more():
    one, other = port(), port()
    for number in range(AHEAD):
        assert one.room == AHEAD - number
        one.deliver(number, number, message(number))
    other.deliver(1, 1, message(1, b"x" * AHEAD_BYTES))

    assert one.room == 0
    assert other.room == 0
    one.accepted(0)
    other.accepted(1)
    assert one.room == 1
    assert other.room == AHEAD


def test_a_failure_forgets_what_was_sent_ahead_and_brings_it_again_after_a_growing_pause():
    one = port()
    one.deliver(50, 150, message(2))

    answers = fail(one, 4)

    assert answers == [Answer(release=True, pause_s=pause_s) for pause_s in (1.0, 2.0, 4.0, 8.0)]
    assert one.room == AHEAD


def test_a_message_that_fails_five_times_is_set_aside_with_what_it_raised():
    answers = fail(port(), MAX_FAILURES)

    assert answers[-1] == Answer(set_aside=105, text="ValueError: too cold", release=True)


def test_after_it_was_set_aside_the_next_message_starts_counting_anew():
    one = port()
    fail(one, MAX_FAILURES)

    assert fail(one, 1, first_delivery=20) == [Answer(release=True, pause_s=1.0)]


def test_a_success_in_between_wipes_the_slate():
    one = port()
    fail(one, 3)
    one.deliver(10, 110, message(1))
    one.accepted(10)

    assert fail(one, 1, first_delivery=20)[0].pause_s == 1.0


def test_another_message_that_fails_starts_counting_anew():
    one = port()
    fail(one, 3)
    one.deliver(10, 110, message(2))

    assert one.rejected(10, "ValueError").pause_s == 1.0


def test_the_epoch_grows_with_each_failure_so_that_the_module_can_tell_old_from_new():
    one = port()
    fail(one, 2)

    assert frame(one.deliver(9, 109, message(1)))[2] == 2


def test_a_new_process_knows_of_no_epoch():
    one = port()
    fail(one, 2)
    one.opened()

    assert frame(one.deliver(9, 109, message(1)))[2] == 0


def test_a_module_that_ends_by_itself_fails_the_first_message_that_was_under_way():
    one = port()
    for round_ in range(MAX_FAILURES - 1):
        one.deliver(10 * round_ + 1, 1, message(1))
        one.deliver(10 * round_ + 2, 2, message(2))
        assert one.lost(is_failure=True) == Answer(release=True, pause_s=2.0**round_)
    one.deliver(91, 1, message(1))

    answer = one.lost(is_failure=True)

    assert answer == Answer(set_aside=1, text="the module ended while it handled this message", release=True)


def test_a_module_that_was_asked_to_stop_fails_nothing_however_often():
    one = port()
    for delivery in range(1, 20):
        one.deliver(delivery, 100 + delivery, message(1))

        assert one.lost(is_failure=False) == Answer(release=True)
        assert one.room == AHEAD


def test_a_module_that_ends_with_nothing_under_way_changes_nothing():
    assert port().lost(is_failure=True) == Answer()
    assert port().lost(is_failure=False) == Answer()
