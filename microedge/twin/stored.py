"""The twin's file as a text: the whole document, then the bookkeeping of microedge. Pure.

A person may edit `tags` and `properties.desired`. What they held when the text was written stands in the bookkeeping
as well (the tags as they are, the desired properties as the layers that make them), so the text itself tells what was
edited, even if the twin went on changing while an editor held it open. Everything else is covered by a checksum: an
edit there, and damage that left valid JSON, is noticed. It is a CRC: it notices accidents, it does not stop a forger,
who could as well write the checksum, and it costs no OpenSSL.
"""

from __future__ import annotations

import binascii
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from microedge.errors import TwinError
from microedge.patch import diff
from microedge.twin.document import leaves, properties_of
from microedge.twin.history import Entry, dotted
from microedge.twin.layers import Layers
from microedge.twin.limits import DESIRED, REPORTED, TAGS, Words, check_document
from microedge.twin.lines import line_of
from microedge.twin.metadata import NEVER, Bag
from microedge.twin.state import TwinState

MAX_BYTES = 4 * 1024 * 1024  # ten times what the limits of a twin allow with metadata and blame
BOOKKEEPING = "microedge"

_FORMAT = 1
_DEEP = Words("(brackets nested too deeply)")
_LIVELY = ("version", "connectionState", "lastActivityTime", BOOKKEEPING)  # change without anybody editing them
_MISSHAPEN = (KeyError, TypeError, AttributeError, ValueError)  # a part is missing, or of another kind
_NOTE = "tags and properties.desired may be edited; everything else is refused and put back"


@dataclass(frozen=True)
class Stored:
    """What a file holds. `tags` and `desired` are as a person may have edited them; `state` is as it was written.

    `reported_ceiling` is the highest `$version` that `reported` can have had in memory since this was written.
    """

    device: str
    module: str
    state: TwinState
    changes: list[Entry] = field(default_factory=list)
    refusals: list[Entry] = field(default_factory=list)
    reported_ceiling: int = 0
    last_activity: str = NEVER
    connection_state: str = "Disconnected"
    tags: Mapping[str, Any] = field(default_factory=dict)
    desired: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""


def twin_document(stored: Stored) -> dict[str, Any]:
    """Return the twin as Azure IoT Hub shows it to a back end."""
    state = stored.state
    return {
        "deviceId": stored.device,
        "moduleId": stored.module,
        "etag": etag(state.revision),
        "version": state.version,
        "status": "enabled",
        "connectionState": stored.connection_state,
        "lastActivityTime": stored.last_activity,
        "tags": state.tags,
        "properties": {"desired": state.desired.complete(), "reported": state.reported.complete()},
    }


def etag(revision: int) -> str:
    """Return the etag of a revision as IoT Hub writes it: eight bytes in base64."""
    return binascii.b2a_base64(revision.to_bytes(8, "big"), newline=False).decode()


def render(stored: Stored) -> bytes:
    """Return the text of the file: JSON indented by two, UTF-8, with a newline at its end."""
    document = _whole(stored)
    document[BOOKKEEPING]["checksum"] = _checksum(document)
    return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()


def parse(data: bytes, running: Stored | None = None) -> Stored:
    """Return what a file holds. With `running`, the error about a forbidden edit can say what was edited.

    Raises:
        TwinError: it is no JSON, no twin file, or something besides tags and desired properties was changed. The
            limits of the two are not checked here.
    """
    text = _decoded(data)
    document = _parsed(text)
    bookkeeping = document.get(BOOKKEEPING)
    if not isinstance(bookkeeping, dict) or bookkeeping.get("format") != _FORMAT:
        raise TwinError("", Words("(another JSON document)"), "the file of a twin as microedge writes it")
    try:
        is_ours = _checksum(document) == bookkeeping["checksum"]
        tags, desired = document["tags"], properties_of(document["properties"]["desired"])
    except _MISSHAPEN as error:
        raise _without_a_part(document, text) from error
    except RecursionError as error:
        raise TwinError("", _DEEP, "JSON nested at most 10 levels deep") from error
    if not is_ours:
        _refuse_edit(document, text, running)
    try:
        return _stored(document, tags, desired, text)
    except _MISSHAPEN as error:
        raise TwinError(BOOKKEEPING, Words("(incomplete)"), "what microedge wrote there") from error


def _whole(stored: Stored) -> dict[str, Any]:
    state = stored.state
    document = twin_document(stored)
    document[BOOKKEEPING] = {
        "note": _NOTE,
        "format": _FORMAT,
        "checksum": "",
        "revision": state.revision,
        "reportedCeiling": stored.reported_ceiling,
        "tags": state.tags,
        "layers": dict(state.layers.documents),
        "localOrigins": state.local_origins,
        "blame": state.blame,
        "history": stored.changes,
        "refusals": stored.refusals,
    }
    return document


