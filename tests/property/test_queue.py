"""Any order of appending, leasing, acknowledging, giving back, crashing and waiting against a simple model."""

from __future__ import annotations

import shutil
import tempfile

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.queue_rig import QueueRig, new_message

from microedge.message import BATCHED, DURABILITIES, VOLATILE, Message, Ticket
from microedge.queue.turns import Rule

ENDPOINTS = ("$upstream", "/modules/a/inputs/b")


class QueueMachine(RuleBasedStateMachine):
    """`expected` is what each line must still deliver, in order; after a crash some of it may come again."""

    turns = Rule()

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.mkdtemp()
        self.rig = QueueRig(self.directory, rule=self.turns).open()
        self.sequence = 0
        self.accepted: dict[int, Message] = {}  # settled before the last crash or since
        self.lines: dict[tuple[str, int], list[int]] = {}  # every sequence ever appended, in order
        self.delivered: dict[str, set[int]] = {name: set() for name in ENDPOINTS}
        self.lost_ok: set[int] = set()  # not settled, or volatile, when it crashed
        self.held: dict[str, list[tuple[Ticket, Message]]] = {name: [] for name in ENDPOINTS}
        self.floor: dict[tuple[str, int], int] = {}

    def teardown(self) -> None:
        self.deliver_everything()
        self.rig.stop()
        shutil.rmtree(self.directory)

    @rule(
        count=st.integers(1, 40),
        durability=st.sampled_from((BATCHED, *DURABILITIES)),
        into=st.lists(
            st.tuples(st.sampled_from(ENDPOINTS), st.sampled_from((0, 9))),
            min_size=1,
            max_size=2,
            unique_by=lambda target: target[0],
        ),
        size=st.sampled_from((1, 100, 20_000)),
    )
    def append(self, count, durability, into, size):
        for _ in range(count):
            self.sequence += 1
            message = new_message(self.sequence, body=b"x" * size, durability=durability)
            self.rig.queue.append(message, [(endpoint, priority, -1) for endpoint, priority in into])
            for target in into:
                self.lines.setdefault(target, []).append(self.sequence)

    @rule(endpoint=st.sampled_from(ENDPOINTS), count=st.integers(1, 30))
    def lease(self, endpoint, count):
        leased = self.rig.lease(endpoint, count)
        self.check_order(endpoint, leased)
        self.held[endpoint] += leased

    @precondition(lambda self: any(self.held.values()))
    @rule(endpoint=st.sampled_from(ENDPOINTS), skip=st.integers(0, 3))
    def ack(self, endpoint, skip):
        acked = self.held[endpoint][skip:]
        del self.held[endpoint][skip:]
        self.rig.queue.ack([ticket for ticket, _ in acked])
        self.delivered[endpoint] |= {message.sequence for _, message in acked}

    @rule(endpoint=st.sampled_from(ENDPOINTS))
    def release(self, endpoint):
        self.rig.queue.release(endpoint)
        self.held[endpoint].clear()
        self.forget_floor(endpoint)

    @rule(endpoint=st.sampled_from(ENDPOINTS), is_live=st.booleans())
    def set_live(self, endpoint, is_live):
        self.rig.queue.set_live(endpoint, is_live)

    @rule(seconds=st.sampled_from((0, 1, 6, 31)))
    def wait(self, seconds):
        self.rig.advance(seconds)

    @rule()
    def turn(self):
        self.rig.reactor.turn()

    @rule()
    def crash(self):
        self.rig.reactor.turn()  # so that what the owner was told is what it was told before the crash
        settled = {message.sequence: message for message in self.rig.settled}
        everything = {sequence for line in self.lines.values() for sequence in line}
        volatile = {n for n, m in settled.items() if m.envelope.durability == VOLATILE}
        self.lost_ok |= (everything - set(settled)) | volatile
        self.accepted.update(settled)
        self.rig.crash()
        self.start_over()

    @rule()
    def restart(self):
        self.rig.restart()
        assert {n for line in self.lines.values() for n in line} - self.lost_ok <= self.settled()
        self.start_over()

    @invariant()
    def the_count_in_status_is_right(self):
        status = self.rig.queue.status()
        lines = status["endpoints"]
        assert status["messages"] == sum(line["messages"] for line in lines)
        assert status["dropped"] == {}
        assert sum(line["in_flight"] for line in lines) == sum(len(held) for held in self.held.values())

    def settled(self) -> set[int]:
        return set(self.accepted) | {message.sequence for message in self.rig.settled}

    def start_over(self) -> None:
        for endpoint in ENDPOINTS:
            self.held[endpoint].clear()
            self.forget_floor(endpoint)

    def forget_floor(self, endpoint: str) -> None:
        for key in [key for key in self.floor if key[0] == endpoint]:
            del self.floor[key]

    def check_order(self, endpoint: str, leased: list[tuple[Ticket, Message]]) -> None:
        """Each line is handed out in order, and nothing in it is skipped that has to be delivered."""
        place = {n: key for key, line in self.lines.items() if key[0] == endpoint for n in line}
        for _, message in leased:
            key = place[message.sequence]
            line, floor = self.lines[key], self.floor.get(key, 0)
            assert message.sequence > floor
            skipped = {n for n in line if floor < n < message.sequence}
            assert skipped <= self.delivered[endpoint] | self.lost_ok
            self.floor[key] = message.sequence

    def deliver_everything(self) -> None:
        self.rig.advance(6)
        for endpoint in ENDPOINTS:
            self.release(endpoint)
            while True:
                leased = self.rig.lease(endpoint)
                if not leased:
                    break
                self.check_order(endpoint, leased)
                self.held[endpoint] += leased
                self.ack(endpoint, 0)
        for (endpoint, _), line in self.lines.items():
            assert set(line) <= self.delivered[endpoint] | self.lost_ok
        assert self.rig.queue.status()["messages"] == 0


class FairMachine(QueueMachine):
    """With weighted priorities and a live lane nothing is lost or handed out twice at a time, in whatever order."""

    turns = Rule(is_weighted=True, has_live_lane=True)

    def check_order(self, endpoint: str, leased: list[tuple[Ticket, Message]]) -> None:
        held = {message.sequence for _, message in self.held[endpoint]}
        assert not held & {message.sequence for _, message in leased}


TestFairQueue = FairMachine.TestCase
TestFairQueue.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
