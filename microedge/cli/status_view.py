"""The status document as text that reads at a glance. Pure: a document and a `Look` in, text out."""

from __future__ import annotations

import textwrap
from typing import Any

from microedge.cli import table
from microedge.cli.terminal import Look, clean, labelled
from microedge.cli.units import count, duration, size

TROUBLED = ("failed", "unhealthy", "backoff")

STATE_STYLES = {
    "running": "green",
    "starting": "cyan",
    "stopping": "cyan",
    "stopped": "dim",
    "backoff": "yellow",
    "unhealthy": "red",
    "failed": "red",
}

_UPSTREAM_STYLES = {"connected": "green", "connecting": "cyan", "waiting": "yellow"}

_UPSTREAM_WORDS = {
    "connected": "connected to",
    "connecting": "connecting to",
    "waiting": "waiting to try again",
}

_DROP_WORDS = {
    "ttl": "older than their time to live",
    "evicted": "to stay within the size cap",
    "no_route": "taken by no route",
    "no_upstream": "meant for an upstream, of which there is none",
    "rejected": "for want of room in the queue",
    "poison": "set aside: the broker or the receiving module broke on them again and again",
    "oversize": "set aside: too large for the broker",
    "refused": "set aside: the broker refused them",
    "purged": "deleted by hand",
    "corrupt": "damaged on disk",
    "twin_changes": "changes of reported properties that came too fast",
}

_ISOLATION_WORDS = {
    "plain": "plain: processes of their own, but the same user; no protection against a hostile module",
}

_COLUMNS = (
    table.Column("NAME", 8),
    table.Column("IMAGE", 8),
    table.Column("STATE"),
    table.Column("UPTIME"),
    table.Column("RESTARTS", is_number=True),
    table.Column("MEMORY", is_number=True),
    table.Column("SENT", is_number=True),
    table.Column("WAITING", is_number=True),
)


def render_status(document: dict[str, Any], look: Look) -> str:
    """Return the whole status document as text; lines are at most `look.width` wide."""
    lines = header_lines(document, look)
    modules = document.get("modules") or []
    lines.append("")
    if modules:
        lines += table.render(look, _COLUMNS, [_module_row(module, look) for module in modules])
    else:
        lines.append("no modules: add one with microedge module new NAME, or a [modules.NAME] to the configuration")
    lines += _notices(document, look)
    return look.plain("\n".join(lines))


def is_well(document: dict[str, Any]) -> bool:
    """True when no module is failed, unhealthy or in back-off and the queue can write."""
    modules = document.get("modules") or []
    queue = document.get("queue") or {}
    return queue.get("state") != "degraded" and all(module.get("state") not in TROUBLED for module in modules)


def header_lines(document: dict[str, Any], look: Look) -> list[str]:
    """Return the lines about the device, its upstream and its queue."""
    running = [f"microedge {clean(document.get('version', '?'))}", f"pid {document.get('pid', '?')}"]
    running.append(f"up {duration(document.get('uptime_s') or 0)}")
    if document.get("memory_bytes"):
        running.append(f"memory {size(document['memory_bytes'])}")
    lines = [f"{look.paint(clean(document.get('device', '?')), 'bold')}  {', '.join(running)}"]
    lines += labelled(look, "configuration", clean(document.get("config", "?"), 1000))
    lines += _upstream_lines(document.get("upstream") or {}, look)
    lines += queue_lines(document.get("queue") or {}, look, extra_drops=document.get("dropped") or {})
    isolation = clean(document.get("isolation", ""))
    if isolation:
        lines += labelled(look, "isolation", _ISOLATION_WORDS.get(isolation, isolation))
    return lines


def _upstream_lines(upstream: dict[str, Any], look: Look) -> list[str]:
    lines = labelled(look, "upstream", upstream_words(upstream))
    state = clean(upstream.get("state", ""))
    if state in _UPSTREAM_STYLES:
        lines[0] = lines[0].replace(f" {state}", " " + look.paint(state, _UPSTREAM_STYLES[state]), 1)
    for problem in upstream.get("problems") or []:
        lines += [look.paint(line, "yellow") for line in labelled(Look(look.width), "", clean(problem, 1000))]
    return lines


def upstream_words(upstream: dict[str, Any]) -> str:
    """Return one sentence about the upstream."""
    state, kind = clean(upstream.get("state", "none")), clean(upstream.get("type", "none"))
    if kind == "none" or state == "none":
        return "none: what is meant for it ends here (set [upstream] in the configuration)"
    url, since = clean(upstream.get("url", "")), duration(upstream.get("since_s") or 0)
    counts = [f"{upstream.get('delivered') or 0:,} delivered"]
    if upstream.get("in_flight"):
        counts.append(f"{upstream['in_flight']:,} in flight")
    if upstream.get("reconnects"):
        counts.append(count(upstream["reconnects"], "reconnect"))
    reason = clean(upstream.get("reason") or "")
    text = f"{_UPSTREAM_WORDS.get(state, state)} {url} for {since}{f' ({reason})' if reason else ''}"
    return f"{text}; {', '.join(counts)}"


