from __future__ import annotations

import pytest

from microedge.cli.verify_spans import DUPLICATE, LATE, NEW, Gap, Spans


def spans_of(*positions: int) -> Spans:
    spans = Spans()
    for position in positions:
        spans.add(position, position, position * 10)
    return spans


@pytest.mark.parametrize(
    ("before", "position", "expected"),
    [
        ((), 5, NEW),
        ((1,), 2, NEW),
        ((1,), 4, NEW),
        ((1, 2), 2, DUPLICATE),
        ((1, 2, 5), 1, DUPLICATE),
        ((1, 2, 5), 3, LATE),
        ((3,), 1, LATE),
    ],
)
def test_a_position_is_new_or_late_or_a_duplicate(before, position, expected):
    assert spans_of(*before).add(position, position, 0) is expected


@pytest.mark.parametrize(
    ("positions", "gaps"),
    [
        ((1, 2, 3), []),
        ((1, 4), [Gap(2, 2, 3, 10, 40)]),
        ((1, 7, 4), [Gap(2, 2, 3, 10, 40), Gap(2, 5, 6, 40, 70)]),
        ((1, 5, 2), [Gap(2, 3, 4, 20, 50)]),
        ((1, 5, 4), [Gap(2, 2, 3, 10, 40)]),
        ((1, 3, 2), []),
        ((5, 3, 1), [Gap(1, 2, 2, 10, 30), Gap(1, 4, 4, 30, 50)]),
        ((5, 4), []),
    ],
)
def test_gaps_are_what_lies_between_spans_in_whatever_order_they_came(positions, gaps):
    spans = spans_of(*positions)

    assert list(spans.gaps()) == gaps
    assert spans.missing == sum(gap.missing for gap in gaps)
    assert (spans.first_sequence, spans.last_sequence) == (min(positions), max(positions))


def test_a_gap_names_sequences_and_counts_positions():
    spans = Spans()
    spans.add(3, 3, 0)
    spans.add(5, 9, 1)

    assert list(spans.gaps()) == [Gap(1, 4, 8, 0, 1)]
