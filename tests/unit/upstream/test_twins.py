from __future__ import annotations

from types import SimpleNamespace

import pytest

from microedge.upstream.twins import desired_filter, desired_module, reported_topic


class _Undecodable:
    @property
    def topic(self) -> str:
        return b"\xff".decode()


def test_the_topics_are_those_of_the_documentation():
    assert desired_filter("greenhouse-7") == "microedge/greenhouse-7/+/twin/desired"
    assert reported_topic("greenhouse-7", "pump") == "microedge/greenhouse-7/pump/twin/reported"


def test_a_desired_document_says_which_module_it_is_for():
    message = SimpleNamespace(topic="microedge/greenhouse-7/$edgeAgent/twin/desired")

    assert desired_module("greenhouse-7", message) == "$edgeAgent"


@pytest.mark.parametrize(
    "topic",
    [
        "microedge/greenhouse-8/pump/twin/desired",
        "microedge/greenhouse-7/pump/twin/reported",
        "microedge/greenhouse-7/pump/twin/desired/more",
        "microedge/greenhouse-7/pump/x/twin/desired",
        "microedge/greenhouse-7//twin/desired",
        "microedge/greenhouse-7/twin/desired",
        "/microedge/greenhouse-7/pump/twin/desired",
        "",
    ],
)
def test_any_other_topic_is_for_nobody(topic: str):
    assert desired_module("greenhouse-7", SimpleNamespace(topic=topic)) == ""


def test_a_topic_that_is_no_text_is_for_nobody():
    assert desired_module("greenhouse-7", _Undecodable()) == ""
