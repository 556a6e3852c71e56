from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microedge.cli.units import clock, count, duration, size


@pytest.mark.parametrize(
    ("byte_count", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (10 * 1024, "10 KiB"),
        (2_516_582, "2.4 MiB"),
        (268_435_456, "256 MiB"),
        (1 << 30, "1.0 GiB"),
        (1 << 40, "1024 GiB"),
    ],
)
def test_a_size_has_the_unit_that_keeps_it_short(byte_count, shown):
    assert size(byte_count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-1, "0.0 s"),
        (0.04, "0.0 s"),
        (3.21, "3.2 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (185, "3 min 5 s"),
        (7_620, "2 h 7 min"),
        (86_400 * 4 + 3_700, "4 d 1 h"),
    ],
)
def test_a_duration_has_the_two_units_that_matter(seconds, shown):
    assert duration(seconds) == shown


@given(st.floats(0, 1e9))
def test_a_duration_always_fits_a_column(seconds):
    assert len(duration(seconds)) <= 12


@pytest.mark.parametrize(("number", "shown"), [(0, "0 messages"), (1, "1 message"), (2000, "2,000 messages")])
def test_a_count_agrees_with_its_noun(number, shown):
    assert count(number, "message") == shown


def test_a_time_of_today_has_no_date():
    now_s = time.mktime((2024, 5, 1, 12, 30, 0, 0, 0, -1))

    assert clock((now_s - 60) * 1000 + 7, now_s) == "12:29:00.007"


def test_a_time_of_another_day_has_its_date():
    now_s = time.mktime((2024, 5, 1, 12, 30, 0, 0, 0, -1))

    assert clock((now_s - 86_400) * 1000, now_s) == "2024-04-30 12:30:00.000"


def test_an_impossible_time_is_shown_as_it_is():
    assert clock(1e30, 0) == "1000000000000000019884624838656 ms"
