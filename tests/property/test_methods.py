"""Whatever order calls, answers, deaths and deadlines come in: each call is settled once, by the rule."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from microedge.hub.calls import Invocation
from microedge.hub.methods import MAX_PENDING, Deliver, MethodTable, Settle
from microedge.method import MethodResponse

MODULES = st.sampled_from(["pump", "valve"])


class Calls(RuleBasedStateMachine):
    """Against a naive list of calls: [asker, module, state, deadline]; state is waiting, sent, late or settled."""

    def __init__(self) -> None:
        super().__init__()
        self.table = MethodTable()
        self.now_s = 0.0
        self.connected: set[str] = set()
        self.calls: list[list[object]] = []
        self.numbers: dict[int, int] = {}  # asker by call id

    def settle(self, effects: list[Deliver | Settle], expected: dict[int, int]) -> None:
        """Check that exactly these askers are told exactly these statuses."""
        assert [e.asker for e in effects if isinstance(e, Settle)] == list(expected)
        assert [e.response.status for e in effects if isinstance(e, Settle)] == list(expected.values())

    def of(self, module: str, *states: str) -> list[list[object]]:
        return [call for call in self.calls if call[1] == module and call[2] in states]

    def send(self, call: list[object]) -> None:
        call[2], call[3] = "sent", self.now_s + 30

    @rule(module=MODULES, connect_s=st.sampled_from([0.0, 10.0]))
    def call(self, module: str, connect_s: float) -> None:
        asker = len(self.calls)
        pending = len(self.of(module, "waiting", "sent", "late"))
        effects = self.table.call(Invocation(module, "on", b"1", 30, connect_s), asker, self.now_s)
        call: list[object] = [asker, module, "settled", 0.0]
        self.calls.append(call)
        if module not in self.connected and not connect_s:
            self.settle(effects, {asker: 404})
        elif pending >= MAX_PENDING:
            self.settle(effects, {asker: 429})
        elif module in self.connected:
            assert [type(effect) for effect in effects] == [Deliver]
            self.send(call)
        else:
            assert effects == []
            call[2], call[3] = "waiting", self.now_s + connect_s
        if call[2] != "settled":
            self.numbers[len(self.numbers) + 1] = asker

    @rule(module=MODULES)
    def connect(self, module: str) -> None:
        waiting = self.of(module, "waiting")
        if module in self.connected:
            return
        effects = self.table.connected(module, self.now_s)
        self.connected.add(module)
        assert [type(effect) for effect in effects] == [Deliver] * len(waiting)
        for call in waiting:
            self.send(call)

    @rule(module=MODULES)
    def disconnect(self, module: str) -> None:
        self.connected.discard(module)
        self.settle(self.table.disconnected(module), {call[0]: 504 for call in self.of(module, "sent")})  # type: ignore[misc]
        for call in self.of(module, "sent", "late"):
            call[2] = "settled"

    @rule(module=MODULES, number=st.integers(0, 40))
    def answer(self, module: str, number: int) -> None:
        asker = self.numbers.get(number)
        call = self.calls[asker] if asker is not None else [None, "", "settled", 0.0]
        effects = self.table.answered(module, number, MethodResponse(418))
        if call[1] != module or call[2] not in ("sent", "late"):
            assert effects == []
            return
        self.settle(effects, {asker: 418} if call[2] == "sent" else {})  # type: ignore[dict-item]
        call[2] = "settled"

    @rule(passed_s=st.sampled_from([0.0, 1.0, 9.0, 10.0, 31.0]))
    def wait(self, passed_s: float) -> None:
        self.now_s += passed_s
        due = [call for call in self.calls if call[2] in ("waiting", "sent") and call[3] <= self.now_s]  # type: ignore[operator]
        expected = {call[0]: 404 if call[2] == "waiting" else 504 for call in due}
        self.settle(self.table.expired(self.now_s), expected)  # type: ignore[arg-type]
        for call in due:
            call[2] = "settled" if call[2] == "waiting" else "late"

    @invariant()
    def it_counts_what_somebody_waits_for(self) -> None:
        pending = [call for call in self.calls if call[2] in ("waiting", "sent")]
        assert self.table.pending == len(pending)
        assert self.table.next_deadline_s == min((call[3] for call in pending), default=None)  # type: ignore[type-var]


TestCalls = Calls.TestCase
TestCalls.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
