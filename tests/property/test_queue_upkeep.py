"""Any order of sending, delivering, looking, setting aside, replaying, purging, waiting and crashing: the sum holds.

Everything that was accepted was delivered, is counted as dropped by reason, or waits. A crash is only tried when the
disk knows everything, because what it does to the rest is the subject of `test_queue.py`.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from support.queue_rig import QueueRig, new_message

from microedge.queue.letter import Selection

ENDPOINTS = ("$upstream", "/modules/a/inputs/b")
MODULES = ("probe", "valve")


class UpkeepMachine(RuleBasedStateMachine):
    """`waiting` and `held` are sequences in the order of each endpoint's one line; `dead` is what was set aside."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.mkdtemp()
        self.rig = QueueRig(self.directory).open()
        self.sequence = 0
        self.modules: dict[int, str] = {}
        self.waiting: dict[str, list[int]] = {name: [] for name in ENDPOINTS}
        self.held: dict[str, list[tuple[int, int]]] = {name: [] for name in ENDPOINTS}  # (ticket, sequence)
        self.dead: list[tuple[str, int]] = []
        self.dropped: Counter[str] = Counter()
        self.delivered = self.letters_purged = 0

    def teardown(self) -> None:
        self.everything_leaves_in_order()
        self.rig.stop()
        shutil.rmtree(self.directory)

    @rule(endpoint=st.sampled_from(ENDPOINTS), module=st.sampled_from(MODULES), count=st.integers(1, 40))
    def append(self, endpoint, module, count):
        for _ in range(count):
            self.sequence += 1
            message = new_message(self.sequence, body=b"x" * (self.sequence % 7 * 900))
            message.module = self.modules[self.sequence] = module
            self.rig.queue.append(message, [(endpoint, 9, -1)])
            self.waiting[endpoint].append(self.sequence)

    @rule(endpoint=st.sampled_from(ENDPOINTS), count=st.integers(1, 20))
    def lease(self, endpoint, count):
        leased = self.rig.lease(endpoint, count)
        taken = [message.sequence for _, message in leased]
        assert taken == self.waiting[endpoint][: len(taken)]
        del self.waiting[endpoint][: len(taken)]
        self.held[endpoint] += [(ticket, message.sequence) for ticket, message in leased]

    @rule(endpoint=st.sampled_from(ENDPOINTS), count=st.integers(1, 20))
    def ack(self, endpoint, count):
        self.rig.queue.ack([ticket for ticket, _ in self.held[endpoint][:count]])
        self.delivered += len(self.held[endpoint][:count])
        del self.held[endpoint][:count]

    @rule(endpoint=st.sampled_from(ENDPOINTS))
    def set_aside(self, endpoint):
        if self.held[endpoint]:
            ticket, sequence = self.held[endpoint].pop(0)
            self.rig.queue.set_aside(ticket, "poison", "bad")
            self.dead.append((endpoint, sequence))
            self.dropped["poison"] += 1

    @rule(endpoint=st.sampled_from(ENDPOINTS))
    def release(self, endpoint):
        self.rig.queue.release(endpoint)
        self.waiting[endpoint] = [sequence for _, sequence in self.held[endpoint]] + self.waiting[endpoint]
        self.held[endpoint].clear()

    @rule(seconds=st.sampled_from((0, 1, 6, 31)))
    def wait(self, seconds):
        self.rig.advance(seconds)

    @rule(endpoint=st.sampled_from(ENDPOINTS), count=st.sampled_from((1, 5, 1000)))
    def peek(self, endpoint, count):
        self.rig.pump()  # what is due anyway
        before = self.rig.queue.status()
        found = self.rig.ask(self.rig.queue.upkeep.peek, endpoint, count)
        expected = [sequence for _, sequence in self.held[endpoint]] + self.waiting[endpoint]
        assert [one.message.sequence for one in found] == expected[:count]
        assert self.rig.queue.status() == before

    @rule()
    def peek_dead(self):
        found = self.rig.ask(self.rig.queue.upkeep.peek_dead, Selection(limit=10_000))
        assert [(one.endpoint, one.message.sequence) for one in found] == self.dead

    @rule(endpoint=st.sampled_from(ENDPOINTS))
    def replay(self, endpoint):
        back = [letter for letter in self.dead if letter[0] == endpoint]
        outcome = self.rig.ask(self.rig.queue.upkeep.replay, Selection(endpoint=endpoint, limit=3))
        assert outcome == (len(back), 0)
        self.waiting[endpoint] += [sequence for _, sequence in back]
        self.dead = [letter for letter in self.dead if letter[0] != endpoint]
        self.dropped["poison"] -= len(back)

    @rule(endpoint=st.sampled_from(ENDPOINTS), module=st.sampled_from(("", *MODULES)))
    def purge(self, endpoint, module):
        going = [n for n in self.waiting[endpoint] if module in ("", self.modules[n])]
        assert self.rig.ask(self.rig.queue.upkeep.purge, endpoint, module) == len(going)
        self.waiting[endpoint] = [n for n in self.waiting[endpoint] if n not in going]
        self.dropped["purged"] += len(going)

    @rule(endpoint=st.sampled_from(ENDPOINTS))
    def purge_dead(self, endpoint):
        going = [letter for letter in self.dead if letter[0] == endpoint]
        outcome = self.rig.ask(self.rig.queue.upkeep.purge_dead, Selection(endpoint=endpoint))
        assert outcome == (len(going), 0)
        self.dead = [letter for letter in self.dead if letter[0] != endpoint]

    @rule()
    def crash(self):
        self.rig.ask(lambda done: self.rig.queue._committer.when_saved(lambda trouble: done(None, trouble)))
        if not self.rig.queue._lines.unsaved(0) or all(not n for n in self.rig.queue._lines.unsaved(0).values()):
            self.rig.crash()
            self.all_held_come_again()

    @rule()
    def restart(self):
        self.rig.restart()
        self.all_held_come_again()

    def all_held_come_again(self) -> None:
        for endpoint in ENDPOINTS:
            self.waiting[endpoint] = [sequence for _, sequence in self.held[endpoint]] + self.waiting[endpoint]
            self.held[endpoint].clear()

    @invariant()
    def the_sum_holds(self):
        status = self.rig.queue.status()
        dropped = {reason: n for reason, n in self.dropped.items() if n}
        assert status["dropped"] == dropped
        assert self.sequence == self.delivered + sum(dropped.values()) + status["messages"]

    def everything_leaves_in_order(self) -> None:
        for endpoint in ENDPOINTS:
            self.release(endpoint)
            assert self.rig.drain(endpoint) == self.waiting[endpoint]


TestUpkeep = UpkeepMachine.TestCase
TestUpkeep.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
