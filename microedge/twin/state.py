"""Everything a twin holds, as a value, and the steps from one to the next. Pure: what is refused raises and changes
nothing, because a step makes a new state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from microedge.errors import TwinError
from microedge.patch import diff, same
from microedge.twin.document import Path, copied, leaves, properties_of, value_at
from microedge.twin.history import dotted, shown
from microedge.twin.layers import (
    CONFIGURATION,
    DEFAULT,
    FROM_CLI,
    FROM_DEFAULT,
    FROM_FILE,
    FROM_UPSTREAM,
    LAYER_OF,
    LOCAL,
    UPSTREAM,
    Layers,
)
from microedge.twin.limits import (
    DESIRED,
    REPORTED,
    TAGS,
    Part,
    check_document,
    check_size,
    checked_patch,
    merged,
)
from microedge.twin.metadata import Bag, stamped

_ORIGIN_OF = {DEFAULT: FROM_DEFAULT, CONFIGURATION: FROM_FILE, UPSTREAM: FROM_UPSTREAM}
_ABSENT = object()


@dataclass(frozen=True)
class TwinState:
    """`version` counts every change, `revision` those of tags and desired properties: it is what the etag shows.

    `blame` has, for each desired value by its dotted path, origin, layer, time and, if there was one, the value
    before. `local_origins` says which values of the local layer came from an editor and which from the command line.
    """

    tags: Mapping[str, Any] = field(default_factory=dict)
    layers: Layers = field(default_factory=Layers)
    desired: Bag = field(default_factory=Bag)
    reported: Bag = field(default_factory=Bag)
    version: int = 1
    revision: int = 1
    blame: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    local_origins: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """A new state, and the patch that the other side is told about."""

    state: TwinState
    patch: Mapping[str, Any]


def patch_desired(state: TwinState, patch: object, origin: str, now: str) -> Step:
    """Return the state after `patch` from `origin`; its version goes up even if no value differs.

    Raises:
        TwinError: the patch or the merged result breaks a limit, or a key belongs to a layer above.
    """
    wanted = copied(checked_patch(_own(patch), DESIRED))
    layer = LAYER_OF[origin]
    _check_free(state.layers, layer, wanted)
    return _with_layers(state, state.layers.amended(layer, wanted), origin, now, wanted)


def replace_desired(state: TwinState, document: object, origin: str, now: str) -> Step:
    """Return the state with `document` as all that the layer of `origin` says.

    A new version only if a desired value differs; the same state if the layer said exactly that already.

    Raises:
        TwinError: the document or the merged result breaks a limit, or a key belongs to a layer above.
    """
    wanted = copied(checked_patch(_own(document), DESIRED))
    layer = LAYER_OF[origin]
    if same(state.layers[layer], wanted):
        return Step(state, {})
    _check_free(state.layers, layer, wanted)
    return _with_documents(state, {layer: wanted}, origin, now)


def reset_desired(state: TwinState, patch: object, origin: str, now: str) -> Step:
    """Return the state with the layer of `origin` silent about all that `patch` names, whatever it says there.

    A new version only if a desired value differs.

    Raises:
        TwinError: the patch, or what shows then, breaks a limit.
    """
    layer = LAYER_OF[origin]
    layers = state.layers.without(layer, checked_patch(_own(patch), DESIRED))
    if same(state.layers[layer], layers[layer]):
        return Step(state, {})
    return _with_documents(state, {layer: layers[layer]}, origin, now)


def replace_base(state: TwinState, documents: Mapping[str, Mapping[str, Any]], now: str) -> Step:
    """Return the state with new defaults or a new configuration; a new version only if a desired value differs.

    Raises:
        TwinError: a document or the merged result breaks a limit.
    """
    for document in documents.values():
        check_document(document, DESIRED)
    changed = {name: copied(document) for name, document in documents.items() if not same(state.layers[name], document)}
    if not changed:
        return Step(state, {})
    return _with_documents(state, changed, FROM_FILE if CONFIGURATION in changed else FROM_DEFAULT, now)


def patch_reported(state: TwinState, patch: object, now: str) -> Step:
    """Return the state after a module's report.

    Raises:
        TwinError: the patch or the merged result breaks a limit.
    """
    wanted = copied(checked_patch(_own(patch), REPORTED))
    merged(state.reported.properties, wanted, REPORTED)
    reported = state.reported.patched(wanted, now)
    return Step(replace(state, reported=reported, version=state.version + 1), wanted)


def patch_tags(state: TwinState, patch: object) -> Step:
    """Return the state after a change of the tags, which no module sees.

    Raises:
        TwinError: the patch or the merged result breaks a limit.
    """
    wanted = copied(checked_patch(patch, TAGS))
    tags = merged(state.tags, wanted, TAGS)
    return Step(replace(state, tags=tags, version=state.version + 1, revision=state.revision + 1), wanted)


def _own(document: object) -> object:
    """Return what is ours to judge: `$version` and `$metadata` come along with a document that was read somewhere."""
    return properties_of(document) if isinstance(document, dict) else document


def _check_free(layers: Layers, layer: str, patch: Mapping[str, Any]) -> None:
    held = layers.holder(layer, patch)
    if held is None:
        return
    path, holder = held
    raise TwinError(
        f"{DESIRED.name}.{dotted(path)}",
        value_at(patch, path),
        f"a key that the {holder} does not set",
        hint=f"the {holder} says {shown(value_at(layers[holder], path))!r}: change it there",
    )


def _with_documents(state: TwinState, documents: Mapping[str, Mapping[str, Any]], origin: str, now: str) -> Step:
    layers = state.layers.replaced(documents)
    step = _with_layers(state, layers, origin, now)
    if step.patch:
        return step
    # Who says it has changed, what is said has not: nobody needs to be told, and the version tells of values.
    kept = replace(state, layers=layers, blame=step.state.blame, local_origins=step.state.local_origins)
    return Step(kept, {})


def _with_layers(
    state: TwinState, layers: Layers, origin: str, now: str, patch: Mapping[str, Any] | None = None
) -> Step:
    """Return the state after a change of the layers; `patch` is what to tell, if it was sent as one."""
    desired = layers.merged()
    _check_sizes(layers, desired)
    told = diff(state.desired.properties, desired) if patch is None else patch
    bag = Bag(desired, state.desired.version + 1, stamped(state.desired.metadata, told, now))
    origins = _local_origins(state, layers, origin, told)
    after = replace(
        state,
        layers=layers,
        desired=bag,
        version=state.version + 1,
        revision=state.revision + 1,
        blame=_blame(state, layers, desired, now, origins),
        local_origins=origins,
    )
    return Step(after, told)


def _check_sizes(layers: Layers, desired: Mapping[str, Any]) -> None:
    check_size(desired, DESIRED)
    for name, document in layers.documents.items():
        part = Part(f"{DESIRED.name} (layer {name})", DESIRED.max_bytes)  # what is overruled takes room as well
        check_size(document, part)


def _local_origins(state: TwinState, layers: Layers, origin: str, patch: Mapping[str, Any]) -> dict[str, str]:
    if LAYER_OF.get(origin) != LOCAL or layers[LOCAL] is state.layers[LOCAL]:
        return dict(state.local_origins)
    touched = {path for path, _ in (*leaves(patch), *leaves(diff(state.layers[LOCAL], layers[LOCAL])))}
    known = state.local_origins
    return {
        dotted(path): origin if path in touched else known.get(dotted(path), origin)
        for path, _ in leaves(layers[LOCAL])
    }


def _blame(
    state: TwinState, layers: Layers, desired: Mapping[str, Any], now: str, local_origins: Mapping[str, str]
) -> dict[str, Mapping[str, Any]]:
    return dict(_blamed(state, layers, desired, now, local_origins))


def _blamed(
    state: TwinState, layers: Layers, desired: Mapping[str, Any], now: str, local_origins: Mapping[str, str]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for path, value in leaves(desired):
        name, layer = dotted(path), layers.speaker(path)
        origin = _ORIGIN_OF.get(layer) or local_origins.get(name, FROM_CLI)
        known = state.blame.get(name, {})
        is_same = same(value_at(state.desired.properties, path, _ABSENT), value)
        if is_same and (known.get("layer"), known.get("origin")) == (layer, origin):
            yield name, known
            continue
        entry: dict[str, Any] = {"origin": origin, "layer": layer, "time": now}
        entry.update(_before(state, path, known, is_same=is_same))
        yield name, entry


def _before(state: TwinState, path: Path, known: Mapping[str, Any], *, is_same: bool) -> dict[str, Any]:
    if is_same:
        return {"before": known["before"]} if "before" in known else {}
    before = value_at(state.desired.properties, path, _ABSENT)
    return {} if before is _ABSENT else {"before": shown(before)}
