"""What the control socket's commands do. The protocol is described in `control.py`."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from microedge.errors import MicroedgeError
from microedge.message import MAX_MESSAGE_BYTES, Message
from microedge.supervisor import status
from microedge.supervisor.calling import call
from microedge.supervisor.control import Command, Reply
from microedge.supervisor.identities import identity_commands
from microedge.supervisor.instance import Instance
from microedge.supervisor.lifecycle import State
from microedge.supervisor.logs import Line, LogRing
from microedge.supervisor.queue_commands import queue_commands
from microedge.supervisor.runtime import Runtime
from microedge.supervisor.twin_commands import twin_commands

_DEFAULT_LINES = 100
_ENVELOPE_BYTES = 1_024  # more than the names and types of a message from a person take
_SUPERVISOR = "supervisor"


class CommandError(MicroedgeError):
    """The command cannot be carried out; the text says why and what to do."""


def commands(runtime: Runtime) -> dict[str, Command]:
    """Return every command by name."""
    return {
        "status": lambda request, reply: reply.result(_status(runtime, request)),
        "list": lambda request, reply: reply.result(status.list_document(runtime)),
        "queue": lambda request, reply: reply.result(runtime.queue.status()),
        "start": lambda request, reply: _order(runtime, request, reply, _start),
        "stop": lambda request, reply: _order(runtime, request, reply, _stop),
        "restart": lambda request, reply: _order(runtime, request, reply, _restart),
        "logs": lambda request, reply: _logs(runtime, request, reply),
        "tail": lambda request, reply: _tail(runtime, request, reply),
        "send": lambda request, reply: reply.result(_send(runtime, request)),
        "call": lambda request, reply: call(runtime.exchange.methods, request, reply),
        **queue_commands(runtime),
        **identity_commands(runtime.identities),
        **twin_commands(runtime.twins),
    }


def _status(runtime: Runtime, request: Mapping[str, Any]) -> dict[str, Any]:
    document = status.status_document(runtime)
    name = request.get("module")
    if name:
        status.find(runtime, name)
        document["modules"] = [module for module in document["modules"] if module["name"] == name]
    return document


# --- start, stop, restart: answered when the module has arrived where it was sent ---

_Arrived = Callable[[Instance], bool]


def _start(instance: Instance) -> _Arrived:
    instance.is_stopped_by_hand = False
    instance.start()
    return lambda one: one.state not in (State.STARTING, State.RESTARTING)


def _stop(instance: Instance) -> _Arrived:
    instance.is_stopped_by_hand = True
    instance.stop()
    if instance.is_down:
        instance.reason = "stopped by hand"
    return lambda one: one.is_down


def _restart(instance: Instance) -> _Arrived:
    instance.is_stopped_by_hand = False
    instance.restart()
    return lambda one: one.state not in (State.STARTING, State.RESTARTING)


def _order(runtime: Runtime, request: Mapping[str, Any], reply: Reply, order: Callable[[Instance], _Arrived]) -> None:
    instance = status.find(runtime, request["module"])
    if runtime.fleet.is_stopping:
        raise CommandError("microedge is stopping: no module can be started or stopped any more")
    arrived = order(instance)
    forget: list[Callable[[], None]] = []

    def look() -> None:
        if arrived(instance):
            forget.pop()()
            reply.result({"module": instance.name, "state": instance.state.value, "reason": instance.reason})

    forget.append(runtime.fleet.when_changed(look))
    reply.on_close.append(lambda: forget.pop()() if forget else None)
    look()


# --- streams ---


def _logs(runtime: Runtime, request: Mapping[str, Any], reply: Reply) -> None:
    name = request["module"]
    ring: LogRing = runtime.ring if name == _SUPERVISOR else status.find(runtime, name).ring
    lines = [_line(line) for line in ring.tail(int(request.get("lines", _DEFAULT_LINES)))]
    if not request.get("follow"):
        reply.result({"lines": lines})
        return
    reply.begin_stream()
    for line in lines:
        reply.event(line)
    reply.on_close.append(ring.subscribe(lambda line: reply.event(_line(line))))


def _line(line: Line) -> dict[str, Any]:
    return {"time_ms": line.time_ms, "level": line.level, "text": line.text}


def _tail(runtime: Runtime, request: Mapping[str, Any], reply: Reply) -> None:
    module, output = request.get("module"), request.get("output")
    if module:
        status.find(runtime, module)

    def show(message: Message) -> None:
        if module in (None, message.module) and output in (None, message.output):
            reply.event(_event(message))

    reply.begin_stream()
    reply.on_close.append(runtime.exchange.listen(show))


def _event(message: Message) -> dict[str, Any]:
    event: dict[str, Any] = {
        "module": message.module,
        "output": message.output,
        "time_ms": message.created_ms,
        "time_quality": message.time_quality,
        "message_id": message.message_id,
        "content_type": message.content_type,
        "content_encoding": message.content_encoding,
        "properties": message.properties,
    }
    try:
        event["body"] = message.body.decode()
    except UnicodeDecodeError:
        event["body_base64"] = base64.b64encode(message.body).decode()
    return event


def _send(runtime: Runtime, request: Mapping[str, Any]) -> dict[str, str]:
    instance = status.find(runtime, request["module"])
    inputs = instance.plan.image.inputs
    if request["input"] not in inputs:
        known = ", ".join(inputs) or "none"
        raise CommandError(f"module {instance.name} has no input {request['input']!r}; it has: {known}")
    body = json.dumps(request["body"], separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    if len(body) > MAX_MESSAGE_BYTES - _ENVELOPE_BYTES:
        raise CommandError(f"body of bytes={len(body)}: expected at most {MAX_MESSAGE_BYTES - _ENVELOPE_BYTES}")
    ttl_s = runtime.config.store.ttl_s
    return {"message_id": runtime.exchange.send_to_input(instance.name, request["input"], body, ttl_s)}
