"""Twins as the control socket's commands show and change them, and as `status` shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from microedge.errors import TwinError
from microedge.method import AGENT
from microedge.supervisor.control import Command, Reply
from microedge.supervisor.twins import Twins

if TYPE_CHECKING:
    from microedge.twin.twin import Effect

_PARTS = ("desired", "tags")


def twin_commands(twins: Twins) -> dict[str, Command]:
    """Return the commands by name."""
    return {
        "twin": lambda request, reply: reply.result(_show(twins, request)),
        "twin_set": lambda request, reply: _set(twins, request, reply),
        "twin_history": lambda request, reply: reply.result(_history(twins, request)),
    }


def twin_status(twins: Twins, name: str) -> dict[str, Any]:
    """Return what `status` shows of a module's twin."""
    if name not in twins.names():  # its name was given up, and its last process has not ended yet
        return {"desired_version": 0, "reported_version": 0, "is_saved": True, "problem": ""}
    held = twins.held(name)
    state = held.twin.state
    return {
        "desired_version": state.desired.version,
        "reported_version": state.reported.version,
        "is_saved": held.is_saved,
        "problem": held.problem,
    }


def _show(twins: Twins, request: Mapping[str, Any]) -> dict[str, Any]:
    held = twins.held(request["module"])
    return {
        "twin": held.twin.document(),
        "blame": held.twin.blame(),
        "overruled": held.twin.overruled(),
        "file": held.file.path if held.file is not None else "",
        "is_saved": held.is_saved,
        "notes": held.all_notes(),
    }


def _set(twins: Twins, request: Mapping[str, Any], reply: Reply) -> None:
    name, part, patch = request["module"], request.get("part", "desired"), request["patch"]
    if part not in _PARTS:
        raise TwinError("part", part, f"one of {', '.join(_PARTS)}")
    is_whole = bool(request.get("replace"))
    how = "reset" if request.get("reset") else "replace" if is_whole else "patch"

    def done(effect: Effect, is_told: bool) -> None:
        reply.result({"part": part, "version": effect.version, "changed": effect.changed, "delivered": is_told})

    if part == "tags":
        twins.patch_tags(name, _difference(twins, name, patch) if is_whole else patch, done)
    elif name == AGENT:
        raise TwinError("properties.desired", patch, "the name of a module: microedge itself has none")
    else:
        twins.patch_desired(name, patch, done, how=how)


def _history(twins: Twins, request: Mapping[str, Any]) -> dict[str, Any]:
    history = twins.find(request["module"]).history
    return {"changes": history.changes, "refusals": history.refusals}


def _difference(twins: Twins, name: str, tags: object) -> object:
    """Return the patch that makes `tags` of what there is."""
    from microedge.patch import diff
    from microedge.twin.limits import TAGS, check_document

    before = twins.find(name).tags
    check_document(tags, TAGS)
    return diff(before, tags) if isinstance(tags, dict) else tags
