"""One module's twin, alive: who may change what, what follows from it, and what waits to be saved. Pure.

Reads no clock and no file: `now_ms` is wall-clock milliseconds since the epoch and only ever becomes a text in the
document. `TwinFile` writes what `snapshot` returns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from microedge.errors import TwinError
from microedge.patch import diff, same
from microedge.twin import state as steps
from microedge.twin.document import VERSION
from microedge.twin.history import Entry, History, differences, dotted
from microedge.twin.layers import CONFIGURATION, DEFAULT, FROM_CONFIGURATION, FROM_DEFAULT, FROM_FILE
from microedge.twin.limits import DESIRED, REPORTED, TAGS, Part, check_document
from microedge.twin.lines import line_of
from microedge.twin.metadata import NEVER, utc_text
from microedge.twin.saving import Urgency
from microedge.twin.state import Step, TwinState
from microedge.twin.stored import Stored, parse, render, twin_document

FROM_MODULE = "module"  # the origin of reports, in refusals
CONNECTED, DISCONNECTED = "Connected", "Disconnected"

# Versions of reported properties that may be given out between two writes. After a crash the twin continues behind
# them, so that no version is ever used twice. 1000 are 33 reports a second for 30 s; more means a write sooner, but
# not within 3 s of the last one: 333 a second is what a module can report in the long run.
_RESERVED_VERSIONS = 1000


@dataclass(frozen=True)
class Effect:
    """What a change did. `notification` is the patch with its nulls and `$version`, None when nobody need be told.

    `part` is "properties.desired", "properties.reported" or "tags". `changed` is False when every value is as before.
    """

    part: str
    version: int
    changed: bool
    notification: dict[str, Any] | None


@dataclass(frozen=True)
class Snapshot:
    """The twin at one moment. Nothing in it changes any more, so `render` may run on another thread."""

    stored: Stored
    change: int

    def render(self) -> bytes:
        """Return the content of the file, for `TwinFile.write`: 0.3 ms for a small twin here, 5 ms for a full one."""
        return render(self.stored)


class Twin:
    """See the top of this file. The mappings it returns are its own: read them, and change them by its methods."""

    def __init__(
        self, device: str, module: str, state: TwinState | None = None, history: History | None = None
    ) -> None:
        self.device, self.module = device, module
        self.state = state or TwinState()
        self.history = history or History()
        self.connection_state = DISCONNECTED
        self._last_activity = NEVER
        self._change = self.urgent_change = 1  # changes are numbered; one that was never saved waits to be
        self.saved_change = 0
        self._ceiling = 0

    @classmethod
    def restored(cls, device: str, module: str, stored: Stored) -> Twin:
        """Return the twin that a file holds, as it was written: an edit of the file is for `apply_edit`.

        Its names are `device` and `module`, whatever the file says: it may have been copied from another device. After
        a crash the version of `reported` goes on behind the highest that can have been seen.
        """
        twin = cls(device, module, stored.state, History(stored.changes, stored.refusals))
        twin._last_activity = stored.last_activity
        twin._ceiling = stored.reported_ceiling
        twin.saved_change = twin._change
        lost = stored.reported_ceiling - stored.state.reported.version
        if lost > 0:
            reported = replace(stored.state.reported, version=stored.reported_ceiling)
            twin.state = replace(stored.state, reported=reported, version=stored.state.version + lost)
        return twin

    @property
    def desired(self) -> Mapping[str, Any]:
        """The desired properties, without `$version`."""
        return self.state.desired.properties

    @property
    def reported(self) -> Mapping[str, Any]:
        """The reported properties, without `$version`."""
        return self.state.reported.properties

    @property
    def tags(self) -> Mapping[str, Any]:
        """The tags, which no module sees."""
        return self.state.tags

    @property
    def dirty(self) -> Urgency:
        """What waits to be written, for `SaveTimer.due_ms`."""
        if self.urgent_change > self.saved_change:
            return Urgency.NOW
        if self.is_ahead:
            return Urgency.SOON
        return Urgency.LATER if self._change > self.saved_change else Urgency.NOTHING

    @property
    def is_saved(self) -> bool:
        """True when the file holds everything that is worth keeping."""
        return self.dirty is Urgency.NOTHING

    @property
    def is_ahead(self) -> bool:
        """True when more versions of `reported` are in use than the file reserves: a crash gives some out twice."""
        return self.state.reported.version > self._ceiling

    @property
    def is_settled(self) -> bool:
        """True when everything is saved and the next start skips no version: nothing is left to write at a stop."""
        return self.is_saved and self.state.reported.version == self._ceiling

    def desired_document(self) -> dict[str, Any]:
        """Return all desired properties and `$version`: what a module gets when it connects."""
        return self.state.desired.document()

    def reported_document(self) -> dict[str, Any]:
        """Return all reported properties and `$version`: what is published retained."""
        return self.state.reported.document()

    def document(self) -> dict[str, Any]:
        """Return the complete twin document, as IoT Hub shows it to a back end."""
        return twin_document(self._stored())

    def blame(self) -> dict[str, Mapping[str, Any]]:
        """Return origin, layer, time and the value before of every desired value, by dotted path."""
        return dict(self.state.blame)

    def overruled(self) -> list[Entry]:
        """Return what a layer says in vain, with the layer that says otherwise."""
        found = self.state.layers.overruled()
        return [{"path": dotted(it.path), "layer": it.layer, "value": it.value, "by": it.by} for it in found]

    def patch_desired(self, patch: object, origin: str, now_ms: int) -> Effect:
        """Apply `patch` from "cli", "file" or "upstream". Accepted, it is a new version even if no value differs.

        Raises:
            TwinError: it breaks a limit, or a key belongs to the upstream. Nothing was changed; the refusal is noted.
        """
        return self._take(lambda now: steps.patch_desired(self.state, patch, origin, now), DESIRED, origin, now_ms)

    def replace_desired(self, document: object, origin: str, now_ms: int) -> Effect:
        """Make `document` all that "cli", "file" or "upstream" says; what lower layers say shows where it is silent.

        A null in it takes away what a lower layer says. A document that is already in force is no change, whatever
        its `$version`; {} withdraws everything.

        Raises:
            TwinError: it breaks a limit, or a key belongs to the upstream. Nothing was changed; the refusal is noted.
        """
        return self._take(lambda now: steps.replace_desired(self.state, document, origin, now), DESIRED, origin, now_ms)

    def reset_desired(self, patch: object, origin: str, now_ms: int) -> Effect:
        """Let "cli", "file" or "upstream" say nothing more about what `patch` names: what is beneath shows again.

        Raises:
            TwinError: what shows then breaks a limit. Nothing was changed; the refusal is noted.
        """
        return self._take(lambda now: steps.reset_desired(self.state, patch, origin, now), DESIRED, origin, now_ms)

    def patch_reported(self, patch: object, now_ms: int) -> Effect:
        """Apply what the module reports.

        Raises:
            TwinError: it breaks a limit. Nothing was changed; the refusal is noted.
        """
        return self._take(lambda now: steps.patch_reported(self.state, patch, now), REPORTED, FROM_MODULE, now_ms)

    def patch_tags(self, patch: object, origin: str, now_ms: int) -> Effect:
        """Apply `patch` to the tags.

        Raises:
            TwinError: it breaks a limit. Nothing was changed; the refusal is noted.
        """
        return self._take(lambda now: steps.patch_tags(self.state, patch), TAGS, origin, now_ms)

    def reconcile(self, defaults: Mapping[str, Any], configured: Mapping[str, Any], now_ms: int) -> Effect:
        """Take over the manifest's defaults and the configured properties; the same as before is no change.

        Never raises for a limit: what does not fit is noted as a refusal and the running properties stay. A twin that
        never had any takes the defaults alone then.
        """
        both = {DEFAULT: defaults, CONFIGURATION: configured}
        tries = (both,) if self.state.layers.documents else (both, {DEFAULT: defaults})
        for documents in tries:
            try:
                return self._reconcile(documents, now_ms)
            except TwinError:
                continue  # noted as a refusal by then
        return self._effect(DESIRED, self.state, {})

    def apply_edit(self, data: bytes, now_ms: int) -> tuple[Effect, Effect]:
        """Take over what a person changed in the text of the file; return the effects on desired properties and tags.

        What was edited is told from the text itself, so changes that arrived while an editor held it open stay.

        Raises:
            TwinError: with the line; it is no twin file, something else was edited, a limit is broken, or a key
                belongs to the upstream. Nothing was changed, neither desired nor tags; the refusal is noted.
        """
        edit = self._parse_edit(data, now_ms)
        return self.apply_stored_edit(edit, now_ms)

    def apply_stored_edit(self, edit: Stored, now_ms: int) -> tuple[Effect, Effect]:
        """Like `apply_edit`, for a text that is already parsed.

        Raises:
            TwinError: with the line. Nothing was changed, neither desired nor tags; the refusal is noted.
        """
        now = utc_text(now_ms)
        try:
            desired, tags = self._edit_steps(edit, now)
        except TwinError as error:
            line = line_of(edit.text, error.path)
            located = TwinError(error.path, error.got, error.expected, line=line, hint=error.hint)
            self._refuse(located, FROM_FILE, error.path, now)
            raise located from error
        self.history.settled(FROM_FILE)
        return self._commit(desired, DESIRED, FROM_FILE, now), self._commit(tags, TAGS, FROM_FILE, now)

    def note_refusal(self, error: TwinError, origin: str, now_ms: int) -> None:
        """Note that something from `origin` was refused before it came to this: it was no document at all."""
        self._refuse(error, origin, error.path, utc_text(now_ms))

    def set_connected(self, is_connected: bool, now_ms: int) -> None:
        """Note that the module has connected or gone. Not worth a write of its own: it goes along with the next."""
        self.connection_state = CONNECTED if is_connected else DISCONNECTED
        self._last_activity = utc_text(now_ms)

    def snapshot(self, *, is_last: bool = False) -> Snapshot:
        """Return what is to be written. `is_last` at a regular stop: then no version needs to be skipped afterwards."""
        ceiling = self.state.reported.version + (0 if is_last else _RESERVED_VERSIONS)
        return Snapshot(replace(self._stored(), reported_ceiling=ceiling), self._change)

    def saved(self, snapshot: Snapshot) -> None:
        """Note that `TwinFile.write` has made a snapshot durable."""
        self.saved_change = max(self.saved_change, snapshot.change)
        self._ceiling = snapshot.stored.reported_ceiling

    def must_save(self) -> None:
        """Note that the file does not hold this twin: it was edited in vain, or it is the previous copy."""
        self._change += 1
        self.urgent_change = self._change

    def skip_versions(self) -> None:
        """Go on behind every version that can have been given out in a file that is lost; this is its previous copy."""
        state, skipped = self.state, 2 * _RESERVED_VERSIONS  # what it had reserved, and what waited for more
        self.state = replace(
            state,
            desired=replace(state.desired, version=state.desired.version + skipped),
            reported=replace(state.reported, version=state.reported.version + skipped),
            version=state.version + 2 * skipped,
            revision=state.revision + skipped,
        )
        self.must_save()

    def _stored(self) -> Stored:
        return Stored(
            device=self.device,
            module=self.module,
            state=self.state,
            changes=self.history.changes,
            refusals=self.history.refusals,
            reported_ceiling=self._ceiling,
            last_activity=self._last_activity,
            connection_state=self.connection_state,
        )

    def _parse_edit(self, data: bytes, now_ms: int) -> Stored:
        try:
            return parse(data, self._stored())
        except TwinError as error:
            self._refuse(error, FROM_FILE, error.path, utc_text(now_ms))
            raise

    def _edit_steps(self, edit: Stored, now: str) -> tuple[Step, Step]:
        check_document(edit.desired, DESIRED)
        check_document(edit.tags, TAGS)
        desired = Step(self.state, {})
        patch = diff(edit.state.desired.properties, edit.desired)
        if patch:
            desired = steps.patch_desired(self.state, patch, FROM_FILE, now)
        patch = diff(edit.state.tags, edit.tags)
        return desired, steps.patch_tags(desired.state, patch) if patch else Step(desired.state, {})

    def _reconcile(self, documents: Mapping[str, Mapping[str, Any]], now_ms: int) -> Effect:
        configured = documents.get(CONFIGURATION, {})
        origin = FROM_DEFAULT if same(self.state.layers[CONFIGURATION], configured) else FROM_CONFIGURATION
        return self._take(lambda now: steps.replace_base(self.state, documents, now), DESIRED, origin, now_ms)

    def _take(self, step: Callable[[str], Step], part: Part, origin: str, now_ms: int) -> Effect:
        now = utc_text(now_ms)
        try:
            taken = step(now)
        except TwinError as error:
            self._refuse(error, origin, part.name, now)
            raise
        return self._commit(taken, part, origin, now)

    def _refuse(self, error: TwinError, origin: str, part: str, now: str) -> None:
        self.history.refused(origin, part, error, now)
        self._change += 1  # worth keeping, not worth a write of its own

    def _commit(self, step: Step, part: Part, origin: str, now: str) -> Effect:
        before, self.state = self.state, step.state
        self.history.settled(origin)
        if origin == FROM_MODULE:
            self._last_activity = now
        effect = self._effect(part, before, step.patch)
        if step.state is before:
            return effect
        self._change += 1
        if part is REPORTED:
            return effect
        self.urgent_change = self._change
        if effect.notification is not None:
            entry = {"time": now, "origin": origin, "part": part.name, "version": effect.version}
            self.history.changed(entry, differences(_content(before, part), _content(self.state, part)))
        return effect

    def _effect(self, part: Part, before: TwinState, patch: Mapping[str, Any]) -> Effect:
        version = _version(self.state, part)
        notification = None if version == _version(before, part) else {**patch, VERSION: version}
        is_changed = not same(_content(before, part), _content(self.state, part))
        return Effect(part.name, version, is_changed, notification)


def _content(state: TwinState, part: Part) -> Mapping[str, Any]:
    if part is TAGS:
        return state.tags
    return (state.desired if part is DESIRED else state.reported).properties


def _version(state: TwinState, part: Part) -> int:
    if part is TAGS:
        return state.version
    return (state.desired if part is DESIRED else state.reported).version
