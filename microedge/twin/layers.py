"""Who says what about the desired properties: four layers, and the higher one wins, key by key.

    default        the image's manifest
    configuration  the instance's `desired` in microedge.toml
    local          a person on the device: the command line, or an editor on the twin's file
    upstream       the document from above

The desired properties are the layers merged in this order, each as a merge patch over those below it. So a key that
nobody above speaks about has the value from below, also after an image update has changed that; a key that goes from
a layer shows what was beneath; null in a layer takes away what is beneath. The result depends on what the layers say
and never on the order in which they learned it, which is what makes a device that was offline end up like its twin.

Desired belongs to the upstream: a person's change to a key that the upstream's document names would have no effect,
and is therefore refused. Default and configuration are files that describe what is wanted, not acts: where a higher
layer speaks they wait, and `overruled` lists them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from microedge.patch import merge_patch, same
from microedge.twin.document import Path, leaves, value_at

DEFAULT, CONFIGURATION, LOCAL, UPSTREAM = "default", "configuration", "local", "upstream"
NAMES = (DEFAULT, CONFIGURATION, LOCAL, UPSTREAM)  # lowest first

FROM_DEFAULT, FROM_FILE, FROM_CLI, FROM_UPSTREAM = "default", "file", "cli", "upstream"
FROM_CONFIGURATION = "configuration"  # microedge.toml, where "file" is the twin's own: in the history
LAYER_OF = {FROM_FILE: LOCAL, FROM_CLI: LOCAL, FROM_UPSTREAM: UPSTREAM}  # where a change from this origin goes

_ABSENT = object()


@dataclass(frozen=True)
class Overruled:
    """What a layer says in vain: `value` stands in `layer`, but `by` says otherwise (null: takes it away)."""

    path: Path
    layer: str
    value: Any
    by: str


@dataclass(frozen=True)
class Layers:
    """What each layer says; nulls are kept. A value: a change makes a new one."""

    documents: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __getitem__(self, layer: str) -> Mapping[str, Any]:
        return self.documents.get(layer, {})

    def merged(self, below: str = "") -> dict[str, Any]:
        """Return the desired properties, or those that the layers beneath `below` make."""
        result: dict[str, Any] = {}
        for name in NAMES:
            if name == below:
                break
            result = merge_patch(result, self[name])
        return result

    def replaced(self, documents: Mapping[str, Mapping[str, Any]]) -> Layers:
        """Return the layers with those in `documents` saying this and nothing else."""
        return replace(self, documents={**self.documents, **documents})

    def amended(self, layer: str, patch: Mapping[str, Any]) -> Layers:
        """Return the layers after `patch` was applied to what `layer` and those beneath it make.

        The layer keeps every value that the patch names, also one that is the same beneath: it was asked for.
        """
        return self.replaced({layer: _amended(self[layer], patch, self.merged(layer))})

    def without(self, layer: str, patch: Mapping[str, Any]) -> Layers:
        """Return the layers with `layer` silent about all that `patch` names: what is beneath shows again."""
        return self.replaced({layer: _without(self[layer], patch)})

    def speaker(self, path: Path) -> str:
        """Return the highest layer that speaks about `path`; "" if none does."""
        return next((name for name in reversed(NAMES) if value_at(self[name], path, _ABSENT) is not _ABSENT), "")

    def holder(self, layer: str, patch: Mapping[str, Any]) -> tuple[Path, str] | None:
        """Return the first path of `patch` about which a layer above `layer` says something else, and that layer."""
        for name in NAMES[NAMES.index(layer) + 1 :]:
            path = _conflict(patch, self[name], ())
            if path is not None:
                return path, name
        return None

    def overruled(self) -> list[Overruled]:
        """Return what is said in vain, lowest layer first."""
        found = []
        for place, name in enumerate(NAMES):
            for path, value in leaves(self[name]):
                winners = (above for above in reversed(NAMES[place + 1 :]) if _contradicts(self[above], path, value))
                found += [Overruled(path, name, value, by) for by in tuple(winners)[:1]]
        return found


def _contradicts(document: Mapping[str, Any], path: Path, value: Any) -> bool:
    """True if a layer with `document` makes something else of `value`, which a lower one has at `path`."""
    said: Any = document
    for key in path:
        if not isinstance(said, Mapping):
            return True  # a scalar or a null in place of the object that holds it
        if key not in said:
            return False
        said = said[key]
    return not same(said, value)


def _amended(layer: Mapping[str, Any], patch: Mapping[str, Any], below: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(layer)
    for key, value in patch.items():
        beneath = below.get(key)
        objects = beneath if isinstance(beneath, Mapping) else {}
        held = result.get(key, {})
        if value is None:
            result.pop(key, None)
            if key in below:
                result[key] = None
        elif not isinstance(value, Mapping):
            result[key] = value
        elif isinstance(held, Mapping):
            result[key] = _amended(held, value, objects)
        else:  # a scalar or a null hid what is beneath, and an object in its place must go on hiding it
            result[key] = _hiding(objects, merge_patch({}, value))
    return result


def _without(document: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(document)
    for key, value in patch.items():
        held = result.get(key)
        kept = _without(held, value) if isinstance(held, Mapping) and isinstance(value, Mapping) else {}
        if kept:
            result[key] = kept
        elif isinstance(held, Mapping) or not isinstance(value, Mapping):
            result.pop(key, None)
    return result


def _hiding(below: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the patch that makes exactly `wanted` of `below` and names every member of `wanted`."""
    result: dict[str, Any] = {key: None for key in below if key not in wanted}
    for key, value in wanted.items():
        beneath = below.get(key)
        both = isinstance(value, Mapping) and isinstance(beneath, Mapping)
        result[key] = _hiding(beneath, value) if both else value  # type: ignore[arg-type]  # both were looked at
    return result


def _conflict(patch: Mapping[str, Any], above: Mapping[str, Any], path: Path) -> Path | None:
    for key, value in patch.items():
        if key not in above:
            continue
        held = above[key]
        if isinstance(value, Mapping) and isinstance(held, Mapping):
            inner = _conflict(value, held, (*path, key))
            if inner is not None:
                return inner
        elif not same(value, held):
            return (*path, key)
    return None
