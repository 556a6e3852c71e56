from __future__ import annotations

import pytest

from microedge.supervisor.drain_window import MAX_MESSAGES, TARGET_S, DrainWindow


def drain(per_s: float, delay_s: float, seconds: float) -> tuple[DrainWindow, float]:
    """Drain through a link that carries `per_s` messages a second; return the window and the last delay."""
    window, now_s, ticket, in_flight, free_s, late_s = DrainWindow(), 0.0, 0, [], 0.0, 0.0
    while now_s < seconds:
        while len(in_flight) < int(window.messages):
            ticket += 1
            free_s = max(free_s, now_s) + 1 / per_s
            in_flight.append((ticket, now_s, free_s + delay_s))
            window.leased(ticket, now_s)
        ticket_done, sent_s, now_s = in_flight.pop(0)
        late_s = now_s - sent_s
        window.delivered([ticket_done], now_s)
    return window, late_s


@pytest.mark.parametrize(("per_s", "delay_s"), [(20, 0.05), (100, 0.05), (400, 0.05), (100, 0.6)])
def test_what_is_under_way_on_a_slow_link_is_worth_less_than_a_second_beside_its_way(per_s, delay_s):
    window, late_s = drain(per_s, delay_s, 60)

    assert late_s - delay_s < 2 * TARGET_S
    assert window.messages >= min(per_s * delay_s, MAX_MESSAGES)  # the link is never idle


def test_a_fast_link_has_the_whole_window():
    assert drain(10_000, 0.01, 5)[0].messages == MAX_MESSAGES


def test_after_a_loss_the_way_is_measured_anew():
    window, _ = drain(100, 0.01, 20)
    window.lost()
    window.leased(1, 100.0)
    before = window.messages
    window.delivered([1], 103.0)

    assert window.messages > before
