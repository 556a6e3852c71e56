"""The saved copy of a twin, for when no supervisor runs that could be asked."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from microedge.cli.failure import CommandError
from microedge.cli.terminal import clean
from microedge.errors import TwinError
from microedge.patch import same
from microedge.twin.stored import MAX_BYTES, Stored, parse, twin_document
from microedge.twin.twin import Twin

DIRECTORY = "twins"
_EDITED = "edited by hand: microedge takes that over, or says what is wrong with it, when it starts"


def read_saved(state_dir: str, name: str) -> dict[str, Any] | None:
    """Return what the control command `twin` would answer, and `changes` and `refusals`; None if there is no file.

    Raises:
        CommandError: the file cannot be read, or is no twin.
    """
    file = os.path.join(state_dir, DIRECTORY, f"{name}.json")
    if os.path.basename(name) != name or not os.path.exists(file):
        return None
    return answer_of(_stored(file), file)


def answer_of(stored: Stored, file: str) -> dict[str, Any]:
    """Return a saved twin as the control commands `twin` and `twin_history` would answer."""
    state = stored.state
    twin = Twin(stored.device, stored.module, state)
    is_edited = not (same(stored.desired, state.desired.properties) and same(stored.tags, state.tags))
    # When it was saved its module may have been connected; now nobody is.
    return {
        "twin": twin_document(replace(stored, connection_state="Disconnected")),
        "blame": twin.blame(),
        "overruled": twin.overruled(),
        "file": file,
        "is_saved": True,
        "notes": [_EDITED] if is_edited else [],
        "changes": stored.changes,
        "refusals": stored.refusals,
    }


def _stored(file: str) -> Stored:
    try:
        with open(file, "rb") as source:
            return parse(source.read(MAX_BYTES + 1))
    except TwinError as error:
        raise CommandError(
            f"{clean(file)}: {error}",
            "microedge looks after it when it starts: it takes the previous copy, and keeps this one; microedge run",
        ) from error
    except OSError as error:
        raise CommandError(
            f"{clean(file)} cannot be read: {error.strerror}", "run this as the user that runs microedge, or with sudo"
        ) from error
