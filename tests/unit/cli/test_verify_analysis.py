from __future__ import annotations

from microedge.cli.verify_analysis import Analysis, Run, Sighting
from microedge.cli.verify_spans import Gap


def analysis_of(*seen: tuple[str, int, int] | tuple[str, int, int, int], module: str = "probe") -> Analysis:
    """Take sightings of (run, sequence, created) or (run, sequence, created, elsewhere)."""
    analysis = Analysis()
    for session, sequence, created_ms, *elsewhere in seen:
        analysis.take(Sighting("d", module, session, sequence, sum(elsewhere), created_ms))
    return analysis


def only(analysis: Analysis) -> Run:
    (run,) = analysis.runs
    return run


def test_nothing_is_missing_from_what_is_whole():
    run = only(analysis_of(("a", 1, 0), ("a", 2, 1), ("a", 3, 2)))

    assert (run.received, run.duplicates, run.late, run.missing, run.unknown) == (3, 0, 0, 0, 0)


def test_a_message_that_comes_twice_is_counted_once_and_as_a_duplicate():
    run = only(analysis_of(("a", 1, 0), ("a", 2, 1), ("a", 1, 0), ("a", 1, 0)))

    assert (run.received, run.duplicates, run.late, run.missing) == (2, 2, 0, 0)


def test_a_message_that_comes_late_is_not_missing():
    run = only(analysis_of(("a", 1, 0), ("a", 3, 2), ("a", 2, 1)))

    assert (run.received, run.late, run.missing) == (3, 1, 0)


def test_messages_without_a_route_upstream_leave_no_gap():
    run = only(analysis_of(("a", 2, 0, 1), ("a", 5, 3, 3), ("a", 6, 4, 3)))

    assert (run.received, run.missing, run.unknown) == (3, 0, 0)


def test_a_message_lost_among_those_that_went_elsewhere_is_missing():
    run = only(analysis_of(("a", 1, 10), ("a", 7, 70, 4)))

    assert list(run.gaps()) == [Gap(1, 2, 6, 10, 70)]


def test_what_came_before_the_first_message_of_a_recording_is_unknown_and_not_missing():
    run = only(analysis_of(("a", 57, 0), ("a", 58, 1)))

    assert (run.missing, run.unknown, list(run.gaps())) == (0, 56, [])


def test_the_beginning_of_a_run_is_missing_if_an_earlier_run_of_the_module_was_seen():
    first, second = analysis_of(("a", 57, 10), ("b", 4, 20)).runs

    assert (first.missing, first.unknown) == (0, 56)
    assert (second.missing, second.unknown, list(second.gaps())) == (3, 0, [Gap(3, 1, 3, -1, 20)])


def test_the_backlog_of_an_earlier_run_that_drains_behind_a_later_one_does_not_begin_with_a_gap():
    analysis = analysis_of(("later", 1, 100), ("earlier", 57, 50))

    assert (analysis.missing, [run.unknown for run in analysis.runs]) == (0, [0, 56])


def test_another_module_says_nothing_about_where_a_recording_began():
    analysis = Analysis()
    analysis.take(Sighting("d", "probe", "a", 1, 0, 0))
    analysis.take(Sighting("d", "pump", "b", 9, 0, 5))
    analysis.take(Sighting("e", "probe", "c", 9, 0, 5))

    assert (analysis.missing, [run.unknown for run in analysis.runs]) == (0, [0, 8, 8])


def test_equal_runs_of_two_devices_are_two():
    analysis = Analysis()
    for device in "de":
        analysis.take(Sighting(device, "probe", "a", 1, 0, 0))

    assert [(run.device, run.received, run.duplicates) for run in analysis.runs] == [("d", 1, 0), ("e", 1, 0)]
