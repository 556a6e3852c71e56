"""Whatever arrives, whatever fails: sessions refuse garbage, and messages between modules keep their order."""

from __future__ import annotations

from collections import Counter
from contextlib import closing

from hypothesis import given, settings
from hypothesis import strategies as st
from support.modules_in_process import InProcessModule, Site

from microedge import wire
from microedge.errors import RemoteProtocolError, RouteSyntaxError
from microedge.hub.parser import parse
from microedge.hub.session import WINDOW, WINDOW_BYTES, Session
from microedge.message import Envelope, Message

HEAD = Envelope("readings").raw
ROUTE = 'FROM /messages/modules/probe/* INTO BrokeredEndpoint("/modules/valve/inputs/commands")'

frames = st.one_of(
    st.binary(max_size=60),
    st.builds(
        wire.encode,
        st.sampled_from([wire.READY, wire.PROGRESS, wire.SEND, wire.DONE, wire.ACK]),
        st.integers(0, 4) | st.integers(0, 2**64 - 1),
        time_ms=st.integers(0, 2**64 - 1) | st.just(1_000),
        head=st.just(HEAD) | st.binary(max_size=40),
        body=st.binary(max_size=40),
    ),
)


@given(st.lists(frames, max_size=10), st.lists(st.integers(1, 30), max_size=30))
def test_garbage_in_any_chunking_gives_messages_or_a_remote_protocol_error(stream, sizes):
    session = Session("probe", "s")
    rest = b"".join(stream)
    try:
        for size in [*sizes, len(rest) or 1]:
            received = session.receive(rest[:size], 0)
            rest = rest[size:]
            assert all(isinstance(message, Message) for message in received.messages)
            assert all(0 <= message.created_ms < 2**63 for message in received.messages)
    except RemoteProtocolError:
        pass

    assert session.unacknowledged <= WINDOW


@given(st.lists(st.tuples(st.integers(0, 40_000), st.booleans()), max_size=400))
def test_a_module_never_has_more_under_way_than_the_window_grants(sends):
    session, waiting = Session("probe", "s"), []
    try:
        for number, (size, is_settled) in enumerate(sends, start=1):
            (message,) = session.receive(wire.encode(wire.SEND, number, head=HEAD, body=bytes(size)), 0).messages
            message.waiting = 1
            waiting.append(message)
            assert len(waiting) <= WINDOW
            assert len(waiting) == 1 or sum(one.size_bytes for one in waiting) <= WINDOW_BYTES
            if is_settled:
                waiting.pop(0).waiting = 0
                assert session.acknowledgement()
    except RemoteProtocolError:
        assert len(waiting) == WINDOW or sum(one.size_bytes for one in waiting) + 40_008 > WINDOW_BYTES


@given(st.permutations(range(1, 30)))
def test_whatever_order_messages_are_settled_in_each_acknowledgement_covers_only_settled_ones(order):
    session = Session("probe", "s")
    stream = b"".join(wire.encode(wire.SEND, number, head=HEAD) for number in range(1, 30))
    messages = session.receive(stream, 0).messages
    for message in messages:
        message.waiting = 1
    acknowledged, settled = 0, set()
    for number in order:
        messages[number - 1].waiting = 0
        settled.add(number)
        frame = session.acknowledgement()
        if frame:
            ((_, acknowledged, *_),) = wire.Decoder(wire.FROM_HUB).feed(frame)
        assert set(range(1, acknowledged + 1)) <= settled
        assert acknowledged + 1 not in settled

    assert acknowledged == 29


words = st.sampled_from([*ROUTE.split(), "WHERE", "/*", "$upstream", "(", '"'])


@given(st.text(max_size=80) | st.lists(words).map(" ".join))
def test_any_text_is_a_route_or_a_syntax_error_with_a_column_within_it(text):
    try:
        parse("r", text)
        column = 1
    except RouteSyntaxError as error:
        column = error.column

    assert 1 <= column <= len(text) + 1


class Story:
    """A probe that sends numbers and a valve that obeys them, and everything that may happen to them."""

    def __init__(self, failures: dict[int, int]) -> None:
        self.site = Site(ROUTE)
        self.probe = InProcessModule(self.site, "probe")
        self.valve = InProcessModule(self.site, "valve", inputs=("commands",))
        self.failures = Counter(failures)
        self.handled: list[int] = []
        self.sent = 0
        self.valve.client.on_input("commands", self._obey)

    def send(self) -> None:
        self.sent += 1
        self.probe.client.send("readings", self.sent)

    def send_many(self) -> None:
        for _ in range(5):
            self.send()

    def probe_speaks(self) -> None:
        self.probe.client.wait(0)  # what it has gathered is written
        self.probe.hub_reads()

    def probe_crashes(self) -> None:
        self.probe_speaks()  # what it has written is read after its end
        self.probe.restart()

    def valve_runs(self) -> None:
        self.valve.module_runs()

    def valve_is_heard(self) -> None:
        self.valve.hub_reads()

    def valve_crashes(self) -> None:
        self._restart_valve(is_asked=False)

    def valve_is_restarted(self) -> None:
        self._restart_valve(is_asked=True)

    def time_passes(self) -> None:
        self.site.reactor.advance(3)

    def comes_to_rest(self) -> None:
        for _ in range(40):
            self.probe_speaks()
            self.valve_runs()
            self.valve_is_heard()
            self.time_passes()
        self.probe.client.wait(0)

    @property
    def dead(self) -> set[int]:
        return {message.json() for message, _ in self.site.queue.dead}

    def close(self) -> None:
        self.probe.close()
        self.valve.close()

    def _restart_valve(self, *, is_asked: bool) -> None:
        self.valve.restart(is_asked=is_asked)
        self.valve.client.on_input("commands", self._obey)

    def _obey(self, message: Message) -> None:
        number = message.json()
        if self.failures[number]:
            self.failures[number] -= 1
            raise ValueError("not now")
        self.handled.append(number)


events = st.sampled_from(
    [
        Story.send,
        Story.send_many,
        Story.probe_speaks,
        Story.probe_crashes,
        Story.valve_runs,
        Story.valve_is_heard,
        Story.valve_crashes,
        Story.valve_is_restarted,
        Story.time_passes,
    ]
)


@settings(max_examples=60)
@given(st.lists(events, max_size=60), st.dictionaries(st.integers(1, 12), st.integers(1, 7), max_size=4))
def test_messages_between_modules_arrive_in_order_each_at_least_once_whatever_fails(happenings, failures):
    """Messages fail as often as `failures` says; modules crash and are restarted; answers are lost on the way."""
    with closing(Story(failures)) as story:
        for happen in happenings:
            happen(story)
        story.comes_to_rest()

        assert set(story.handled) | story.dead == set(range(1, story.sent + 1))
        assert story.probe.client.flush(0)
        assert skipped(story.handled) <= story.dead


def skipped(numbers: list[int]) -> set[int]:
    """Return the numbers that a higher one overtook; a repetition after a crash overtakes nothing."""
    found, highest = set(), 0
    for number in numbers:
        found |= set(range(highest + 1, number))
        highest = max(highest, number)
    return found
