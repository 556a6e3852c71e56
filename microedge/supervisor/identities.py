"""Identities as the control socket's commands show and change them, and which names still belong to somebody."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from microedge.config.discovery import Discovery
from microedge.config.model import Config
from microedge.errors import IdentityError
from microedge.identity.record import KEYS, SECONDARY, Identity
from microedge.identity.store import IdentityStore
from microedge.identity.token import fingerprint
from microedge.supervisor.control import Command, Reply

log = logging.getLogger(__name__)


def identity_commands(identities: IdentityStore) -> dict[str, Command]:
    """Return the commands by name."""
    return {
        "identity": lambda request, reply: reply.result({"identities": _show(identities, request)}),
        "identity_rotate": lambda request, reply: _rotate(identities, request, reply),
    }


def names_in_use(config: Config, discovery: Discovery) -> set[str] | None:
    """Return the names that keep their identity: configured ones, and those of directories that make an instance.

    A broken or half-copied directory counts. None means that the modules directory cannot be read.
    """
    if "" in discovery.dropped_in:
        return None
    images = {one.image for one in config.modules.values()}
    return {*config.modules, *(name for name in discovery.dropped_in if name not in images)}


def _show(identities: IdentityStore, request: Mapping[str, Any]) -> list[dict[str, Any]]:
    chosen = [identities.find(_name(request))] if _is_one(request) else identities.all()
    documents = [_document(identity) for identity in chosen]
    if request.get("reveal"):
        for identity, document in zip(chosen, documents):
            document["keys"] = {which: identity.key(which) for which in KEYS}
        log.info("keys shown on the control socket: %s", ", ".join(identity.path for identity in chosen))
    return documents


def _document(identity: Identity) -> dict[str, Any]:
    return {
        "path": identity.path,
        "device": identity.device,
        "module": identity.module,
        "generation": identity.generation,
        "fingerprints": {which: fingerprint(identity.key(which)) for which in KEYS},
        "created": identity.created,
        "rotated": identity.rotated,
        "removed": identity.removed,
    }


def _rotate(identities: IdentityStore, request: Mapping[str, Any], reply: Reply) -> None:
    name, which = _name(request), request.get("which") or SECONDARY

    def rotated(reason: str) -> None:
        if reason:
            path = identities.find(name).path
            reply.error(IdentityError(path, f"its file cannot be written: {reason}; both old keys stay valid"))
        else:
            reply.result({**_document(identities.find(name)), "which": which})

    identities.rotate(name, which, rotated)


def _is_one(request: Mapping[str, Any]) -> bool:
    return bool(request.get("module") or request.get("of_device"))


def _name(request: Mapping[str, Any]) -> str:
    """Return the module's name, or "" for the device, which has to be asked for: nobody rotates its key by omission."""
    name = request.get("module")
    if isinstance(name, str) and name:
        return name
    if request.get("of_device"):
        return ""
    raise IdentityError("module", "expected the name of a module, or of_device = true")
