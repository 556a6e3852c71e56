"""One input of a module: what is under way, and what follows from each answer."""

from __future__ import annotations

from microedge import wire
from microedge.hub.inputs import MAX_FAILURES, WINDOW_BYTES, Answer, InputPort
from microedge.message import Envelope, Message, unpack

ENVELOPE = Envelope("readings")
WINDOW = 32


def port() -> InputPort:
    one = InputPort("/modules/valve/inputs/commands", "commands")
    one.opened(WINDOW)
    return one


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
    for number in range(WINDOW):
        assert one.room == WINDOW - number
        one.deliver(number, number, message(number))
    other.deliver(1, 1, message(1, b"x" * WINDOW_BYTES))

    assert one.room == 0
    assert other.room == 0
    one.accepted(0)
    other.accepted(1)
    assert one.room == 1
    assert other.room == WINDOW


def test_what_is_sent_ahead_at_once_fits_the_bytes_that_are_left():
    one = port()
    assert one.room_bytes == WINDOW_BYTES
    one.deliver(1, 1, message(1, b"x" * 1_000))
    assert one.room_bytes == WINDOW_BYTES - 1_000
    one.deliver(2, 2, message(2, b"x" * WINDOW_BYTES))

    assert one.room_bytes == 1


def test_a_failure_forgets_what_was_sent_ahead_and_brings_it_again_after_a_growing_pause():
    one = port()
    one.deliver(50, 150, message(2))

    answers = fail(one, 4)

    assert answers == [Answer(release=True, pause_s=pause_s) for pause_s in (1.0, 2.0, 4.0, 8.0)]
    assert one.room == WINDOW


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


def test_a_success_of_a_more_urgent_message_does_not_wipe_the_slate_of_the_one_that_fails():
    one = port()
    fail(one, 3)
    one.deliver(10, 110, message(7))
    one.accepted(10)

    assert fail(one, 1, first_delivery=20)[0].pause_s == 8.0


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
    one.opened(WINDOW)

    assert frame(one.deliver(9, 109, message(1)))[2] == 0


def kinds(one: InputPort, *numbers: int, first_delivery: int) -> list[int]:
    """Deliver messages and return the types of the frames."""
    return [frame(one.deliver(first_delivery + n, n, message(n)))[0] for n in numbers]


def test_the_end_of_a_process_alone_counts_against_no_message_however_often():
    one = port()
    for round_ in range(3 * MAX_FAILURES):
        kinds(one, 1, 2, first_delivery=10 * round_)

        assert one.lost(is_failure=True) == Answer(release=True)


def test_what_was_under_way_when_a_process_ended_is_suspect_until_it_is_handled():
    one = port()
    kinds(one, 1, 2, first_delivery=10)
    one.lost(is_failure=True)

    assert kinds(one, 1, 2, 3, first_delivery=20) == [wire.SUSPECT, wire.SUSPECT, wire.DELIVER]
    one.accepted(21)
    one.lost(is_failure=False)
    assert kinds(one, 1, 2, 3, first_delivery=30) == [wire.DELIVER, wire.SUSPECT, wire.DELIVER]


def test_a_suspect_that_ends_its_process_after_it_has_begun_has_failed():
    one = port()
    kinds(one, 1, 2, first_delivery=1)
    one.lost(is_failure=True)
    answers = []
    for round_ in range(1, MAX_FAILURES + 1):
        kinds(one, 2, 3, first_delivery=10 * round_)
        one.begun(10 * round_ + 2)
        answers.append(one.lost(is_failure=True))

    assert answers[:-1] == [Answer(release=True, pause_s=pause_s) for pause_s in (1.0, 2.0, 4.0, 8.0)]
    assert answers[-1] == Answer(set_aside=2, text="the module ended while it handled this message", release=True)


def test_a_suspect_that_was_handled_does_not_fail_by_what_comes_after_it():
    one = port()
    kinds(one, 1, 2, first_delivery=10)
    one.lost(is_failure=True)
    kinds(one, 1, 2, first_delivery=20)
    one.begun(21)
    one.accepted(21)

    assert one.lost(is_failure=True) == Answer(release=True)


def test_a_window_of_one_sends_nothing_ahead():
    one = port()
    one.opened(1)
    one.deliver(1, 101, message(1))
    assert one.room == 0
    one.accepted(1)

    assert one.room == 1


def test_a_module_that_was_asked_to_stop_fails_nothing_however_often():
    one = port()
    for delivery in range(1, 20):
        one.deliver(delivery, 100 + delivery, message(1))

        assert one.lost(is_failure=False) == Answer(release=True)
        assert one.room == WINDOW


def test_a_module_that_ends_with_nothing_under_way_changes_nothing():
    assert port().lost(is_failure=True) == Answer()
    assert port().lost(is_failure=False) == Answer()
