"""The commands that look into the queue and change it. What they report as done is on disk."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from microedge.errors import MicroedgeError
from microedge.message import Message
from microedge.queue.letter import Letter, Selection
from microedge.supervisor.control import Command, Reply
from microedge.supervisor.runtime import Runtime

if TYPE_CHECKING:
    from microedge.queue.peek import Waiting
    from microedge.queue.upkeep import Outcome, Upkeep

MAX_COUNT = 1_000  # messages of one look, for each endpoint
_MAX_NUMBERS = 500
_BODIES_BYTES = 2 * 1024 * 1024  # of one answer: as JSON they may take six times that, and a client takes 16 MiB
_PREVIEW_CHARS, _PREVIEW_BYTES = 200, 48
_HINT = "see: microedge queue status"


class QueueCommandError(MicroedgeError):
    """The queue cannot be looked at or changed like this; the text says why."""


def queue_commands(runtime: Runtime) -> dict[str, Command]:
    """Return the commands by name."""
    return {
        "queue": lambda request, reply: reply.result(runtime.queue.status()),
        "queue_peek": lambda request, reply: _peek(runtime, request, reply),
        "queue_replay": lambda request, reply: _replay(runtime, request, reply),
        "queue_purge": lambda request, reply: _purge(runtime, request, reply),
    }


# --- peek ---


def _peek(runtime: Runtime, request: Mapping[str, Any], reply: Reply) -> None:
    count, endpoint = int(request.get("count", 10)), str(request.get("endpoint") or "")
    if not 1 <= count <= MAX_COUNT:
        raise QueueCommandError(f"count = {count}: expected 1 to {MAX_COUNT}")
    answer = _Answer(is_full=bool(request.get("full")))
    if not request.get("dead"):
        _peek_next(runtime.queue.upkeep, _endpoints(runtime, endpoint), count, answer, reply)
        return

    def show(letters: list[Letter], trouble: str) -> None:
        for letter in letters:
            answer.add(letter.message, _letter(letter))
        _finish(reply, trouble, answer.document())

    newest = Selection(endpoint=endpoint, limit=count, max_bytes=2 * _BODIES_BYTES, is_newest=True)
    runtime.queue.upkeep.peek_dead(newest, show)


def _peek_next(upkeep: Upkeep, endpoints: list[str], count: int, answer: _Answer, reply: Reply) -> None:
    """Look at one endpoint after the other, so that the messages of only one of them are in RAM."""
    if not endpoints:
        reply.result(answer.document())
        return
    endpoint, *others = endpoints

    def show(found: list[Waiting], trouble: str) -> None:
        for waiting in found:
            answer.add(waiting.message, _waiting(endpoint, waiting))
        if trouble:
            _finish(reply, trouble, None)
        else:
            _peek_next(upkeep, others, count, answer, reply)

    upkeep.peek(endpoint, count, show)


class _Answer:
    """Messages as JSON, until their bodies have filled the answer; the others are counted."""

    def __init__(self, *, is_full: bool) -> None:
        self._is_full = is_full
        self._messages: list[dict[str, object]] = []
        self._room_bytes = _BODIES_BYTES
        self._left_out = 0

    def add(self, message: Message | None, facts: dict[str, object]) -> None:
        size = message.size_bytes if message is not None and self._is_full else 0
        if size > self._room_bytes:
            self._left_out += 1
            return
        self._room_bytes -= size
        self._messages.append({**facts, **(_described(message, self._is_full) if message is not None else {})})

    def document(self) -> dict[str, object]:
        return {"messages": self._messages, "left_out": self._left_out}


def _waiting(endpoint: str, waiting: Waiting) -> dict[str, object]:
    expires_in_ms = waiting.expires_in_ms
    return {
        "endpoint": endpoint,
        "priority": waiting.priority,
        "age_s": waiting.age_ms / 1000,
        "expires_in_s": expires_in_ms / 1000 if expires_in_ms is not None else None,
        "is_in_flight": waiting.is_in_flight,
        "is_on_disk": waiting.is_on_disk,
    }


def _letter(letter: Letter) -> dict[str, object]:
    return {
        "id": letter.number,
        "endpoint": letter.endpoint,
        "priority": letter.priority,
        "reason": letter.reason,
        "text": letter.text,
        "time_ms": letter.time_ms,
        "age_s": max(0.0, time.time() - letter.time_ms / 1000),
        "bytes": letter.size_bytes,
        "damage": letter.damage,
    }


def _described(message: Message, is_full: bool) -> dict[str, object]:
    return {
        "message_id": message.message_id,
        "module": message.module,
        "output": message.output,
        "created_ms": message.created_ms,
        "time_quality": message.time_quality,
        "content_type": message.content_type,
        "content_encoding": message.content_encoding,
        "properties": message.properties,
        "bytes": message.size_bytes,
        **_body(message.body, is_full),
    }


def _body(body: bytes, is_full: bool) -> dict[str, object]:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        part = body if is_full else body[:_PREVIEW_BYTES]
        return {"body_base64": base64.b64encode(part).decode(), "is_cut": len(part) < len(body)}
    part_text = text if is_full else text[:_PREVIEW_CHARS]
    return {"body": part_text, "is_cut": len(part_text) < len(text)}


# --- replay and purge ---


def _replay(runtime: Runtime, request: Mapping[str, Any], reply: Reply) -> None:
    numbers = tuple(int(number) for number in request.get("ids") or ())
    endpoint = str(request.get("endpoint") or "")
    if not (numbers or endpoint or request.get("all")):
        raise QueueCommandError("nothing to send again: expected ids, an endpoint, or all")
    if len(numbers) > _MAX_NUMBERS:
        raise QueueCommandError(f"{len(numbers)} ids: expected at most {_MAX_NUMBERS}")

    def report(outcome: Outcome, trouble: str) -> None:
        _finish(reply, trouble, {"replayed": outcome.done, "kept": outcome.kept})

    runtime.queue.upkeep.replay(Selection(numbers, endpoint), report)


def _purge(runtime: Runtime, request: Mapping[str, Any], reply: Reply) -> None:
    endpoint, module = str(request.get("endpoint") or ""), str(request.get("module") or "")
    upkeep = runtime.queue.upkeep
    if request.get("dead"):
        selection = Selection(endpoint=endpoint, module=module)
        upkeep.purge_dead(selection, lambda outcome, trouble: _finish(reply, trouble, {"purged": outcome.done}))
        return
    endpoints = _endpoints(runtime, endpoint)
    purged = 0

    def purge_next(count: int = 0, trouble: str = "") -> None:
        nonlocal purged
        purged += count
        if trouble or not endpoints:
            _finish(reply, trouble, {"purged": purged, "in_flight": _in_flight(runtime, endpoint)})
        else:
            upkeep.purge(endpoints.pop(), module, purge_next)

    purge_next()


def _endpoints(runtime: Runtime, endpoint: str) -> list[str]:
    """Return the endpoint, or all of them for ""; in the order in which `queue status` shows them."""
    known = sorted({name for name, _ in _in_flight_by_endpoint(runtime)})
    if endpoint and endpoint not in known:
        raise QueueCommandError(f"nothing was ever queued for {endpoint}; endpoints: {', '.join(known) or 'none'}")
    return [endpoint] if endpoint else known


def _in_flight(runtime: Runtime, endpoint: str) -> int:
    return sum(count for name, count in _in_flight_by_endpoint(runtime) if endpoint in ("", name))


def _in_flight_by_endpoint(runtime: Runtime) -> Sequence[tuple[str, int]]:
    lines: Any = runtime.queue.status()["endpoints"]
    return [(line["endpoint"], line["in_flight"]) for line in lines]


def _finish(reply: Reply, trouble: str, result: object) -> None:
    if trouble:
        reply.error(f"the queue cannot use its disk: {trouble}", _HINT)
    else:
        reply.result(result)
