"""Where messages change hands: what reaches whom, and that nobody can answer for another."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.modules_in_process import InProcessModule, Site

from microedge import wire
from microedge.config.model import INPUT_WINDOW
from microedge.hub.inputs import MAX_FAILURES
from microedge.message import CORRECTED, Message
from microedge.names import is_name
from microedge.supervisor.wall_clock import WallClock, boot_ms

TO_VALVE = 'FROM /messages/modules/probe/* INTO BrokeredEndpoint("/modules/valve/inputs/commands")'


def die(message: Message) -> None:
    raise SystemExit(3)


@pytest.fixture
def site() -> Site:
    return Site(TO_VALVE)


@pytest.fixture
def probe(site: Site) -> Iterator[InProcessModule]:
    one = InProcessModule(site, "probe")
    yield one
    one.close()


@pytest.fixture
def valve(site: Site) -> Iterator[InProcessModule]:
    one = InProcessModule(site, "valve", inputs=("commands",))
    yield one
    one.close()


def test_a_message_is_acknowledged_to_its_sender_after_its_receiver_has_handled_it(
    probe: InProcessModule, valve: InProcessModule
):
    obeyed: list[object] = []
    valve.client.on_input("commands", lambda message: obeyed.append(message.json()))
    probe.client.send("readings", {"open": True})
    probe.hub_reads()
    assert not probe.client.flush(0)
    valve.module_runs()
    assert not probe.client.flush(0)
    valve.hub_reads()

    assert probe.client.flush(0)
    assert obeyed == [{"open": True}]
    assert (probe.sent, valve.delivered) == (1, 1)


def test_a_module_cannot_answer_for_another_one(site: Site, probe: InProcessModule, valve: InProcessModule):
    obeyed: list[object] = []
    valve.client.on_input("commands", lambda message: obeyed.append(message.json()))
    probe.client.send("readings", 1)
    probe.hub_reads()
    for number in range(10):
        probe.hub.link.put(wire.encode(wire.DONE, number))
        probe.hub.link.put(wire.encode(wire.DONE, number, head=b"failed"))
    probe.hub.link.write()
    probe.hub_reads()
    assert not probe.client.flush(0)
    valve.module_runs()
    valve.hub_reads()

    assert obeyed == [1]
    assert probe.client.flush(0)


def test_an_answer_that_comes_twice_counts_once(probe: InProcessModule, valve: InProcessModule):
    probe.client.send("readings", 1)
    probe.hub_reads()
    for _ in range(3):
        valve.hub.link.put(wire.encode(wire.DONE, 1))
    valve.hub_reads()

    assert probe.client.flush(0)


def test_a_message_that_nobody_takes_is_acknowledged_counted_and_named_once(
    site: Site, caplog: pytest.LogCaptureFixture
):
    other = InProcessModule(site, "other")
    try:
        for _ in range(3):
            other.client.send("readings", 1)
        other.hub_reads()

        assert other.client.flush(0)
        assert sum(site.exchange.dropped.values()) == 3
        assert caplog.text.count("other/readings") == 1
    finally:
        other.close()


def test_a_message_waits_for_a_module_that_is_not_there_yet(site: Site, probe: InProcessModule):
    probe.client.send("readings", 1)
    probe.hub_reads()
    obeyed: list[object] = []
    late = InProcessModule(site, "valve", inputs=("commands",))
    try:
        late.client.on_input("commands", lambda message: obeyed.append(message.json()))
        site.reactor.turn()
        late.module_runs()
        late.hub_reads()

        assert obeyed == [1]
        assert probe.client.flush(0)
    finally:
        late.close()


def test_a_message_that_ends_its_receiver_again_and_again_is_set_aside(
    site: Site, probe: InProcessModule, valve: InProcessModule
):
    probe.client.send("readings", 1)
    probe.hub_reads()
    valve.client.on_input("commands", die)
    for _ in range(1 + MAX_FAILURES):  # the first time nobody knows which message had begun
        assert site.queue.dead == []
        with pytest.raises(SystemExit):
            valve.module_runs()
        valve.hub_reads()
        valve.restart()
        valve.client.on_input("commands", die)
        site.reactor.advance(20)

    assert [message.json() for message, _ in site.queue.dead] == [1]
    assert probe.client.flush(0)


def test_messages_survive_a_receiver_that_ends_again_and_again_before_it_begins_with_them(
    site: Site, probe: InProcessModule, valve: InProcessModule
):
    obeyed: list[object] = []
    for number in range(3):
        probe.client.send("readings", number)
    probe.hub_reads()
    for _ in range(3 * MAX_FAILURES):
        valve.restart()
        site.reactor.advance(20)
    valve.client.on_input("commands", lambda message: obeyed.append(message.json()))
    valve.module_runs()
    valve.hub_reads()

    assert obeyed == [0, 1, 2]
    assert site.queue.dead == []
    assert probe.client.flush(0)


def test_with_a_window_of_one_the_next_message_is_sent_when_the_one_before_it_is_answered(
    site: Site, probe: InProcessModule
):
    obeyed: list[object] = []
    valve = InProcessModule(site, "valve", inputs=("commands",), window=1)
    try:
        valve.client.on_input("commands", lambda message: obeyed.append(message.json()))
        for number in range(3):
            probe.client.send("readings", number)
        probe.hub_reads()
        for sent in range(1, 4):
            assert valve.delivered == sent
            valve.module_runs()
            valve.hub_reads()

        assert obeyed == [0, 1, 2]
    finally:
        valve.close()


def test_a_receiver_that_is_restarted_by_a_person_any_number_of_times_loses_nothing(
    site: Site, probe: InProcessModule, valve: InProcessModule
):
    probe.client.send("readings", 1)
    probe.hub_reads()
    for _ in range(3 * MAX_FAILURES):
        valve.restart(is_asked=True)
        site.reactor.advance(20)

    assert site.queue.dead == []
    assert not probe.client.flush(0)


def test_listeners_see_every_message_until_they_leave(site: Site, probe: InProcessModule):
    seen: list[Message] = []
    leave = site.exchange.listen(seen.append)
    probe.client.send("readings", 1)
    probe.hub_reads()
    leave()
    probe.client.send("readings", 2)
    probe.hub_reads()

    assert [message.json() for message in seen] == [1]


def test_a_message_from_a_person_goes_to_the_input(site: Site, valve: InProcessModule):
    obeyed: list[tuple[str, object]] = []
    valve.client.on_input("commands", lambda message: obeyed.append((message.module, message.json())))
    message_id = site.exchange.send_to_input("valve", "commands", b'{"open":true}', 60)
    site.reactor.turn()
    valve.module_runs()

    ((module, body),) = obeyed
    assert body == {"open": True}
    assert not is_name(module)  # no module can be called so
    assert message_id.endswith("-1")


def test_a_message_of_1970_that_waits_is_put_right_when_it_is_delivered_after_the_clock_was_set(
    site: Site, valve: InProcessModule
):
    seen: list[tuple[int, str]] = []
    valve.client.on_input("commands", lambda message: seen.append((message.created_ms, message.time_quality)))
    offset_ms = [-boot_ms()]  # the clock says 1970
    is_set = [False]
    site.exchange.clock = WallClock(wall=lambda: boot_ms() + offset_ms[0], synchronized=lambda: is_set[0])
    site.exchange.send_to_input("valve", "commands", b"1", 60)
    offset_ms[0], is_set[0] = 1_800_000_000_000, True
    site.reactor.turn()
    valve.module_runs()

    ((created_ms, quality),) = seen
    assert quality == CORRECTED
    assert 0 <= created_ms - 1_800_000_000_000 <= boot_ms()


def test_a_failure_of_one_input_does_not_hold_up_the_other_one():
    """The messages also wait for an upstream that is away, so that their acknowledgement settles nothing."""
    site = Site(
        'FROM /messages/modules/probe/outputs/readings INTO BrokeredEndpoint("/modules/valve/inputs/commands")',
        'FROM /messages/modules/probe/outputs/alarms INTO BrokeredEndpoint("/modules/valve/inputs/queries")',
        "FROM /messages/* INTO $upstream",
    )
    probe = InProcessModule(site, "probe")
    valve = InProcessModule(site, "valve", inputs=("commands", "queries"))
    obeyed: list[object] = []
    try:
        valve.client.on_input("commands", lambda message: obeyed.append(message.json()))
        valve.client.on_input("queries", lambda message: 1 / 0)
        for number in range(INPUT_WINDOW + 8):
            probe.client.send("readings", number)
        probe.client.wait(0)
        probe.hub_reads()
        probe.client.send("alarms", "too hot")
        probe.client.wait(0)
        probe.hub_reads()
        valve.module_runs()
        valve.hub_reads()
        valve.module_runs()

        assert obeyed == list(range(INPUT_WINDOW + 8))
    finally:
        probe.close()
        valve.close()
