from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from microedge.upstream.poison import STRIKES, PoisonWatch

WINDOW = 8


def test_nothing_is_limited_or_suspected_at_first():
    watch = PoisonWatch()

    assert (watch.limit(WINDOW), watch.suspect) == (WINDOW, "")
    assert watch.lost([], 0) == ""
    assert watch.limit(WINDOW) == WINDOW


def test_a_loss_without_any_acknowledgement_lets_one_message_through_at_a_time():
    watch = PoisonWatch()

    assert watch.lost(["a", "b"], 0) == ""
    assert watch.limit(WINDOW) == 1


def test_a_loss_on_a_connection_that_delivered_keeps_the_window():
    watch = PoisonWatch()

    watch.lost(["a", "b"], delivered=3)

    assert watch.limit(WINDOW) == WINDOW


def test_the_window_opens_with_every_delivery():
    watch = PoisonWatch()
    watch.lost(["a", "b"], 0)

    limits = []
    for _ in range(WINDOW):
        watch.delivered(1, WINDOW)
        limits.append(watch.limit(WINDOW))

    assert limits == [2, 3, 4, 5, 6, 7, 8, 8]


def test_the_same_lonely_message_in_three_losses_is_the_culprit():
    watch = PoisonWatch()

    assert [watch.lost(["a"], 0) for _ in range(STRIKES)] == ["", "", "a"]


def test_another_lonely_message_starts_the_count_again():
    watch = PoisonWatch()

    verdicts = [watch.lost([name], 0) for name in ("a", "a", "b", "a", "a", "a")]

    assert verdicts == ["", "", "", "", "", "a"]


def test_a_suspect_that_is_delivered_is_cleared():
    watch = PoisonWatch()
    watch.lost(["a"], 0)
    watch.lost(["a"], 0)

    watch.cleared("b")
    watch.cleared("a")

    assert watch.suspect == ""
    assert watch.lost(["a"], 0) == ""


@given(
    st.lists(st.booleans(), min_size=1, max_size=40),
    st.integers(1, 20),
    st.booleans(),
)
def test_every_bad_message_is_found_and_no_good_one_is_blamed(is_bad, window, acks_get_through):
    """A broker that closes at every bad message; acknowledgements of good ones before it arrive or are lost."""
    watch, todo, blamed, connections = PoisonWatch(), list(range(len(is_bad))), [], 0
    while todo:
        connections += 1
        assert connections < 20 * (len(is_bad) + 1)
        delivered = 0
        while todo:
            batch = todo[: watch.limit(window)]
            bad = next((index for index, number in enumerate(batch) if is_bad[number]), len(batch))
            good = batch[:bad] if acks_get_through or bad == len(batch) else []
            for number in good:
                watch.cleared(str(number))
                todo.remove(number)
            watch.delivered(len(good), window)
            delivered += len(good)
            if bad < len(batch):
                culprit = watch.lost([str(number) for number in batch[len(good) :]], delivered)
                if culprit:
                    blamed.append(int(culprit))
                    todo.remove(int(culprit))
                    watch.cleared(culprit)
                break

    assert blamed == [number for number, bad in enumerate(is_bad) if bad]
