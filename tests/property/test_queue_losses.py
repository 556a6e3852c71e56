"""Whatever happens to messages of several modules: each was delivered, is waiting, or is counted under its module."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from support.queue_rig import UPSTREAM, QueueRig, new_message

from microedge.message import DURABILITIES

MODULES = ("chatty", "quiet", "third")
INPUT = "/modules/a/inputs/b"
ENDPOINTS = (UPSTREAM, INPUT)
CAP_BYTES = 1024 * 1024  # so that rows are evicted


class LossMachine(RuleBasedStateMachine):
    """Counts messages per module and endpoint; a crash is left to other tests, a restart is not."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.mkdtemp()
        self.rig = QueueRig(self.directory, max_bytes=CAP_BYTES).open()
        self.sequence = 0
        self.accepted: Counter[str] = Counter()
        self.delivered: Counter[str] = Counter()
        self.lost_upstream: Counter[str] = Counter()  # accepted minus delivered, at the end
        self.told: Counter[str] = Counter()
        self.noise = random.Random(7).randbytes(1 << 16)

    def teardown(self) -> None:
        self.rig.advance(40)
        for endpoint in ENDPOINTS:
            self.rig.queue.release(endpoint)
            self.deliver(endpoint, 1_000_000)
        self.rig.advance(40)
        for module in MODULES:
            lost = sum(self.rig.queue.dropped_of(module).values())
            assert self.accepted[module] == self.delivered[module] + lost, module
        self.rig.queue.set_live(UPSTREAM, True)
        self.hear_of_gaps()
        assert +self.told == +self.lost_upstream
        assert "" not in self.rig.queue.status()["dropped_by_module"]
        self.rig.stop()
        shutil.rmtree(self.directory)

    @rule(
        modules=st.lists(st.sampled_from(MODULES), min_size=1, max_size=30),
        endpoints=st.sampled_from(((UPSTREAM,), (INPUT,), ENDPOINTS)),
        priority=st.sampled_from((0, 9)),
        ttl_s=st.sampled_from((-1, 20)),
        durability=st.sampled_from(DURABILITIES),
        size=st.sampled_from((10, 30_000, 60_000)),
    )
    def append(self, modules, endpoints, priority, ttl_s, durability, size):
        for module in modules:
            self.sequence += 1
            start = self.sequence * 977 % (len(self.noise) - size)
            body = self.noise[start : start + size]
            message = new_message(self.sequence, body=body, durability=durability, module=module)
            self.rig.queue.append(message, [(endpoint, priority, ttl_s) for endpoint in endpoints])
            self.accepted[module] += len(endpoints)
            self.lost_upstream[module] += UPSTREAM in endpoints

    @rule(endpoint=st.sampled_from(ENDPOINTS), count=st.integers(1, 60))
    def deliver(self, endpoint, count):
        while count > 0:
            leased = self.rig.queue.lease(endpoint, min(count, 500), 1 << 24)
            while not leased and self.rig.queue.is_busy:
                self.rig.pump()
                leased = self.rig.queue.lease(endpoint, min(count, 500), 1 << 24)
            if not leased:
                return
            count -= len(leased)
            self.take(endpoint, leased)

    @rule(endpoint=st.sampled_from(ENDPOINTS), count=st.integers(1, 3))
    def poison(self, endpoint, count):
        for ticket, message in self.rig.queue.lease(endpoint, count, 1 << 24):
            if ticket > 0:
                self.rig.queue.set_aside(ticket, "poison", "bad")
            else:
                self.take(endpoint, [(ticket, message)])

    @rule(endpoint=st.sampled_from(ENDPOINTS), module=st.sampled_from(("", *MODULES)))
    def purge(self, endpoint, module):
        self.rig.ask(self.rig.queue.upkeep.purge, endpoint, module)

    @rule(seconds=st.sampled_from((1, 6, 70)))
    def wait(self, seconds):
        self.rig.advance(seconds)

    @rule(is_live=st.booleans())
    def set_live(self, is_live):
        self.rig.queue.set_live(UPSTREAM, is_live)

    @rule()
    def restart(self):
        self.rig.queue.release(UPSTREAM)
        self.rig.queue.release(INPUT)
        self.rig.restart()

    def take(self, endpoint, leased):
        self.rig.queue.ack([ticket for ticket, _ in leased])
        for ticket, message in leased:
            if ticket < 0:
                self.told[message.module] += message.json()["count"]
            else:
                self.delivered[message.module] += 1
                self.lost_upstream[message.module] -= endpoint == UPSTREAM

    def hear_of_gaps(self) -> None:
        for _ in range(3):
            self.rig.advance(70)
            self.deliver(UPSTREAM, 100)


TestLosses = LossMachine.TestCase
TestLosses.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
