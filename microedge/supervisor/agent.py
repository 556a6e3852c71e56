"""The supervisor's own direct methods, on the identity `$edgeAgent`, as IoT Edge's agent has them.

Names are case-insensitive. A wrong argument is answered with 400 and a sentence, anything else that fails with 500.
"""

from __future__ import annotations

import logging
from typing import Any

from microedge.errors import printable
from microedge.method import BAD_REQUEST, FAILED, NOT_FOUND, OK, MethodResponse, refusal
from microedge.supervisor.runtime import Runtime

log = logging.getLogger(__name__)

_EVERY_LINE = 1_000_000  # a ring holds a few hundred


class Agent:
    """Answers at once and never blocks for longer than a pattern may take (see `agent_logs`)."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._methods = {
            "ping": self._ping,
            "restartmodule": self._restart_module,
            "getmodulelogs": self._get_module_logs,
        }

    def call(self, method: str, payload: object) -> MethodResponse:
        """Carry out one method."""
        run = self._methods.get(method.lower())
        if run is None:
            known = "ping, RestartModule, GetModuleLogs"
            return refusal(BAD_REQUEST, f"method {printable(method)}: expected one of {known}")
        try:
            return run(payload)
        except ValueError as error:
            return refusal(BAD_REQUEST, printable(error))
        except (OSError, RuntimeError, LookupError, TypeError, ArithmeticError) as error:
            log.exception("method %s of microedge failed; this is a bug", method.lower())
            return refusal(FAILED, printable(f"{type(error).__name__}: {error}"))

    def _ping(self, _payload: object) -> MethodResponse:
        return MethodResponse(OK)

    def _restart_module(self, payload: object) -> MethodResponse:
        arguments = _arguments(payload)
        name = arguments.get("id")
        instance = self._runtime.fleet.instances.get(name) if isinstance(name, str) else None
        if instance is None:
            known = ", ".join(sorted(self._runtime.fleet.instances)) or "none"
            return refusal(NOT_FOUND, f"id = {printable(name, 80)!r}: expected one of {known}")
        if self._runtime.fleet.is_stopping:
            return refusal(BAD_REQUEST, "microedge is stopping")
        log.info("module %s is restarted: RestartModule was called", instance.name)
        instance.is_stopped_by_hand = False
        instance.restart()
        return MethodResponse(OK)

    def _get_module_logs(self, payload: object) -> MethodResponse:
        from microedge.supervisor.agent_logs import SUPERVISOR_ID, LogRequest, answer_of  # few ask for it

        request = LogRequest.parse(_arguments(payload))
        rings = {name: instance.ring for name, instance in self._runtime.fleet.instances.items()}
        rings[SUPERVISOR_ID] = self._runtime.ring
        lines = {name: ring.tail(_EVERY_LINE) for name, ring in sorted(rings.items())}
        return MethodResponse(OK, answer_of(request, lines, self._runtime.config.device.id))


def _arguments(payload: object) -> dict[str, Any]:
    if not isinstance(payload, dict):
        raise ValueError(f"payload: expected an object with schemaVersion, found {type(payload).__name__}")
    version = payload.get("schemaVersion")
    if not (isinstance(version, str) and version.partition(".")[0] == "1"):
        raise ValueError(f"schemaVersion = {printable(version, 20)!r}: expected '1.0'")
    return payload
