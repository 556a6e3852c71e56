"""One module of the status document in detail. Pure."""

from __future__ import annotations

from typing import Any

from microedge.cli.status_view import STATE_STYLES, TROUBLED, dropped_words
from microedge.cli.terminal import Look, clean, labelled
from microedge.cli.units import count, duration, size

_LAUNCH_WORDS = {"fork": "forked from the fork server", "exec": "an interpreter of its own"}


def render_module(document: dict[str, Any], look: Look) -> str:
    """Return the first module of `document` as labelled lines, with what to do when it is in trouble."""
    modules = document.get("modules") or []
    if not modules:
        return "no such module; see: microedge list"
    module = modules[0]
    name = clean(module.get("name", "?"))
    lines = [look.paint(name, "bold"), *_state_lines(module, look)]
    for label, text in _facts(module):
        lines += labelled(look, label, text)
    lines += ["", *_next_steps(name, module)]
    return look.plain("\n".join(lines))


def _state_lines(module: dict[str, Any], look: Look) -> list[str]:
    state = clean(module.get("state", "?"))
    reason = clean(module.get("reason") or "", 2000)
    text = f"{state}: {reason}" if reason else state
    lines = labelled(look, "state", text)
    lines[0] = lines[0].replace(f" {state}", " " + look.paint(state, STATE_STYLES.get(state, "")), 1)
    next_start_s = module.get("next_start_in_s")
    if next_start_s is not None:
        lines += labelled(look, "next start", f"in {duration(next_start_s)}")
    problem = clean((module.get("twin") or {}).get("problem") or "", 1000)
    if problem:
        lines += [look.paint(line, "yellow") for line in labelled(Look(look.width), "twin problem", problem)]
    if module.get("log_throttled"):
        lines += labelled(look, "log", "prints faster than 64 KiB a second: it has to wait for its log")
    return lines


def _facts(module: dict[str, Any]) -> list[tuple[str, str]]:
    origin = clean(module.get("origin") or "")
    image = f"{clean(module.get('image', '?'))} {clean(module.get('version') or '')}".rstrip()
    facts = [("image", f"{image} ({origin})" if origin else image)]
    if module.get("pid"):
        launch = clean(module.get("launch") or "")
        facts.append(("process", f"{module['pid']}, {_LAUNCH_WORDS.get(launch, launch)}"))
        facts.append(("uptime", duration(module.get("uptime_s") or 0)))
        facts.append(("memory", size(module.get("memory_bytes") or 0)))
        facts.append(("processor", f"{module.get('cpu_s') or 0:.2f} s of a core since its start"))
    facts.append(("restarts", f"{module.get('restarts') or 0:,}"))
    sent, waiting = module.get("sent") or 0, module.get("unacknowledged") or 0
    facts.append(("sent", f"{count(sent, 'message')}, {waiting:,} of them not yet acknowledged"))
    facts.append(("received", count(module.get("received") or 0, "message")))
    if module.get("dropped"):
        facts.append(("dropped", dropped_words(module["dropped"])))
    return facts + _twin_facts(module.get("twin") or {})


def _twin_facts(twin: dict[str, Any]) -> list[tuple[str, str]]:
    if not twin:
        return []
    versions = (
        f"desired version {twin.get('desired_version', '?')}, reported version {twin.get('reported_version', '?')}"
    )
    return [("twin", versions if twin.get("is_saved", True) else f"{versions}, the last changes not yet saved")]


def _next_steps(name: str, module: dict[str, Any]) -> list[str]:
    steps = [f"microedge logs {name} -f"]
    if module.get("state") in TROUBLED:
        steps.append(f"microedge restart {name}")
    elif module.get("state") == "stopped":
        steps.append(f"microedge start {name}")
    else:
        steps.append(f"microedge tail {name}")
    if (module.get("twin") or {}).get("problem"):
        steps.append(f"microedge twin history {name}")
    return [f"see also: {', '.join(steps)}"]
