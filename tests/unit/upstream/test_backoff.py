from hypothesis import given
from hypothesis import strategies as st

from microedge.upstream.backoff import Backoff


def delays(random: float, count: int) -> list[float]:
    backoff = Backoff(lambda: random)
    return [backoff.next_s() for _ in range(count)]


def test_the_longest_delays_double_from_two_seconds_to_a_minute():
    assert delays(1.0, 7) == [2, 4, 8, 16, 32, 60, 60]


def test_the_shortest_delay_stays_one_second():
    assert delays(0.0, 7) == [1] * 7


def test_a_good_connection_starts_it_again():
    backoff = Backoff(lambda: 1.0)
    for _ in range(5):
        backoff.next_s()

    backoff.reset()

    assert backoff.next_s() == 2


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_every_delay_lies_between_one_second_and_one_minute(numbers):
    backoff = Backoff(iter(numbers).__next__)

    assert all(1 <= backoff.next_s() <= 60 for _ in numbers)
