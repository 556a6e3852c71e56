"""What the exchange says of messages that no route takes, and of bodies that a route cannot read."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
from support.modules_in_process import InProcessModule, Site

from microedge.message import Envelope, Message

VALVE = 'BrokeredEndpoint("/modules/valve/inputs/x")'
HOT = f"FROM /messages/modules/probe/outputs/readings WHERE $body.level > 3 INTO {VALVE}"


@pytest.fixture
def site() -> Site:
    return Site(HOT)


@pytest.fixture
def probe(site: Site) -> Iterator[InProcessModule]:
    one = InProcessModule(site, "probe")
    yield one
    one.close()


def send(probe: InProcessModule, output: str, *bodies: object) -> None:
    for body in bodies:
        probe.client.send(output, body)
    probe.hub_reads()


def test_only_messages_whose_condition_is_true_are_queued(site: Site, probe: InProcessModule):
    send(probe, "readings", {"level": 3}, {"level": 4}, {"level": 5}, {})

    queued = site.queue.lease("/modules/valve/inputs/x", 10, 10_000)
    assert [message.json() for _, message in queued] == [{"level": 4}, {"level": 5}]
    assert site.exchange.dropped == {"no_route": 2}


def test_what_a_condition_leaves_out_is_told_once_and_is_no_warning(
    site: Site, probe: InProcessModule, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.INFO, "microedge"):
        send(probe, "readings", {"level": 1}, {"level": 2})
        send(probe, "alarms", {"level": 1}, {"level": 2})

    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "no route takes some messages of probe/readings: no WHERE is true; they are counted as no_route"),
        ("WARNING", "no route takes messages of probe/alarms: they are dropped and counted as no_route"),
    ]
    assert site.exchange.dropped == {"no_route": 4}


def test_a_body_that_a_route_cannot_read_is_told_once_for_an_output(
    site: Site, probe: InProcessModule, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.WARNING, "microedge"):
        send(probe, "readings", "text", "more text", b"bytes")

    assert [record.getMessage() for record in caplog.records] == [
        "a route asks for $body, which is undefined in messages of probe/readings: "
        "content type is 'text/plain', expected 'application/json'"
    ]
    assert site.exchange.routes.undefined_bodies == {"content_type": 3}


def test_a_message_says_how_many_before_it_had_no_route_upstream():
    site = Site("FROM /messages/* WHERE $body.up INTO $upstream", f"FROM /messages/* WHERE $body.valve INTO {VALVE}")
    probe = InProcessModule(site, "probe")
    up, valve = {"up": True}, {"valve": True}
    send(probe, "readings", up, valve, {**up, **valve}, valve)
    send(probe, "readings", {}, up, up)
    probe.close()

    upstream = [message for _, message in site.queue.lease("$upstream", 10, 10_000)]
    assert [(message.sequence, message.elsewhere) for message in upstream] == [(1, 0), (3, 1), (6, 3), (7, 3)]


def change(**patch: object) -> Message:
    body = json.dumps(patch).encode()
    envelope = Envelope("twinChangeNotifications", content_type="application/json", content_encoding="utf-8")
    return Message(envelope, body, "probe", "twins-1", 1, 0, 0)


def test_a_change_of_reported_properties_goes_where_its_routes_lead_and_is_not_missed_elsewhere():
    site = Site(f"FROM /twinChangeNotifications WHERE twin_change_includes(properties.reported.a) INTO {VALVE}")
    is_upstream = [site.exchange.route_twin_change(change(**{name: 1})) for name in "ab"]

    queued = site.queue.lease("/modules/valve/inputs/x", 10, 10_000)
    assert [message.json() for _, message in queued] == [{"a": 1}]
    assert site.exchange.dropped == {}
    assert is_upstream == [False, False]


def test_changes_that_come_too_fast_are_told_once(site: Site, caplog: pytest.LogCaptureFixture):
    for _ in range(3):
        site.exchange.drop_twin_change("probe")

    assert site.exchange.dropped == {"twin_changes": 3}
    assert len(caplog.records) == 1
