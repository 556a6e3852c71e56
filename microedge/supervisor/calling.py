"""The control socket's `call`: a direct method for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from microedge.errors import MicroedgeError
from microedge.hub.calls import Invocation
from microedge.method import DEFAULT_RESPONSE_TIMEOUT_S, encode_payload
from microedge.supervisor.control import Reply
from microedge.supervisor.methods import Methods


class CallError(MicroedgeError):
    """The call cannot be made at all; whatever becomes of one that is made is a status."""


def call(methods: Methods, request: Mapping[str, Any], reply: Reply) -> None:
    """Call a method and answer with its status and payload, once they are there.

    Raises:
        CallError: a name, a time or the payload is not valid.
    """
    try:
        payload = encode_payload(request.get("payload"))
    except ValueError as error:
        raise CallError(str(error)) from error
    invocation = Invocation(
        request["module"],
        request["method"],
        payload,
        request.get("response_timeout_s", DEFAULT_RESPONSE_TIMEOUT_S),
        request.get("connect_timeout_s", 0.0),
    )
    problem = invocation.problem()
    if problem:
        raise CallError(problem)
    methods.call(invocation, lambda response: reply.result({"status": response.status, "payload": response.payload}))
