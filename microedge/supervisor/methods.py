"""Direct methods on their way: modules, the control socket and the upstream ask, modules or the agent answer.

The decisions are in `hub/methods.py`; this class carries them out: frames to modules, answers to whoever asked, and
one timer for the next deadline. What is addressed to `$edgeAgent` never reaches a module.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from microedge.errors import printable
from microedge.hub.calls import Invocation, invoked_frame
from microedge.hub.methods import Deliver, MethodTable, Settle
from microedge.hub.session import Received, Session
from microedge.method import (
    AGENT,
    BAD_REQUEST,
    FORBIDDEN,
    NOT_FOUND,
    MethodResponse,
    decode_payload,
    encode_payload,
    refusal,
)
from microedge.reactor import Reactor, Timer
from microedge.supervisor.instance import Instance

log = logging.getLogger(__name__)

_UNREAD_BYTES = 1_048_576  # answers for a module that asks and asks and never reads
Answer = Callable[[MethodResponse], None]
Agent = Callable[[str, object], MethodResponse]


class Methods:
    """Everything happens on the loop's thread; every call is answered exactly once, unless who asked is gone."""

    def __init__(self, reactor: Reactor) -> None:
        self.agent: Agent = lambda method, payload: refusal(NOT_FOUND, "microedge is still starting")
        self._reactor = reactor
        self._table = MethodTable()
        self._instances: dict[str, Instance] = {}
        self._timer: Timer | None = None

    def call(self, invocation: Invocation, answer: Answer) -> None:
        """Call a method; `answer` gets the response, perhaps before this returns."""
        if invocation.module == AGENT and not invocation.problem():
            answer(self.agent(invocation.method, decode_payload(invocation.payload)))
            return
        target = self._instances.get(invocation.module) if isinstance(invocation.module, str) else None
        if target is not None and target.is_leaving:  # it would not look at the call any more
            self._table.leaving(invocation.module)
        self._carry_out(self._table.call(invocation, answer, time.monotonic()))

    def call_from_upstream(self, invocation: Invocation, reply: Callable[[bytes], None]) -> None:
        """Call a method for somebody above; `reply` gets `{"status": ..., "payload": ...}` as JSON."""
        self.call(invocation, lambda response: reply(_document(response)))

    def opened(self, instance: Instance) -> None:
        """The module is ready: it can be called."""
        self._instances[instance.name] = instance
        self._carry_out(self._table.connected(instance.name, time.monotonic()))

    def received(self, instance: Instance, received: Received) -> None:
        """A module answered, or asks for something."""
        for number, response in received.results:
            self._carry_out(self._table.answered(instance.name, number, response))
        for request, invocation in received.invocations:
            self._call_for(instance, request, invocation)

    def closed(self, instance: Instance) -> None:
        """The module's process is gone."""
        if self._instances.get(instance.name) is instance:
            del self._instances[instance.name]
            self._carry_out(self._table.disconnected(instance.name))

    def _call_for(self, instance: Instance, request: int, invocation: Invocation) -> None:
        session = instance.session

        def answer(response: MethodResponse) -> None:
            _answer_module(instance, session, request, response)

        if invocation.module == instance.name:
            answer(refusal(BAD_REQUEST, f"module {instance.name} called itself: it cannot answer while it waits"))
        elif invocation.module == AGENT and printable(invocation.method).lower() != "ping":
            answer(refusal(FORBIDDEN, f"{AGENT} takes this from the command line and from above, not from modules"))
        else:
            self.call(invocation, answer)

    def _carry_out(self, effects: Sequence[Deliver | Settle]) -> None:
        for effect in effects:
            if isinstance(effect, Deliver):
                self._instances[effect.module].write(effect.frame)
            else:
                answer: Answer = effect.asker  # type: ignore[assignment]  # what `call` put in
                answer(effect.response)
        self._arm()

    def _arm(self) -> None:
        deadline_s = self._table.next_deadline_s
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deadline_s is not None:
            delay_s = max(0.0, deadline_s - time.monotonic())
            self._timer = self._reactor.call_later(delay_s, lambda: self._time_is_up(deadline_s))

    def _time_is_up(self, deadline_s: float) -> None:
        self._timer = None
        self._carry_out(self._table.expired(max(deadline_s, time.monotonic())))


def _answer_module(instance: Instance, session: Session | None, request: int, response: MethodResponse) -> None:
    """Give a module the answer that it asked for, unless it is another process now."""
    if session is None or instance.session is not session or instance.process is None:
        return
    if instance.process.unsent_bytes > _UNREAD_BYTES:
        log.debug("module %s does not read its answers: one is dropped", instance.name)
        return
    instance.write(invoked_frame(request, response))


def _document(response: MethodResponse) -> bytes:
    payload = encode_payload(response.payload)
    return b'{"status":%d,"payload":%b}' % (response.status, payload)
