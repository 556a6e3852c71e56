"""Twins and the upstream: desired documents that come from above, reported documents that go there."""

from __future__ import annotations

import json
import logging
import time
import zlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NoReturn

from microedge.errors import TwinError, printable
from microedge.method import AGENT
from microedge.names import is_name
from microedge.reactor import Reactor
from microedge.supervisor.held_twin import UPSTREAM, HeldTwin
from microedge.supervisor.twin_changes import Surroundings

if TYPE_CHECKING:
    from microedge.twin.twin import Effect

log = logging.getLogger(__name__)

_DOCUMENT_BYTES = 65_536  # of JSON: twice what a twin holds leaves room for blanks and escapes
_WAITING_MAX = 64  # documents for modules that are not here (yet)
_GATHER_S = 0.2  # a module that reports many times a second has its document made anew five times
_WHERE = "properties.desired"


class TwinUpstream:
    """`changed` is told what a document from above has changed."""

    def __init__(self, reactor: Reactor, exchange: Surroundings, changed: Callable[[HeldTwin, Effect], object]) -> None:
        self.is_there = True
        self._reactor = reactor
        self._exchange = exchange
        self._changed = changed
        self._waiting: dict[str, bytes] = {}  # documents, by module
        self._is_full = False
        self._unpublished: dict[str, HeldTwin] = {}
        self._is_armed = False

    # --- Down ---

    def desired(self, name: str, held: HeldTwin | None, data: bytes) -> None:
        """Take what the upstream wants from module `name`; b"" withdraws it. Nothing has been checked."""
        if held is None:
            self.keep(name, data)
        elif name != AGENT:  # microedge's own twin has nothing to be set
            self._apply(held, data)

    def keep(self, name: str, data: bytes) -> None:
        """Remember a document for a module that is not here: it may come, and the upstream does not send it again."""
        if not data:
            self._waiting.pop(name, None)
        elif not is_name(name) or len(data) > _DOCUMENT_BYTES:
            log.warning("desired properties for module %s are dropped: bytes=%d", printable(name, 80), len(data))
        elif len(self._waiting) < _WAITING_MAX or name in self._waiting:
            self._waiting[name] = data
        elif not self._is_full:
            self._is_full = True
            log.warning("desired properties for more than %d modules that are not here: the rest waits above until "
                        "microedge connects again", _WAITING_MAX)  # fmt: skip

    def opened(self, held: HeldTwin) -> None:
        """The module is here: it gets what waited for it, and the upstream its reported properties."""
        if held.name in self._waiting:
            self._apply(held, self._waiting.pop(held.name))
        self.publish_soon(held)

    def _apply(self, held: HeldTwin, data: bytes) -> None:
        now_ms = time.time_ns() // 1_000_000
        version = None
        try:
            document = self._parsed(held, data, now_ms)
            version = document.get("$version") if isinstance(document, dict) else None
            effect = held.twin.replace_desired(document, "upstream", now_ms)
        except TwinError as error:
            text = f"the upstream's desired properties are refused: {error}"
            if held.problems.get(UPSTREAM) != text:
                log.error("twin of %s: %s", held.name, text)
            held.problems[UPSTREAM] = text
            self._answer(held, version, 400, printable(error, 1_000))
        else:
            held.problems.pop(UPSTREAM, None)
            self._changed(held, effect)
            if data:
                self._answer(held, version, 200, "")
            else:
                held.upstream_status = {}
        self.publish_soon(held)

    def _parsed(self, held: HeldTwin, data: bytes, now_ms: int) -> object:
        try:
            return _parsed(data)
        except TwinError as error:  # what the twin refuses it notes itself
            held.twin.note_refusal(error, "upstream", now_ms)
            raise

    def _answer(self, held: HeldTwin, version: object, code: int, description: str) -> None:
        known = version if type(version) is int else held.twin.state.desired.version
        status = {"code": code, "description": description}
        held.upstream_status = {"lastDesiredVersion": known, "lastDesiredStatus": status}

    # --- Up ---

    def publish_soon(self, held: HeldTwin) -> None:
        """Bring the reported properties to the upstream; what changes within a moment goes together."""
        if not self.is_there:
            return
        self._unpublished[held.name] = held
        if not self._is_armed:
            self._is_armed = True
            self._reactor.call_later(_GATHER_S, self._publish)

    def connected(self, helds: Iterable[HeldTwin]) -> None:
        """The upstream may be another one, or have forgotten: it gets everything again."""
        for held in helds:
            held.published = 0
            self.publish_soon(held)

    def gone(self, held: HeldTwin) -> None:
        """The module is no more: nothing of it stays above. What the upstream wants from it is kept for a successor."""
        from microedge.twin.layers import UPSTREAM as LAYER

        self._unpublished.pop(held.name, None)
        self._exchange.set_reported(held.name, b"")
        document = held.twin.state.layers[LAYER]
        self.keep(held.name, _json(document) if document else b"")

    def flush(self) -> None:
        """Publish what waits, now."""
        unpublished, self._unpublished = self._unpublished, {}
        for held in unpublished.values():
            if held.must_reserve or held.is_at_risk:  # somebody could see this version again, with another content
                self.publish_soon(held)
                continue
            document = held.twin.reported_document()
            if held.upstream_status:
                document["$metadata"] = held.upstream_status
            data = _json(document)
            checksum = zlib.crc32(data) or 1  # 0 stands for nothing
            if checksum != held.published:
                held.published = checksum
                self._exchange.set_reported(held.name, data)

    def _publish(self) -> None:
        self._is_armed = False
        self.flush()


def _json(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def _parsed(data: bytes) -> object:
    if not data:
        return {}
    if len(data) > _DOCUMENT_BYTES:
        raise TwinError(_WHERE, f"{len(data)} bytes", f"a document of at most {_DOCUMENT_BYTES} bytes")
    try:
        return json.loads(data.decode(), parse_constant=_no_constant)
    except RecursionError as error:
        raise TwinError(_WHERE, printable(data, 40), "JSON nested at most 10 levels deep") from error
    except ValueError as error:  # no UTF-8, no JSON, or an integer of thousands of digits
        raise TwinError(_WHERE, printable(data, 40), f"a JSON object ({printable(error, 100)})") from error


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")
