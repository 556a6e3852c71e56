"""Whatever is lost, repeated, delayed or sent elsewhere: exactly what was lost is reported."""

from __future__ import annotations

import random
from itertools import accumulate

from hypothesis import assume, given
from hypothesis import strategies as st

from microedge.cli.verify_analysis import Analysis, Run, Sighting


def stream_of(session: str, is_upstream: list[bool], start_ms: int) -> list[Sighting]:
    """Return what one run sends upstream."""
    elsewhere = [0, *accumulate(not up for up in is_upstream)]
    return [
        Sighting("d", "probe", session, number, elsewhere[number - 1], start_ms + number)
        for number, up in enumerate(is_upstream, start=1)
        if up
    ]


def positions_missing(run: Run, sent: list[Sighting]) -> set[int]:
    """Return the sequences of what a run's gaps can mean; they must count what they say."""
    lost: set[int] = set()
    for gap in run.gaps():
        inside = [each.sequence for each in sent if gap.first <= each.sequence <= gap.last]
        assert len(inside) == gap.missing
        lost.update(inside)
    return lost


@given(
    st.lists(st.lists(st.booleans(), min_size=1, max_size=40), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
    st.integers(0, 12),
    st.floats(0, 0.9),
)
def test_exactly_what_was_removed_is_missing(runs: list[list[bool]], chance: random.Random, shift: int, loss: float):
    streams = [stream_of(str(n), is_upstream, n * 1_000) for n, is_upstream in enumerate(runs) if any(is_upstream)]
    assume(streams)
    arriving: list[tuple[float, Sighting]] = []
    lost: set[tuple[str, int]] = set()
    at = 0
    for sent in streams:
        for each in sent:
            at += 1
            is_end = each in (streams[0][0], sent[-1])  # where the recording begins, and where each run ends
            if not is_end and chance.random() < loss:
                lost.add((each.session, each.sequence))
                continue
            delay = 0.0 if each is streams[0][0] else chance.uniform(0, shift)
            arriving += [(at + delay, each)] * chance.choice((1, 1, 2))

    analysis = Analysis()
    for _, sighting in sorted(arriving, key=lambda pair: pair[0]):
        analysis.take(sighting)

    # A run that is seen before an earlier one, or is the first of all, may begin with what nobody can know.
    known = {run.session for run in analysis.runs if not run.unknown}
    sent_of = {sent[0].session: sent for sent in streams}
    found = {(run.session, number) for run in analysis.runs for number in positions_missing(run, sent_of[run.session])}
    first_seen = {run.session: run.spans.first_sequence for run in analysis.runs}
    provable = {(session, n) for session, n in lost if session in known or n > first_seen[session]}
    assert found == provable
    assert analysis.missing == len(found)
    assert analysis.received == sum(map(len, streams)) - len(lost)
    assert sum(run.duplicates for run in analysis.runs) == len(arriving) - analysis.received
    if not shift:
        assert found == lost