def _decoded(data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise TwinError("", Words(f"(a file of {len(data)} bytes)"), f"at most {MAX_BYTES} bytes")
    try:
        return data.decode("utf-8-sig")  # editors on Windows put the mark there
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TwinError("", Words("(bytes that are no text)"), "UTF-8", line=line) from error


def _parsed(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise TwinError("", Words(f"({error.msg})"), "JSON", line=error.lineno) from error
    except RecursionError as error:
        raise TwinError("", _DEEP, "JSON nested at most 10 levels deep") from error
    except ValueError as error:  # an integer of thousands of digits, or one of the constants that are no JSON
        raise TwinError("", Words(f"({error})"), "JSON") from error
    if not isinstance(document, dict):
        raise TwinError("", document, "a JSON object")
    return document


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _without_a_part(document: Mapping[str, Any], text: str) -> TwinError:
    for name, holder in (("tags", document), ("properties", document), ("desired", document.get("properties"))):
        if not isinstance(holder, Mapping) or not isinstance(holder.get(name), Mapping):
            path = name if holder is document else f"properties.{name}"
            return TwinError(
                path, Words("(no object)"), "an object; {} deletes all its members", line=line_of(text, path)
            )
    return TwinError(f"{BOOKKEEPING}.checksum", Words("(missing)"), "what microedge wrote there")


def _refuse_edit(document: dict[str, Any], text: str, running: Stored | None) -> NoReturn:
    path = _edited_path(_protected(_plain(_whole(running))), _protected(document)) if running else ""
    raise TwinError(
        path,
        Words("(edited, or damaged)"),
        "edits of tags and properties.desired only",
        line=line_of(text, path),
    )


def _edited_path(running: Mapping[str, Any], edited: Mapping[str, Any]) -> str:
    """Return the likeliest place: the twin may have changed since the text was written, so some names come last."""
    paths = [dotted(path) for path, _ in leaves(diff(running, edited))]
    return min(paths, key=lambda path: path.startswith(_LIVELY), default="")


def _plain(document: dict[str, Any]) -> dict[str, Any]:
    found = json.loads(json.dumps(document))  # mappings of all kinds become dicts
    assert isinstance(found, dict)
    return found


def _check_kinds(document: Mapping[str, Any]) -> None:
    """Accept a document whose parts are of the kinds that the twin counts on; TypeError otherwise.

    The checksum tells accidents. This is for a file that another program wrote, checksum and all.
    """
    own, bags = document[BOOKKEEPING], document["properties"]
    for holder, kind, keys in (
        (document, str, ("deviceId", "moduleId", "lastActivityTime", "connectionState")),
        (document, int, ("version",)),
        (own, int, ("revision", "reportedCeiling")),
        (own, dict, ("tags", "layers", "localOrigins", "blame")),
        (own, list, ("history", "refusals")),
        (bags["desired"], int, ("$version",)),
        (bags["desired"], dict, ("$metadata",)),
        (bags["reported"], int, ("$version",)),
        (bags["reported"], dict, ("$metadata",)),
    ):
        for key in keys:
            if type(holder[key]) is not kind:
                raise TypeError(f"{key} = {holder[key]!r}: expected {kind.__name__}")
    for one in (*own["layers"].values(), *own["blame"].values(), *own["history"], *own["refusals"]):
        if type(one) is not dict:
            raise TypeError(f"{one!r}: expected an object")


def _stored(document: dict[str, Any], tags: Any, desired: Any, text: str) -> Stored:
    _check_kinds(document)
    own, bags = document[BOOKKEEPING], document["properties"]
    layers = Layers(own["layers"])
    state = TwinState(
        tags=own["tags"],
        layers=layers,
        desired=_bag(bags["desired"], layers.merged()),
        reported=_bag(bags["reported"], properties_of(bags["reported"])),
        version=document["version"],
        revision=own["revision"],
        blame=own["blame"],
        local_origins=own["localOrigins"],
    )
    for part, content in (
        (TAGS, state.tags),
        (DESIRED, state.desired.properties),
        (REPORTED, state.reported.properties),
    ):
        check_document(content, part)
    return Stored(
        device=document["deviceId"],
        module=document["moduleId"],
        state=state,
        changes=own["history"],
        refusals=own["refusals"],
        reported_ceiling=own["reportedCeiling"],
        last_activity=document["lastActivityTime"],
        connection_state=document["connectionState"],
        tags=tags,
        desired=desired,
        text=text,
    )


def _bag(written: Mapping[str, Any], properties: Mapping[str, Any]) -> Bag:
    return Bag(properties, written["$version"], written["$metadata"])


def _protected(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document without what a person may edit, and without the checksum itself."""
    properties = dict(document["properties"])
    desired = properties["desired"]
    properties["desired"] = {key: desired[key] for key in ("$version", "$metadata")}
    own = {key: value for key, value in document[BOOKKEEPING].items() if key != "checksum"}
    rest = {key: value for key, value in document.items() if key != "tags"}
    return {**rest, "properties": properties, BOOKKEEPING: own}


def _checksum(document: Mapping[str, Any]) -> str:
    plain = json.dumps(_same_numbers(_protected(document)), sort_keys=True, separators=(",", ":"))
    return f"{zlib.crc32(plain.encode()):08x}"


def _same_numbers(value: Any) -> Any:
    """Return `value` with 1 for 1.0: editors and tools like jq write it so, and mean no change."""
    if isinstance(value, Mapping):
        return {key: _same_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_same_numbers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
