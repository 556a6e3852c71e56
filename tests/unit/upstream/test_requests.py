"""Which messages from the broker are calls, and where the answer goes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from microedge.upstream.requests import UpstreamRequest, request_filter, request_of

TOPIC = "microedge/greenhouse-7/pump/methods/on"


def message(topic: str = TOPIC, payload: bytes = b"1", *, retain: bool = False, **properties: Any) -> Any:
    return SimpleNamespace(topic=topic, payload=payload, retain=retain, properties=SimpleNamespace(**properties))


def test_the_filter_takes_one_level_for_the_module_and_one_for_the_method():
    assert request_filter("greenhouse-7") == "microedge/greenhouse-7/+/methods/+"


def test_mqtt_5_says_where_the_answer_goes():
    found = request_of("greenhouse-7", message(ResponseTopic="desk/7", CorrelationData=b"\x01"))

    assert found == UpstreamRequest("pump", "on", b"1", "desk/7", b"\x01")


def test_without_a_response_topic_nobody_wants_the_answer():
    assert request_of("greenhouse-7", message()) == UpstreamRequest("pump", "on", b"1")


@pytest.mark.parametrize(
    ("pairs", "timeouts"),
    [
        ([], {}),
        ([("color", "red")], {}),
        ([("responseTimeoutInSeconds", "60"), ("color", "red")], {"response_timeout_s": 60.0}),
        (
            [("connectTimeoutInSeconds", "7.5"), ("responseTimeoutInSeconds", "soon")],
            {"connect_timeout_s": 7.5, "response_timeout_s": "soon"},
        ),
        ([("responseTimeoutInSeconds", "1"), ("responseTimeoutInSeconds", "9")], {"response_timeout_s": 9.0}),
    ],
)
def test_user_properties_say_how_long_to_wait(pairs: list[tuple[str, str]], timeouts: dict[str, object]):
    found = request_of("greenhouse-7", message(UserProperty=pairs))

    assert found is not None
    assert found.timeouts == timeouts


@pytest.mark.parametrize("topic", ["desk/+", "desk/#", "a\0b"])
def test_a_response_topic_that_nobody_may_publish_to_is_none(topic: str):
    assert request_of("greenhouse-7", message(ResponseTopic=topic)) == UpstreamRequest("pump", "on", b"1")


def test_mqtt_311_is_answered_beside_the_request():
    plain = SimpleNamespace(topic=TOPIC, payload=b"", retain=False, properties=None)

    assert request_of("greenhouse-7", plain) == UpstreamRequest("pump", "on", b"", f"{TOPIC}/response")


def test_a_retained_request_is_ignored():
    assert request_of("greenhouse-7", message(retain=True)) is None


@pytest.mark.parametrize(
    "topic",
    [
        "microedge/greenhouse-8/pump/methods/on",
        "microedge/greenhouse-7/pump/twin/desired",
        "microedge/greenhouse-7/pump/methods/on/response",
        "microedge/greenhouse-7/status",
        "",
    ],
)
def test_any_other_topic_is_none(topic: str):
    assert request_of("greenhouse-7", message(topic)) is None
