"""The twins of all modules, alive: opened before a module starts, changed from four sides, saved and told about.

`microedge.twin` decides what a change does; this class carries it out: the module is sent its desired properties, the
card gets what changed (`TwinSaver`), reports are answered (`ReportQueue`) and travel on (`TwinChanges`,
`TwinUpstream`). Everything happens on the loop's thread but the reading and writing of files while it runs.

What a process knows is told by one number, the version of the desired properties that it was sent last: the next
version goes out as a patch, and after a gap, whatever made it, the whole document. Nobody is told of a change before it
is on the card, so what was told is true after a crash as well.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from microedge.config.plan import InstancePlan
from microedge.errors import TwinError, printable
from microedge.hub.twin_frames import desired_frame
from microedge.method import AGENT
from microedge.reactor import Reactor
from microedge.supervisor.held_twin import CONFIGURED, EDIT, FILE, HeldTwin
from microedge.supervisor.instance import Instance
from microedge.supervisor.twin_changes import Surroundings, TwinChanges
from microedge.supervisor.twin_reports import ReportQueue
from microedge.supervisor.twin_saver import TwinSaver
from microedge.supervisor.twin_upstream import TwinUpstream

if TYPE_CHECKING:
    from microedge.twin.store import OpenedTwin, TwinStore
    from microedge.twin.twin import Effect, Twin

log = logging.getLogger(__name__)

Done = Callable[["Effect", bool], None]

_UNREAD_BYTES = 65_536  # frames for a module that does not read: beyond it, changes are gathered into one document
_AGENT_SAVE_MS = 600_000  # of what microedge reports: it does so again at each start, and a crash loop changes it
_OWED_S = 0.5  # until a module that did not read is looked at again


def _nobody(effect: Effect, is_told: bool) -> None:
    """Nobody waits for this change."""


class Twins:
    """Owns twins/ of the state directory. Built without I/O; loads the code of twins with the first of them."""

    def __init__(
        self,
        state_dir: str,
        device: str,
        reactor: Reactor,
        exchange: Surroundings,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.directory = os.path.join(state_dir, "twins")
        self.retry: Callable[[str], None] = lambda name: None  # the module's desired properties changed: start it
        self._device = device
        self._reactor = reactor
        self._held: dict[str, HeldTwin] = {}
        self._owed: set[str] = set()  # modules that did not read
        self._changes = TwinChanges(exchange)
        self._saver = TwinSaver(reactor, self._edited, self._saved, clock)
        self._reports = ReportQueue(reactor, self._take_report, clock)
        self._upstream = TwinUpstream(reactor, exchange, self._changed)

    @property
    def has_upstream(self) -> bool:
        """False when nobody above wants anything, whatever somebody did before, and nobody is told anything."""
        return self._upstream.is_there

    @has_upstream.setter
    def has_upstream(self, is_there: bool) -> None:
        self._upstream.is_there = is_there

    # --- Which twins there are ---

    def open(self, removed: Iterable[str]) -> None:
        """Make the directory, and retire twins of names that were given up: a crash may have come in between.

        Never raises: with a card that cannot be written, twins live in RAM.
        """
        try:
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
            for name in removed:
                self._store().retire(name)
        except OSError as error:
            log.error("%s cannot be used: %s; twins live in RAM alone", self.directory, error.strerror)

    def close(self, timeout_s: float) -> None:
        """Save everything, at most `timeout_s`. The loop has ended."""
        self._reports.drain()
        if not self._saver.close(self._held.values(), timeout_s):
            log.error("twins could not be saved to %s: what changed last is lost", self.directory)

    def flush(self) -> None:
        """Look at reports that wait and hand them to the upstream: it is about to close."""
        self._reports.drain()
        self._upstream.flush()

    def follow(self, plans: Iterable[InstancePlan]) -> None:
        """Open a twin for each plan that has none, and take over changed defaults and configuration.

        A module that runs is told in the next turn, if it is not about to be restarted. Blocks for a small read for
        each new one.
        """
        for plan in plans:
            configured = plan.config.desired if plan.config is not None else {}
            held = self._held.get(plan.name)
            if held is None:
                held = self._open(plan.name, plan.image.desired, configured)
            else:
                effect = held.twin.reconcile(plan.image.desired, configured, _now_ms())
                self._saver.consider(held)
                self._reactor.call_soon(partial(self._changed, held, effect))
            self._note_refused_configuration(held, configured)

    def remove(self, name: str) -> None:
        """The name was given up: nobody who gets it later finds this twin. Blocks for a rename."""
        held = self._held.pop(name, None)
        if held is not None:
            self._saver.forget(held)
            self._upstream.gone(held)
            held.file = None
        self._retire(name)

    def names(self) -> list[str]:
        """Return who has a twin, sorted."""
        return sorted(self._held)

    def held(self, name: str) -> HeldTwin:
        """Return a twin and what is known about it.

        Raises:
            TwinError: nobody of that name has one; the text lists those who have.
        """
        held = self._held.get(name)
        if held is None and name == AGENT:  # microedge's own, opened for whoever asks first
            held = self._open(AGENT, {}, {})
        if held is None:
            known = ", ".join(name for name in self.names() if name != AGENT) or "nothing: no module runs"
            raise TwinError("module", name, f"one of {known}")
        return held

    def find(self, name: str) -> Twin:
        """Return a twin, to be read.

        Raises:
            TwinError: nobody of that name has one.
        """
        return self.held(name).twin

    # --- What changes them ---

    def patch_desired(self, name: str, document: object, done: Done = _nobody, *, how: str = "patch") -> Effect:
        """Let a person "patch" desired properties, "replace" all that people have said, or "reset" some of it.

        `done` is called when no crash can undo it any more, with the effect and whether the module was told.

        Raises:
            TwinError: there is no such twin, a limit is broken, or a key belongs to the upstream. Nothing was changed.
        """
        held, twin = self.held(name), self.find(name)
        take = {"patch": twin.patch_desired, "replace": twin.replace_desired, "reset": twin.reset_desired}[how]
        try:
            effect = take(document, "cli", _now_ms())
        except TwinError:
            self._saver.consider(held)  # the refusal is on record
            raise
        self._changed(held, effect, done)
        return effect

    def patch_tags(self, name: str, patch: object, done: Done = _nobody) -> Effect:
        """Let a person change tags. `done` is called when no crash can undo it any more.

        Raises:
            TwinError: there is no such twin, or a limit is broken. Nothing was changed.
        """
        held = self.held(name)
        try:
            effect = held.twin.patch_tags(patch, "cli", _now_ms())
        finally:
            self._saver.consider(held)
        self._when_safe(held, lambda: done(effect, False))
        return effect

    def report(self, name: str, patch: object) -> int:
        """Report for microedge itself, on `$edgeAgent`, or for a module; return the version.

        Raises:
            TwinError: there is no such twin, or a limit is broken. Nothing was changed.
        """
        return self._take_report(self.held(name), patch)

    def upstream_desired(self, name: str, document: bytes) -> None:
        """Take what the upstream wants from a module; b"" withdraws it. Nothing has been checked."""
        self._upstream.desired(name, self._held.get(name), document)

    def upstream_connected(self) -> None:
        """Give the upstream the reported properties of everybody."""
        self._upstream.connected(self._held.values())

    def look(self) -> None:
        """Somebody may have edited files."""
        for held in self._held.values():
            self._saver.look(held)

    # --- Processes ---

    def start(self, instance: Instance) -> dict[str, Any]:
        """Return what START tells a process about its twin; from now on it is told every change."""
        held = self._held[instance.name]
        state = held.twin.state
        held.instance, held.sent_version = instance, state.desired.version
        return {
            "desired": state.desired.properties,
            "desired_version": state.desired.version,
            "reported": state.reported.properties,
            "reported_version": state.reported.version,
        }

    def opened(self, instance: Instance) -> None:
        """The module is ready."""
        held = self._held.get(instance.name)
        if held is not None:
            held.twin.set_connected(True, _now_ms())

    def received(self, instance: Instance, reports: Sequence[tuple[int, object]]) -> None:
        """A module reports."""
        held = self._held.get(instance.name)
        if held is not None:
            self._reports.put(held, instance, reports)

    def closed(self, instance: Instance) -> None:
        """The module's process is gone. What it reported is saved at once if it was asked to stop."""
        held = self._held.get(instance.name)
        if held is None or held.instance is not instance:
            return
        held.instance = None
        held.twin.set_connected(False, _now_ms())
        if instance.is_leaving and not held.twin.is_saved:
            held.twin.must_save()
            self._saver.consider(held)

    # --- Private ---

    def _open(self, name: str, defaults: Mapping[str, Any], configured: Mapping[str, Any]) -> HeldTwin:
        from microedge.twin.saving import SaveTimer
        from microedge.twin.twin import Twin

        timer = SaveTimer(_AGENT_SAVE_MS) if name == AGENT else SaveTimer()
        try:
            opened: OpenedTwin = self._store().open(name, defaults, configured, now_ms=_now_ms())
        except OSError as error:
            held = HeldTwin(Twin(self._device, name), None, timer)
            held.twin.reconcile(defaults, configured, _now_ms())
            where = f"{os.path.join(self.directory, name)}.json"
            reason = error.strerror or error
            held.problems[FILE] = (
                f"{where} cannot be used: {reason}; until microedge starts again it lives in RAM alone"
            )
            log.error("twin of %s: %s", name, held.problems[FILE])
        else:
            held = HeldTwin(opened.twin, opened.file, timer)
            if opened.notes:
                held.problems[FILE] = "; ".join(opened.notes)
                log.warning("twin of %s: %s", name, held.problems[FILE])
        self._held[name] = held
        if name == AGENT:
            held.twin.set_connected(True, _now_ms())
        if not self.has_upstream:
            held.twin.replace_desired({}, "upstream", _now_ms())
        self._upstream.opened(held)
        self._saver.consider(held)
        return held

    def _store(self) -> TwinStore:
        from microedge.twin.store import TwinStore

        return TwinStore(self.directory, self._device)

    def _note_refused_configuration(self, held: HeldTwin, configured: Mapping[str, Any]) -> None:
        from microedge.patch import same
        from microedge.twin.layers import CONFIGURATION

        if same(held.twin.state.layers[CONFIGURATION], configured):
            held.problems.pop(CONFIGURED, None)
            return
        reason = held.twin.history.refusals[-1]["reason"]
        text = f"the configured desired properties are refused, those before them stay: {reason}"
        if held.problems.get(CONFIGURED) != text:
            log.error("twin of %s: %s", held.name, text)
        held.problems[CONFIGURED] = text

    def _take_report(self, held: HeldTwin, patch: object) -> int:
        try:
            effect = held.twin.patch_reported(patch, _now_ms())
        finally:
            self._saver.consider(held)
        if effect.changed:
            self._changes.route(held, _without_version(effect))
            self._upstream.publish_soon(held)
        return effect.version

    def _edited(self, held: HeldTwin, data: bytes) -> None:
        if held.file is None:  # the name was given up while the thread read the edit
            return
        try:
            desired, tags = held.twin.apply_edit(data, _now_ms())
        except TwinError as error:
            held.refused = data
            held.twin.must_save()
            text = (
                f"the edit of {held.file.path} is refused: {printable(error, 500)}; it is kept as {held.file.refused}"
            )
            held.problems[EDIT] = text
            log.error("twin of %s: %s", held.name, text)
            return
        held.problems.pop(EDIT, None)
        parts = [effect.part for effect in (desired, tags) if effect.notification is not None]
        log.info("twin of %s was edited: %s", held.name, " and ".join(parts) or "no value changed")
        self._changed(held, desired)

    def _saved(self, held: HeldTwin) -> None:
        if held.name not in self._held:  # it was being written when it was given up
            self._retire(held.name)
        self._reports.saved(held)
        for then in held.take_safe():
            then()

    def _retire(self, name: str) -> None:
        try:
            self._store().retire(name)
        except OSError as error:
            log.error("twin of %s cannot be set aside: %s; it goes at the next start", name, error.strerror)

    def _changed(self, held: HeldTwin, effect: Effect, done: Done = _nobody) -> None:
        """Carry out what follows from a change of desired properties, once no crash can undo it."""
        self._saver.consider(held)

        def go_on() -> None:
            is_told = effect.notification is not None and self._tell(held, effect)
            if effect.changed:
                self.retry(held.name)
            done(effect, is_told)

        self._when_safe(held, go_on)

    def _when_safe(self, held: HeldTwin, then: Callable[[], None]) -> None:
        """Call `then` when the card has what was changed so far, or cannot take it.

        What somebody was told before would be undone by a crash, and its version would come again with other content.
        """
        if held.is_at_risk:
            held.unsafe.append((held.twin.urgent_change, then))
        else:
            then()

    def _tell(self, held: HeldTwin, effect: Effect | None = None) -> bool:
        """Send the module the change, or the whole document if it has missed one."""
        instance, version = held.instance, held.twin.state.desired.version
        if instance is None or instance.process is None or instance.is_leaving or version <= held.sent_version:
            return False
        if instance.process.unsent_bytes > _UNREAD_BYTES:
            self._owe(held)
            return False
        if effect is not None and effect.version == held.sent_version + 1:
            version = effect.version
            instance.write(desired_frame(version, _without_version(effect), False))
        elif held.is_at_risk:
            return False  # the change that is being written will tell
        else:
            instance.write(desired_frame(version, held.twin.desired, True))
        held.sent_version = version
        return True

    def _owe(self, held: HeldTwin) -> None:
        if not self._owed:
            self._reactor.call_later(_OWED_S, self._pay)
        self._owed.add(held.name)

    def _pay(self) -> None:
        owed, self._owed = self._owed, set()
        for name in owed:
            if name in self._held:
                self._tell(self._held[name])


def _without_version(effect: Effect) -> dict[str, Any]:
    return {key: value for key, value in (effect.notification or {}).items() if key != "$version"}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
