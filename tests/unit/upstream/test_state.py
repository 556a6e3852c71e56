import logging

from microedge.upstream.settings import UpstreamSettings
from microedge.upstream.state import ConnectorState


def test_the_document_counts_reconnects_not_connects():
    state = ConnectorState(UpstreamSettings(type="file", path="/x"))

    counts = []
    for _ in range(3):
        state.connecting()
        state.connected()
        counts.append(state.document(0)["reconnects"])

    assert counts == [0, 1, 2]


def test_a_failure_is_shown_with_the_time_of_the_next_attempt():
    state = ConnectorState(UpstreamSettings(type="file", path="/x"))

    state.waiting("disk full", 5.0)

    document = state.document(0)
    assert (document["state"], document["reason"]) == ("waiting", "disk full")
    assert 4 < document["next_try_in_s"] <= 5


def test_the_reason_stays_visible_during_the_next_attempt_and_goes_with_success():
    state = ConnectorState(UpstreamSettings(type="file", path="/x"))
    state.waiting("disk full", 5.0)

    state.connecting()
    during = state.document(0)
    state.connected()

    assert (during["reason"], during["next_try_in_s"]) == ("disk full", None)
    assert state.document(0)["reason"] == ""


def test_the_same_failure_is_logged_once(caplog):
    caplog.set_level(logging.WARNING)
    state = ConnectorState(UpstreamSettings(type="file", path="/x"))

    for reason in ("a", "a", "b", "b"):
        state.waiting(reason, 1.0)

    assert len(caplog.records) == 2
