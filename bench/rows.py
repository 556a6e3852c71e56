"""What a benchmark hands on: rows of figures, each with its budget and the peer that did the same work in the run."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

from broker import Broker

MIB = 1_000_000  # figures are in MB, as the budgets are

Figures = dict[str, float]


@dataclass(frozen=True)
class Plan:
    """How much to measure. The first of the runs is thrown away, unless there is only one."""

    runs: int
    is_quick: bool

    def of(self, full: int, quick: int) -> int:
        return quick if self.is_quick else full


@dataclass(frozen=True)
class Row:
    """One line of the table. `peers` maps who else did the work to its figure; smaller is better everywhere.

    `budget` is None where there is none; `detail` holds further figures of the same runs.
    """

    what: str
    unit: str
    microedge: float
    peers: Figures = field(default_factory=dict)
    budget: float | None = None
    detail: dict[str, object] = field(default_factory=dict)
    note: str = ""


def plan_of_arguments(description: str) -> Plan:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="one short run of each instead of the median of several")
    parser.add_argument("--runs", type=int, default=4, metavar="N", help="runs, the first thrown away (default 4)")
    options = parser.parse_args()
    return Plan(1 if options.quick else options.runs, options.quick)


def print_rows(benchmark: str, rows: Iterable[Row]) -> None:
    """Write the result as JSON to stdout."""
    json.dump({"benchmark": benchmark, "rows": [asdict(row) for row in rows]}, sys.stdout, indent=1)
    print()


def medians(plan: Plan, label: str, measure: Callable[[], Figures]) -> Figures:
    """Measure as often as planned and return the median of each figure; say on stderr how it goes."""
    results = []
    for number in range(plan.runs):
        results.append(measure())
        print(f"  {label} {number + 1}/{plan.runs}: {_brief(results[-1])}", file=sys.stderr)
    kept = results[1:] if len(results) > 1 else results
    return {key: statistics.median(result[key] for result in kept) for key in kept[0]}


def percentile(values: list[float], share: float) -> float:
    """Return the value below which `share` (0 to 1) of all lie; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


@contextmanager
def workplace() -> Iterator[tuple[str, Broker]]:
    """A temporary directory and a cloud broker."""
    with tempfile.TemporaryDirectory(prefix="microedge-bench-") as directory, Broker(directory) as broker:
        yield directory, broker


def _brief(figures: Figures) -> str:
    return ", ".join(f"{key}={value:.4g}" for key, value in figures.items())
