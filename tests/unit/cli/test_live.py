from __future__ import annotations

from microedge.cli.live import RateLimit


def test_lines_within_the_rate_are_all_shown():
    limit = RateLimit(10)

    assert [limit.admits(n / 10) for n in range(30)] == [True] * 30
    assert limit.take_hidden(4.0) == 0


def test_lines_beyond_the_rate_are_counted_once():
    limit = RateLimit(10)
    shown = [limit.admits(100.0 + n / 1000) for n in range(200)]

    assert sum(shown) == 10
    assert limit.take_hidden(100.5) == 0  # its second is not over
    assert limit.take_hidden(101.1) == 190
    assert limit.take_hidden(101.2) == 0


def test_after_the_count_lines_are_shown_again():
    limit = RateLimit(1)
    limit.admits(0.0)
    limit.admits(0.1)
    limit.take_hidden(1.2)

    assert limit.admits(1.3)