def queue_lines(queue: dict[str, Any], look: Look, *, extra_drops: dict[str, Any] | None = None) -> list[str]:
    """Return the lines about the queue: how much waits, where, since when, and what was dropped and why."""
    lines = labelled(look, "queue", _queue_words(queue))
    if queue.get("state") == "degraded":
        reason = clean(queue.get("reason") or "no reason given")
        lines += [look.paint(line, "red") for line in labelled(Look(look.width), "", f"degraded: {reason}")]
    elif queue.get("reason"):  # what came of a damaged database
        lines += labelled(look, "", clean(queue["reason"], 1000))
    drops = {**(queue.get("dropped") or {}), **(extra_drops or {})}
    words = dropped_words(drops)
    if words:
        lines += labelled(look, "dropped", words)
    if queue.get("dead"):
        lines += labelled(look, "set aside", f"{count(queue['dead'], 'message')}; see: microedge queue peek --dead")
    return lines


def dropped_words(drops: dict[str, Any]) -> str:
    """Return how many messages did not arrive and why, "" when all did."""
    return "; ".join(f"{number:,} {_drop_words(reason)}" for reason, number in drops.items() if number)


def wrapped(text: str, look: Look, indent: int) -> list[str]:
    """Return `text` wrapped to the width, every line indented."""
    lead = " " * indent
    columns = max(look.width, indent + 20)
    return textwrap.wrap(text, columns, initial_indent=lead, subsequent_indent=lead, break_on_hyphens=False)


def waiting_of(module: dict[str, Any]) -> str:
    """Return how many messages of a module nobody has acknowledged yet."""
    return f"{module.get('unacknowledged') or 0:,}"


def _queue_words(queue: dict[str, Any]) -> str:
    messages = queue.get("messages") or 0
    used, limit = queue.get("disk_bytes") or 0, queue.get("max_bytes") or 0
    disk = f"{size(used)} of {size(limit)} on disk"
    if not messages:
        return f"empty; {disk}"
    in_ram = queue.get("ram_messages") or 0
    places = f"{in_ram:,} in RAM, {queue.get('disk_messages') or 0:,} on disk"
    return f"{count(messages, 'message')} waiting ({places}), oldest {duration(queue.get('oldest_age_s') or 0)}; {disk}"


def _drop_words(reason: str) -> str:
    return _DROP_WORDS.get(reason, clean(reason))


def _module_row(module: dict[str, Any], look: Look) -> table.Row:
    state = clean(module.get("state", "?"))
    uptime, memory = module.get("uptime_s"), module.get("memory_bytes")
    cells = [
        clean(module.get("name", "?")),
        clean(module.get("image", "?")),
        state,
        duration(uptime) if uptime is not None and state in ("running", "unhealthy", "stopping") else "-",
        f"{module.get('restarts') or 0:,}",
        size(memory) if memory else "-",
        f"{module.get('sent') or 0:,}",
        waiting_of(module),
    ]
    remarks = [look.paint(line, STATE_STYLES.get(state, "")) for line in _remark(module, look)]
    remarks += [look.paint(line, "yellow") for line in _twin_remark(module, look)]
    return table.Row(cells, {0: "bold", 2: STATE_STYLES.get(state, "")}, remarks)


def _remark(module: dict[str, Any], look: Look) -> list[str]:
    texts = []
    if module.get("state") != "running":
        texts.append(clean(module.get("reason") or "", 1000))
        next_start_s = module.get("next_start_in_s")
        if next_start_s is not None and "next" not in texts[0]:
            texts.append(f"next start in {duration(next_start_s)}")
    if module.get("log_throttled"):
        texts.append("prints faster than 64 KiB a second: it has to wait for its log")
    return wrapped("; ".join(text for text in texts if text), look, 2)


def _twin_remark(module: dict[str, Any], look: Look) -> list[str]:
    problem = clean((module.get("twin") or {}).get("problem") or "", 1000)
    name = clean(module.get("name", "?"))
    see = f"see: microedge twin get {name}"
    return wrapped(f"twin: {look.clip(problem, look.width)}; {see}", look, 2) if problem else []


def _notices(document: dict[str, Any], look: Look) -> list[str]:
    lines: list[str] = []
    for image in document.get("rejected") or []:
        text = f"rejected: {clean(image.get('file', '?'))}: {clean(image.get('reason', ''), 1000)}"
        lines += [look.paint(line, "red") for line in wrapped(text, look, 0)]
    for warning in document.get("warnings") or []:
        text = f"warning: {clean(warning, 1000)}"
        lines += [look.paint(line, "yellow") for line in wrapped(text, look, 0)]
    return ["", *lines] if lines else []
