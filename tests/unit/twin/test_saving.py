"""When a twin is written."""

from __future__ import annotations

from microedge.twin.saving import SaveTimer, Urgency

NOTHING, LATER, SOON, NOW = Urgency.NOTHING, Urgency.LATER, Urgency.SOON, Urgency.NOW


def test_what_somebody_asked_for_is_due_at_once():
    assert SaveTimer().due_ms(NOW, 5_000) == 5_000


def test_nothing_is_due_when_nothing_waits():
    assert SaveTimer().due_ms(NOTHING, 5_000) is None


def test_the_first_reports_are_gathered_for_a_second():
    timer = SaveTimer()

    assert [timer.due_ms(LATER, now_ms) for now_ms in (40_000, 40_500, 41_000)] == [41_000] * 3


def test_a_request_among_reports_does_not_wait():
    timer = SaveTimer()
    timer.due_ms(LATER, 40_000)

    assert timer.due_ms(NOW, 40_100) <= 40_100


def test_a_module_that_reports_ten_times_a_second_costs_two_writes_a_minute():
    timer, written = SaveTimer(), []

    for now_ms in range(0, 600_000, 100):
        due_ms = timer.due_ms(LATER, now_ms)
        if due_ms <= now_ms:
            timer.started(now_ms)
            written.append(now_ms)

    assert len(written) == 20
    assert max(late - early for early, late in zip(written, written[1:])) <= 30_100


def test_a_report_after_a_quiet_time_waits_a_second_and_no_longer():
    timer = SaveTimer()
    timer.started(0)
    timer.due_ms(NOTHING, 1)

    assert timer.due_ms(LATER, 100_000) == 101_000


def test_a_failed_write_is_tried_again_but_not_at_once():
    timer = SaveTimer()
    timer.started(1_000)
    timer.failed(1_010)

    assert timer.due_ms(NOW, 1_020) == 31_010


def test_versions_are_reserved_at_once_but_not_again_within_three_seconds():
    timer = SaveTimer()
    assert timer.due_ms(SOON, 5_000) == 5_000
    timer.started(5_000)

    assert timer.due_ms(SOON, 5_100) == 8_000
    assert timer.due_ms(NOW, 5_200) <= 5_200
