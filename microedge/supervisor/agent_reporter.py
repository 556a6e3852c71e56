"""Keeps the twin of `$edgeAgent` in line with what runs: looks at most once a second, and sends only what differs."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable

import microedge
from microedge.errors import TwinError
from microedge.method import AGENT
from microedge.patch import diff
from microedge.reactor import Reactor, Timer
from microedge.supervisor.agent_report import AgentFacts, ModuleFacts, reported_document
from microedge.supervisor.instance import Instance
from microedge.supervisor.runtime import Runtime
from microedge.supervisor.wall_clock import boot_ms

log = logging.getLogger(__name__)

_GATHER_S = 1.0  # a module that crashes goes through three states in a few milliseconds
_CLOCK_S = 60.0  # how late the times may become right after the clock was set
_CLOCK_STEP_MS = 1_000  # what two clocks that are read one after the other never differ by


class AgentReporter:
    """Lives on the loop's thread. `offset_ms` is what to add to CLOCK_BOOTTIME for the wall clock."""

    def __init__(self, runtime: Runtime, reactor: Reactor, *, offset_ms: Callable[[], int]) -> None:
        self._runtime, self._reactor = runtime, reactor
        self._began_ms = boot_ms()
        self._offset_ms = offset_ms
        self._clock_offset_ms = offset_ms()
        self._timer: Timer | None = None

    def open(self) -> None:
        """Report at once, and from now on whenever an instance has changed or `look` was called.

        At once, because the first report makes the card reserve versions: that belongs to the start.
        """
        self._runtime.fleet.when_changed(self.look)
        self.report_now()
        self._watch_clock()

    def look(self) -> None:
        """Look within a second what there is to report."""
        if self._timer is None:
            self._timer = self._reactor.call_later(_GATHER_S, self.report_now)

    def report_now(self) -> None:
        """Report what differs, if anything does: at a stop there is no second to wait for."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        twins = self._runtime.twins
        try:
            patch = diff(twins.find(AGENT).reported, reported_document(self._facts()))
            if patch:
                twins.report(AGENT, patch)
        except TwinError as error:
            log.error("the twin of $edgeAgent refuses what microedge reports; this is a bug: %s", error)

    def _watch_clock(self) -> None:
        offset_ms = self._offset_ms()
        if abs(offset_ms - self._clock_offset_ms) >= _CLOCK_STEP_MS:
            self._clock_offset_ms = offset_ms
            self.look()
        self._reactor.call_later(_CLOCK_S, self._watch_clock)

    def _facts(self) -> AgentFacts:
        runtime, system = self._runtime, os.uname()
        return AgentFacts(
            version=microedge.__version__,
            python=".".join(map(str, sys.version_info[:3])),
            system=system.sysname.lower(),
            architecture=system.machine,
            kernel=system.release,
            isolation="plain",
            began_ms=self._began_ms,
            clock_offset_ms=self._clock_offset_ms,
            config_version=runtime.config_version,
            refusal=runtime.refusal,
            rejected=tuple(str(error) for error in runtime.plan.rejected),
            is_stopping=runtime.fleet.is_stopping,
            modules={name: _module_facts(instance) for name, instance in runtime.fleet.instances.items()},
        )


def _module_facts(instance: Instance) -> ModuleFacts:
    image, supervision = instance.plan.image, instance.plan.supervision
    return ModuleFacts(
        image=image.name,
        version=image.version,
        fingerprint=image.fingerprint,
        restart_policy=supervision.restart,
        start_order=supervision.start_order,
        is_wanted=not instance.is_stopped_by_hand,
        state=instance.state,
        reason=instance.reason,
        last_exit=instance.last_exit,
        began_ms=instance.began_ms,
        ended_ms=instance.ended_ms,
        restarted_ms=instance.restarted_ms,
        restarts=instance.restarts,
    )
