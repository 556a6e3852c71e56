"""All module instances: brought in line with a plan, started in order, stopped together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import groupby

from microedge.config.model import InstanceConfig
from microedge.config.plan import InstancePlan
from microedge.supervisor.instance import Instance, Services
from microedge.supervisor.lifecycle import State

log = logging.getLogger(__name__)

_GROUP_S = 5.0  # that modules of one start_order may take before the next ones start all the same


class Fleet:
    """Owns the instances. One that is no longer planned is stopped and then forgotten."""

    def __init__(self, services: Services) -> None:
        self.instances: dict[str, Instance] = {}
        self.is_stopping = False  # nothing starts any more
        self._services = services
        self._leaving: set[str] = set()
        self._start_queue: list[list[str]] = []  # names, by start_order
        self._starting: list[str] = []
        self._changed: list[Callable[[], None]] = []
        self._group = 0

    def apply(self, plans: Iterable[InstancePlan]) -> None:
        """Make the instances what the plans say: new ones start, changed ones restart, missing ones stop.

        An instance that a person stopped stays stopped.
        """
        wanted = {plan.name: plan for plan in plans}
        for name in [name for name in self.instances if name not in wanted]:
            self._remove(name)
        new = [plan for name, plan in wanted.items() if name not in self.instances]
        for plan in wanted.values():
            if plan.name in self.instances:
                self._update(self.instances[plan.name], plan)
        for plan in new:
            self._add(plan)
        starting = sorted((plan for plan in new if plan.autostart), key=_start_key)
        groups = groupby(starting, key=lambda plan: plan.supervision.start_order)
        self._start_queue += [[plan.name for plan in group] for _, group in groups]
        if not self._starting:
            self._start_next_group()

    def stop_all(self) -> None:
        """Ask every instance to stop; `when_changed` tells about progress."""
        self.is_stopping = True
        self._start_queue.clear()
        for instance in self.instances.values():
            instance.stop()

    def retry(self, name: str) -> None:
        """The desired properties of a module have changed: start it now if it waits, or failed because of them."""
        instance = self.instances.get(name)
        if instance is not None and name not in self._leaving and not self.is_stopping:
            instance.retry()

    def kill_all(self) -> None:
        for instance in self.instances.values():
            instance.kill()

    @property
    def is_down(self) -> bool:
        """True when no process of any instance is left."""
        return all(instance.is_down for instance in self.instances.values())

    def when_changed(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each change of an instance's state, until the returned function is called."""
        self._changed.append(callback)
        return lambda: self._changed.remove(callback)

    def _add(self, plan: InstancePlan) -> None:
        instance = Instance(plan, self._services)
        instance.changed = self._instance_changed
        instance.is_stopped_by_hand = not plan.autostart
        instance.reason = "" if plan.autostart else "autostart = false"
        self.instances[plan.name] = instance
        self._services.launcher.preload(plan.image.preload)

    def _update(self, instance: Instance, plan: InstancePlan) -> None:
        was_leaving = plan.name in self._leaving
        self._leaving.discard(plan.name)
        if _without_desired(plan) == _without_desired(instance.plan) and not was_leaving:
            instance.replace(plan)
            return
        log.info("module %s: its files or its configuration changed", plan.name)
        if plan.autostart and not instance.plan.autostart:
            instance.is_stopped_by_hand = False
        instance.replace(plan)
        if not instance.is_stopped_by_hand:
            instance.restart()

    def _remove(self, name: str) -> None:
        log.info("module %s: its image or its configuration is gone; stopping it", name)
        instance = self.instances[name]
        self._leaving.add(name)
        instance.stop()
        self._forget_if_down(instance)

    def _forget_if_down(self, instance: Instance) -> None:
        if instance.name in self._leaving and instance.is_down:
            self._leaving.discard(instance.name)
            del self.instances[instance.name]

    def _instance_changed(self, instance: Instance) -> None:
        self._forget_if_down(instance)
        if instance.name in self._starting and instance.state is not State.STARTING:
            self._starting.remove(instance.name)
            if not self._starting:
                self._start_next_group()
        for callback in list(self._changed):
            callback()

    def _start_next_group(self) -> None:
        self._group += 1
        if not self._start_queue:
            return
        names = [name for name in self._start_queue.pop(0) if self._may_start(name)]
        self._starting = list(names)
        group = self._group
        self._services.reactor.call_later(_GROUP_S, lambda: self._start_anyway(group))
        for name in names:
            self.instances[name].start()
        if not names:
            self._start_next_group()

    def _may_start(self, name: str) -> bool:
        """While a name waited for its turn, a person may have stopped it or started it, or its image may have gone."""
        instance = self.instances.get(name)
        return instance is not None and instance.state is State.STOPPED and not instance.is_stopped_by_hand

    def _start_anyway(self, group: int) -> None:
        if group != self._group:
            return
        if self._start_queue:
            log.warning("modules %s are not ready yet: the next ones start all the same", ", ".join(self._starting))
        self._starting.clear()
        self._start_next_group()


def _start_key(plan: InstancePlan) -> tuple[int, str]:
    return plan.supervision.start_order, plan.name


def _without_desired(plan: InstancePlan) -> InstancePlan:
    """Return the plan without what reaches the module while it runs: a change of the rest needs a restart."""
    config = plan.config or InstanceConfig(plan.name, plan.image.name)
    return replace(plan, config=replace(config, desired={}))
