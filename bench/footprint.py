"""What idle modules cost: memory of the whole runtime, CPU and wake-ups per minute."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack

from broker import Broker
from contestants import Contestant, Microedge, Supervised
from processes import cpu_s, memory, switches, wait_for
from rows import MIB, Figures, Plan, Row, medians, plan_of_arguments, print_rows, workplace

_BUDGETS = {10: 46.0, 20: 68.0}
_IDLE_MODULES = 10
_IDLE_BUDGET_MS = 60.0


def idle(kind: type[Contestant], directory: str, count: int, port: int | None) -> Contestant:
    modules = {f"m{number}": ("bench_idle", {}) for number in range(count)}
    return kind(os.path.join(directory, f"{kind.__name__}-{count}-{bool(port)}"), modules, port)


def settle(contestant: Contestant, settle_s: float) -> None:
    """Wait until everything is up, and then until it has come to rest."""
    count = len(contestant.modules)
    extra = 2  # supervisor and fork server, or supervisord and Mosquitto
    wait_for(lambda: len(contestant.pids) >= count + extra, 30, f"{contestant.name} with {count} modules")
    time.sleep(settle_s)
    pids = contestant.pids
    assert len(pids) == count + extra, f"{contestant.name}: processes={len(pids)}, expected {count + extra}"


def measure_memory(kind: type[Contestant], directory: str, count: int, port: int | None) -> Figures:
    with idle(kind, directory, count, port) as contestant:
        settle(contestant, 3.0)
        found = memory(contestant.pids)
    return {"pss": found.pss / MIB, "anonymous": found.anonymous / MIB, "root_rss": found.root_rss / MIB}


def measure_idle(plan: Plan, directory: str, broker: Broker) -> dict[str, Figures]:
    """All contestants at once: idle processes do not disturb each other."""
    window_s = plan.of(60, 10)
    with ExitStack() as stack:
        contestants = {
            "mqtt": stack.enter_context(idle(Microedge, directory, _IDLE_MODULES, broker.port)),
            "none": stack.enter_context(idle(Microedge, directory, _IDLE_MODULES, None)),
            "supervised": stack.enter_context(idle(Supervised, directory, _IDLE_MODULES, broker.port)),
        }
        for contestant in contestants.values():
            settle(contestant, plan.of(5, 3))
        pids = {name: contestant.pids for name, contestant in contestants.items()}
        before = {name: (cpu_s(found), switches(found)) for name, found in pids.items()}
        time.sleep(window_s)
        after = {name: (cpu_s(found), switches(found)) for name, found in pids.items()}
    scale = 60 / window_s
    return {
        name: {
            "cpu_ms": (after[name][0] - before[name][0]) * 1000 * scale,
            "switches": (after[name][1] - before[name][1]) * scale,
        }
        for name in contestants
    }


def memory_rows(plan: Plan, directory: str, broker: Broker) -> list[Row]:
    rows = []
    for count in plan_counts(plan):
        few = Plan(min(plan.runs, 2), plan.is_quick)
        peers: dict[str, Figures] = {}
        if count:
            run = _runner(Supervised, directory, count, broker.port)
            peers["supervised"] = medians(few, f"memory supervised {count}", run)
        for port, upstream in ((None, "no upstream"), (broker.port, "MQTT upstream")):
            found = medians(few, f"memory {upstream} {count}", _runner(Microedge, directory, count, port))
            rows += _memory_rows(count, upstream, found, peers)
    return rows


def plan_counts(plan: Plan) -> tuple[int, ...]:
    return (0, 10) if plan.is_quick else (0, 1, 5, 10, 20)


def _runner(kind: type[Contestant], directory: str, count: int, port: int | None) -> Callable[[], Figures]:
    return lambda: measure_memory(kind, directory, count, port)


def _memory_rows(count: int, upstream: str, found: Figures, peers: dict[str, Figures]) -> list[Row]:
    is_mqtt = upstream.startswith("MQTT")
    rows = []
    if not count:
        budget = 26.0 if is_mqtt else 17.0
        rows.append(Row(f"supervisor alone, {upstream}: RSS", "MB", found["root_rss"], budget=budget))
    row = Row(
        f"whole runtime with {count} idle module{'' if count == 1 else 's'}, {upstream}: PSS",
        "MB",
        found["pss"],
        peers={name: figures["pss"] for name, figures in peers.items()},
        budget=_BUDGETS.get(count),
        detail={"anonymous_mb": found["anonymous"], "supervisor_rss_mb": found["root_rss"]},
    )
    row.detail["peers_anonymous_mb"] = {name: figures["anonymous"] for name, figures in peers.items()}
    return [*rows, row]


def idle_rows(plan: Plan, directory: str, broker: Broker) -> list[Row]:
    runs = [measure_idle(plan, directory, broker) for _ in range(plan.of(2, 1))]
    kept = runs[1:] or runs

    def middle(name: str, key: str) -> float:
        return sorted(run[name][key] for run in kept)[len(kept) // 2]

    rows = []
    for name, upstream in (("none", "no upstream"), ("mqtt", "MQTT upstream")):
        what = f"{_IDLE_MODULES} idle modules, {upstream}"
        cpu = Row(f"{what}: CPU per minute", "ms", middle(name, "cpu_ms"), budget=_IDLE_BUDGET_MS)
        cpu.peers["supervised"] = middle("supervised", "cpu_ms")
        woken = Row(f"{what}: wake-ups per minute", "", middle(name, "switches"))
        woken.peers["supervised"] = middle("supervised", "switches")
        rows += [cpu, woken]
    return rows


def main() -> None:
    plan = plan_of_arguments(__doc__ or "")
    with workplace() as (directory, broker):
        rows = memory_rows(plan, directory, broker) + idle_rows(plan, directory, broker)
    print_rows("footprint", rows)


if __name__ == "__main__":
    main()
