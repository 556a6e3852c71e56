"""What a message costs, in CPU over all processes of the contestant. The cloud's broker and subscriber do not count."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from broker import Broker, Subscriber
from contestants import Bare, Contestant, Microedge, Settings, Supervised
from processes import cpu_s, wait_for
from rows import Figures, Plan, Row, medians, percentile, plan_of_arguments, print_rows, workplace

_STALL_S = 5.0  # without a new message: what is missing now is lost
_STEADY_HZ = 100


@dataclass(frozen=True)
class Load:
    """What to send: `count` messages of `size` bytes, at `rate_hz` or, with 0, as fast as it goes."""

    count: int
    size: int
    rate_hz: int = 0

    def settings(self, go: str) -> Settings:
        return {"count": self.count, "bytes": self.size, "rate_hz": self.rate_hz, "go": go, "report": True}


class ToModule(Microedge):
    routes = """pipe = 'FROM /messages/modules/source/* INTO BrokeredEndpoint("/modules/sink/inputs/readings")'"""


class ToFile(Microedge):
    upstream = 'type = "file"'


def to_broker(kind: type[Contestant], directory: str, broker: Broker, load: Load) -> Figures:
    """One sender to the cloud; counts what arrived."""
    go = os.path.join(directory, "go")
    contestant = kind(os.path.join(directory, "run"), {"m": ("bench_sender", load.settings(go))}, broker.port)
    with Subscriber(broker.port) as subscriber, contestant:
        pids = released(contestant, go)
        before_s = cpu_s(pids)
        touch(go)
        subscriber.wait_for(load.count, _STALL_S)
        contestant.result("m", 60)
        used_s = cpu_s(pids) - before_s
    os.unlink(go)
    arrived = len(subscriber.bodies)
    span_s = max(subscriber.bodies.values()) - min(subscriber.bodies.values())
    return {
        "cpu_us": used_s / load.count * 1e6,
        "rate": arrived / span_s,
        "lost": load.count - arrived,
        "p50_us": percentile(subscriber.latencies_s, 0.5) * 1e6,
        "p99_us": percentile(subscriber.latencies_s, 0.99) * 1e6,
    }


def to_hub(kind: type[Contestant], directory: str, load: Load) -> Figures:
    """One sender, and nothing behind the hub but what `kind` says."""
    go = os.path.join(directory, "go")
    with kind(os.path.join(directory, "run"), {"m": ("bench_sender", load.settings(go))}, None) as contestant:
        pids = released(contestant, go)
        before_s = cpu_s(pids)
        touch(go)
        seconds = contestant.result("m", 120)["flushed_s"]
        used_s = cpu_s(pids) - before_s
    os.unlink(go)
    return {"cpu_us": used_s / load.count * 1e6, "rate": load.count / seconds}


def to_module(kind: type[Contestant], directory: str, load: Load) -> Figures:
    """One sender and one receiver on the same device."""
    go = os.path.join(directory, "go")
    modules: dict[str, tuple[str, Settings]] = {
        "source": ("bench_sender", load.settings(go)),
        "sink": ("bench_sink", {"count": load.count}),
    }
    with kind(os.path.join(directory, "run"), modules, None) as contestant:
        pids = released(contestant, go)
        before_s = cpu_s(pids)
        touch(go)
        received = contestant.result("sink", 120)
        seconds = contestant.result("source", 120)["flushed_s"]
        used_s = cpu_s(pids) - before_s
    os.unlink(go)
    return {"cpu_us": used_s / load.count * 1e6, "rate": load.count / seconds, "p50_us": received["p50_s"] * 1e6}


def released(contestant: Contestant, go: str) -> list[int]:
    """Wait until the contestant stands at the start line, and return its processes."""
    wait_for(lambda: is_up(contestant), 30, f"{contestant.name} is up")
    assert not os.path.exists(go)
    return contestant.pids


def is_up(contestant: Contestant) -> bool:
    """True when all its processes exist and none of them is busy starting any more."""
    expected = 1 if isinstance(contestant, Bare) else len(contestant.modules) + 2
    if len(contestant.pids) < expected:
        return False
    before_s = cpu_s(contestant.pids)
    time.sleep(1.0)
    return cpu_s(contestant.pids) - before_s < 0.01


def touch(file: str) -> None:
    with open(file, "w"):
        pass


def broker_row(plan: Plan, directory: str, broker: Broker, load: Load) -> Row:
    label = f"{load.size} B " + (f"at {load.rate_hz}/s" if load.rate_hz else "flat out")
    few = Plan(min(plan.runs, 4), plan.is_quick) if load.rate_hz else plan
    results = {
        kind.name: medians(
            few, f"to broker {label} {kind.name}", lambda kind=kind: to_broker(kind, directory, broker, load)
        )
        for kind in (Microedge, Supervised, Bare)
    }
    ours = results.pop("microedge")
    is_budgeted = load.size == 100 and not load.rate_hz
    return Row(
        f"module to broker, QoS 1, {label}: CPU per message",
        "us",
        ours["cpu_us"],
        peers={name: found["cpu_us"] for name, found in results.items()},
        budget=60.0 if is_budgeted else None,
        detail={"microedge": ours, **results},
        note="" if not any(found["lost"] for found in (ours, *results.values())) else "messages were lost: see detail",
    )


def hub_rows(plan: Plan, directory: str, load: Load) -> list[Row]:
    none = medians(plan, f"to hub {load.size} B", lambda: to_hub(Microedge, directory, load))
    few = Load(min(load.count, 2_000), load.size)  # a flush a second and a window of 256 set its pace
    file = medians(plan, f"to file {load.size} B", lambda: to_hub(ToFile, directory, few))
    budget = 10.0 if load.size == 100 else None
    return [
        Row(
            f"module to hub, {load.size} B, upstream none: CPU per message",
            "us",
            none["cpu_us"],
            budget=budget,
            detail=dict(none),
        ),
        Row(
            f"module to hub to file (fsynced), {load.size} B: CPU per message", "us", file["cpu_us"], detail=dict(file)
        ),
    ]


def module_row(plan: Plan, directory: str, load: Load) -> Row:
    label = f"{load.size} B " + (f"at {load.rate_hz}/s" if load.rate_hz else "flat out")
    ours = medians(plan, f"to module {label} microedge", lambda: to_module(ToModule, directory, load))
    theirs = medians(plan, f"to module {label} supervised", lambda: to_module(Supervised, directory, load))
    return Row(
        f"module to module, acknowledged, {label}: CPU per message",
        "us",
        ours["cpu_us"],
        peers={"supervised": theirs["cpu_us"]},
        budget=20.0 if load.size == 100 and not load.rate_hz else None,
        detail={"microedge": ours, "supervised": theirs},
    )


def main() -> None:
    plan = plan_of_arguments(__doc__ or "")
    flat, steady = plan.of(30_000, 5_000), plan.of(1_000, 200)
    rows = []
    with workplace() as (directory, broker):
        for size in (100, 1_000):
            rows += hub_rows(plan, directory, Load(flat, size))
        for size in (100, 1_000):
            rows.append(module_row(plan, directory, Load(flat, size)))
        for size in (100, 1_000):
            rows.append(broker_row(plan, directory, broker, Load(flat, size)))
        rows.append(broker_row(plan, directory, broker, Load(steady, 100, _STEADY_HZ)))
    print_rows("throughput", rows)


if __name__ == "__main__":
    main()
