"""What microedge reports about itself on `$edgeAgent`, in the shape of IoT Edge's agent. Pure: facts in, JSON out.

Facts hold moments as milliseconds of CLOCK_BOOTTIME, and one offset to the wall clock: when a device without a clock
chip learns the time, the times of all that happened before become right, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from microedge.errors import printable
from microedge.supervisor.lifecycle import Exit, State
from microedge.twin.limits import REPORTED, size_bytes
from microedge.twin.metadata import utc_text

TYPE = "microedge"  # where IoT Edge says "docker"
NEVER = "0001-01-01T00:00:00"  # what IoT Edge writes where there is no time
GOOD, BAD, GONE, NOTHING = 200, 400, 406, 417  # the codes of IoT Edge's agent

_CLOCK_WAS_SET_MS = 1_577_836_800_000  # 2020: a wall clock before that has not been set since the device was built
_REASON_CHARS = 200  # twenty modules in trouble stay far below the limit of a twin
_DESCRIPTION_CHARS = 1_000  # at most 4,000 bytes of UTF-8; a twin allows 4,096

# The words of IoT Edge, which has none for a module that begins or ends: its process is there, so it runs.
RUNTIME_STATUS = {
    State.STOPPED: "stopped",
    State.STARTING: "running",
    State.RUNNING: "running",
    State.UNHEALTHY: "unhealthy",
    State.BACKOFF: "backoff",
    State.STOPPING: "running",
    State.RESTARTING: "running",
    State.FAILED: "failed",
}
_SELF_EXPLAINED = (State.RUNNING, State.STOPPED, State.UNHEALTHY, State.BACKOFF, State.FAILED)

_BRIEF = ("runtimeStatus", "exitCode", "restartCount")  # what is left of each module when there are very many

Entries = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class ModuleFacts:
    """One instance. Moments are milliseconds of CLOCK_BOOTTIME, 0 for never since microedge started."""

    image: str
    version: str
    fingerprint: str
    restart_policy: str
    start_order: int
    is_wanted: bool  # False: stopped by hand, or not to be started by itself
    state: State
    reason: str = ""
    last_exit: Exit | None = None
    began_ms: int = 0
    ended_ms: int = 0
    restarted_ms: int = 0
    restarts: int = 0


@dataclass(frozen=True)
class AgentFacts:
    """microedge itself and its instances by name. `refusal` is why the last reload was refused, "" if it was not."""

    version: str
    python: str
    system: str
    architecture: str
    kernel: str
    isolation: str
    began_ms: int
    clock_offset_ms: int  # to be added to CLOCK_BOOTTIME for milliseconds since the epoch
    config_version: int = 1
    refusal: str = ""
    rejected: tuple[str, ...] = ()
    is_stopping: bool = False
    modules: Mapping[str, ModuleFacts] = field(default_factory=dict)


def reported_document(facts: AgentFacts) -> dict[str, Any]:
    """Return the whole document, always one that a twin may hold: with too many modules it says less of each."""
    head = _head(facts)
    document: dict[str, Any] = {}
    for entries, note in _ever_shorter({name: _module(one, facts) for name, one in sorted(facts.modules.items())}):
        document = {**head, "lastDesiredStatus": _status(facts, note), "modules": entries}
        if size_bytes(document) <= REPORTED.max_bytes:
            break
    return document


def desired_status(facts: AgentFacts) -> tuple[int, str]:
    """Return code and description of how well what microedge was told to run can be run."""
    if facts.is_stopping:
        return GONE, "microedge was told to stop; what its modules do is not known any more"
    refused = [f"not reloaded, the running configuration stays: {facts.refusal}"] if facts.refusal else []
    problems = [*refused, *facts.rejected]
    if problems:
        more = f" (and {len(problems) - 1} more, see: microedge list)" if len(problems) > 1 else ""
        return BAD, printable(problems[0], _DESCRIPTION_CHARS // 2) + more
    if not facts.modules:
        return NOTHING, "nothing to run: put an image into the modules directory, or write [modules.NAME]"
    return GOOD, ""


def _head(facts: AgentFacts) -> dict[str, Any]:
    status = "unknown" if facts.is_stopping else "running"
    began = _moment(facts.began_ms, facts)
    part = {"type": TYPE, "runtimeStatus": status, "lastStartTimeUtc": began}
    return {
        "schemaVersion": "1.0",
        "version": {"version": facts.version},
        "lastDesiredVersion": facts.config_version,
        "runtime": {
            "type": TYPE,
            "settings": {"python": facts.python},
            "platform": {
                "os": printable(facts.system),
                "architecture": printable(facts.architecture),
                "version": printable(facts.kernel),
            },
        },
        "systemModules": {"edgeAgent": part, "edgeHub": {**part, "status": "running", "restartPolicy": "always"}},
    }


def _module(module: ModuleFacts, facts: AgentFacts) -> dict[str, Any]:
    """Return one entry of `modules`. Its env is left out: it may hold secrets, and this leaves the device."""
    return {
        "type": TYPE,
        "version": printable(module.version),
        "status": "running" if module.is_wanted else "stopped",
        "restartPolicy": module.restart_policy,
        "startupOrder": module.start_order,
        "settings": {"image": module.image, "imageHash": module.fingerprint},
        "isolation": facts.isolation,
        "runtimeStatus": "unknown" if facts.is_stopping else RUNTIME_STATUS[module.state],
        "statusDescription": "" if facts.is_stopping else _description(module),
        "exitCode": module.last_exit.as_code if module.last_exit else 0,
        "lastStartTimeUtc": _moment(module.began_ms, facts),
        "lastExitTimeUtc": _moment(module.ended_ms, facts),
        "restartCount": module.restarts,
        "lastRestartTimeUtc": _moment(module.restarted_ms, facts),
    }


def _description(module: ModuleFacts) -> str:
    """Return the reason; for a state that IoT Edge has no word for, the state."""
    return printable(module.reason, _REASON_CHARS) if module.state in _SELF_EXPLAINED else module.state.value


def _moment(boot_ms: int, facts: AgentFacts) -> str:
    epoch_ms = boot_ms + facts.clock_offset_ms
    return utc_text(epoch_ms) if boot_ms and epoch_ms >= _CLOCK_WAS_SET_MS else NEVER


def _ever_shorter(entries: Entries) -> Iterator[tuple[Entries, str]]:
    """Yield ever less of each module, and what to say about it."""
    yield entries, ""
    kept = [key for key in next(iter(entries.values()), {}) if key != "statusDescription"]
    yield _only(kept, entries), "modules are without statusDescription"
    yield _only(_BRIEF, entries), f"modules have {', '.join(_BRIEF)} only"
    yield _only(_BRIEF[:1], entries), f"modules have {_BRIEF[0]} only"
    yield {}, f"{len(entries)} modules are left out"


def _only(keys: Iterable[str], entries: Entries) -> Entries:
    return {name: {key: entry[key] for key in keys} for name, entry in entries.items()}


def _status(facts: AgentFacts, note: str) -> dict[str, Any]:
    code, description = desired_status(facts)
    tail = f"the report is too large: {note}" if note else ""
    words = printable(description, _DESCRIPTION_CHARS - len(tail) - 3)
    return {"code": code, "description": "; ".join(part for part in (words, tail) if part)}
