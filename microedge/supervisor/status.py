"""The status document: what `microedge status --json` prints and everything a person sees is made of."""

from __future__ import annotations

import os
import time
from typing import Any

import microedge
from microedge.errors import NotRunningError
from microedge.supervisor import processes
from microedge.supervisor.instance import Instance
from microedge.supervisor.lifecycle import State
from microedge.supervisor.routing import blind_spots, dead_ends
from microedge.supervisor.runtime import Runtime
from microedge.supervisor.twin_commands import twin_status

_NEVER_QUEUED = ("no_route", "no_upstream", "twin_changes")


class UnknownModuleError(NotRunningError):
    """No instance has this name."""

    exit_code = 1


def status_document(runtime: Runtime) -> dict[str, Any]:
    """Return the whole status. Reads /proc for each module: some milliseconds for twenty of them."""
    config = runtime.config
    return {
        "version": microedge.__version__,
        "device": config.device.id,
        "pid": os.getpid(),
        "uptime_s": round(time.monotonic() - runtime.started_s, 1),
        "config": config.file,
        "state_dir": config.paths.state,
        "modules_dir": config.paths.modules,
        "memory_bytes": processes.memory_bytes(os.getpid()),
        "isolation": "plain",
        "upstream": upstream_status(runtime),
        "queue": runtime.queue.status(),
        "modules": [_with_twin(runtime, instance) for _, instance in sorted(runtime.fleet.instances.items())],
        "rejected": [{"file": _place(error), "reason": error.reason} for error in runtime.plan.rejected],
        "routes": _routes(runtime),
        "dropped": {reason: n for reason, n in runtime.exchange.dropped.items() if reason in _NEVER_QUEUED},
        "warnings": [
            *_refused(runtime),
            *runtime.plan.warnings,
            *runtime.warnings,
            *_route_warnings(runtime),
            *runtime.identities.warnings,
        ],
    }


def upstream_status(runtime: Runtime) -> dict[str, Any]:
    if runtime.connector is None:
        return {"type": "none", "url": "", "state": "none", "reason": "", "in_flight": 0}
    return runtime.connector.status()


def _with_twin(runtime: Runtime, instance: Instance) -> dict[str, Any]:
    dropped = runtime.queue.dropped_of(instance.name)
    return {**module_status(instance), "dropped": dropped, "twin": twin_status(runtime.twins, instance.name)}


def module_status(instance: Instance) -> dict[str, Any]:
    now_s = time.monotonic()
    plan, process, session = instance.plan, instance.process, instance.session
    pid = process.pid if process is not None else 0
    is_waiting = instance.state is State.BACKOFF
    return {
        "name": instance.name,
        "image": plan.image.name,
        "version": plan.image.version,
        "origin": plan.image.origin,
        "state": instance.state.value,
        "reason": instance.reason,
        "pid": pid or None,
        "launch": plan.image.launch,
        "uptime_s": round(now_s - instance.started_s, 1) if pid else None,
        "restarts": instance.restarts,
        "next_start_in_s": round(max(0.0, instance.next_start_s - now_s), 1) if is_waiting else None,
        "memory_bytes": processes.memory_bytes(pid) if pid else 0,
        "cpu_s": processes.cpu_s(pid) if pid else 0.0,
        "sent": instance.sent,
        "received": instance.delivered,
        "unacknowledged": session.unacknowledged if session is not None else 0,
        "log_throttled": process.is_throttled if process is not None else False,
    }


def list_document(runtime: Runtime) -> dict[str, Any]:
    """Return instances, images and rejected directories."""
    images = []
    for name, image in sorted(runtime.discovery.images.items() if runtime.discovery else []):
        users = sorted(
            instance.name for instance in runtime.fleet.instances.values() if instance.plan.image.name == name
        )
        images.append(
            {
                "name": name,
                "version": image.version,
                "origin": image.origin,
                "description": image.description,
                "directory": image.directory,
                "shadows": image.shadows,
                "instances": users,
            }
        )
    status = status_document(runtime)
    return {"modules": status["modules"], "images": images, "rejected": status["rejected"]}


def find(runtime: Runtime, name: str) -> Instance:
    """Return the instance called `name`.

    Raises:
        UnknownModuleError: there is none; the text lists those that exist.
    """
    instance = runtime.fleet.instances.get(name)
    if instance is None:
        known = ", ".join(sorted(runtime.fleet.instances)) or "none"
        raise UnknownModuleError(f"no module is called {name!r}; known: {known}")
    return instance


def _refused(runtime: Runtime) -> list[str]:
    return [f"configuration not reloaded, the running one stays: {runtime.refusal}"] if runtime.refusal else []


def _route_warnings(runtime: Runtime) -> list[str]:
    table, plans = runtime.exchange.routes, [one.plan for one in runtime.fleet.instances.values()]
    return [*dead_ends(table.routes, plans), *blind_spots(table)]


def _routes(runtime: Runtime) -> list[dict[str, Any]]:
    counts = runtime.exchange.routes.counts()
    return [
        {"name": route.name, "text": route.text, "priority": route.priority, "messages": counts[route.name]}
        for route in runtime.exchange.routes.routes
    ]


def _place(error: Any) -> str:
    return f"{error.file}:{error.line}" if error.line else str(error.file)
