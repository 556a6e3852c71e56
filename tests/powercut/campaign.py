"""The long form: lives of many seeds, cut on all cores until each fault model has its number of states."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import platform
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, NamedTuple

from powercut.device import WORKLOADS, live
from powercut.disk import MODELS
from powercut.faults import Fault, faults, suffer
from powercut.lives import Life, Trial
from powercut.twin import live_twin

TWIN = "twin"
SUBJECTS = (TWIN, *WORKLOADS)
# A file of a twin is synced as often as it is written; of a queue, a seventh of all operations are syncs, which alone
# change what a cut by "drop" leaves. So the other models look at a part of the operations, of more seeds.
SHARES = {"drop": 1.0, "keep": 0.25, "blocks": 0.25, "sectors": 0.25, "torn": 0.25}
_FAULTS_PER_TASK = 25
_FAULT_SHARES = {"drop": 0.1, "torn": 0.1}
_SHOWN_FAILURES = 20


class Report(NamedTuple):
    """What one task found. `states` are of the queue or of the twin, by model; `runs` are with a failing disk."""

    subject: str
    states: dict[str, int]
    failures: list[str]
    lives: int = 0
    runs: int = 0


def lives_of(subject: str, seed: int, count: int = 3) -> Iterator[Life]:
    """Return the lives of a subject: a workload of the queue, or "twin"."""
    return live_twin(seed, count) if subject == TWIN else live(subject, seed, count)


def cut_lives(subject: str, seed: int, shares: dict[str, float], lives: int = 3) -> Report:
    """Run the lives of one seed and cut each of them."""
    states: Counter[str] = Counter()
    failures: list[str] = []
    count = 0
    with _quiet():
        for life in lives_of(subject, seed, lives):
            trial = Trial(life).run(shares)
            states.update(trial.states)
            failures += map(str, trial.failures)
            count += 1
    return Report(subject, dict(states), failures, lives=count)


def suffer_faults(several: list[Fault], seed: int) -> Report:
    """Run with each of these faults, and cut the power afterwards."""
    failures: list[str] = []
    with _quiet():
        for fault in several:
            outcome = suffer(fault, seed)
            trial = Trial(outcome.life).run(_FAULT_SHARES)
            failures += [f"{outcome.life.name}: {outcome.text}"] if outcome.text else []
            failures += map(str, trial.failures)
    return Report("faults", {}, failures, runs=len(several))


class Campaign:
    """Hands out tasks until there are `target` states of the queue and a tenth of that of the twin, per model."""

    def __init__(self, target: int, first_seed: int = 0, fault_seeds: int = 2) -> None:
        self.states: dict[str, Counter[str]] = {"queue": Counter(), TWIN: Counter()}
        self.failures: list[str] = []
        self.lives = self.runs = 0
        self._target = target
        self._seed = first_seed
        self._fault_seeds = fault_seeds
        self._began_s = time.monotonic()

    def run(self, jobs: int) -> dict[str, Any]:
        """Work with `jobs` processes and return the figures; blocks until all is done."""
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, mp_context=context) as pool:
            tasks = self._tasks(pool)
            running: set[Future[Report]] = set()
            while True:
                while len(running) < jobs:
                    task = next(tasks, None)
                    if task is None:
                        break
                    running.add(task)
                if not running:
                    return self.figures()
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for each in done:
                    self._take(each.result())
                self._show_progress()

    def figures(self) -> dict[str, Any]:
        """Return what was found so far, for JSON."""
        return {
            "states": {subject: {model: counts[model] for model in MODELS} for subject, counts in self.states.items()},
            "lives": self.lives,
            "runs_with_a_failing_disk": self.runs,
            "violations": len(self.failures),
            "first_violations": self.failures[:_SHOWN_FAILURES],
            "elapsed_s": round(time.monotonic() - self._began_s, 1),
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
        }

    def _tasks(self, pool: ProcessPoolExecutor) -> Iterator[Future[Report]]:
        for seed in range(self._fault_seeds):
            every = list(faults(seed))
            for at in range(0, len(every), _FAULTS_PER_TASK):
                yield pool.submit(suffer_faults, every[at : at + _FAULTS_PER_TASK], seed)
        while any(self._open_models(subject) for subject in SUBJECTS):
            for subject in SUBJECTS:
                shares = self._open_models(subject)
                if shares:
                    yield pool.submit(cut_lives, subject, self._seed, shares)
            self._seed += 1

    def _open_models(self, subject: str) -> dict[str, float]:
        """Return the shares of the models that have too few states yet."""
        counts = self.states[TWIN if subject == TWIN else "queue"]
        target = self._target // 10 if subject == TWIN else self._target
        return {model: 1.0 if subject == TWIN else SHARES[model] for model in MODELS if counts[model] < target}

    def _take(self, report: Report) -> None:
        if report.subject != "faults":
            self.states[TWIN if report.subject == TWIN else "queue"].update(report.states)
        self.failures += report.failures
        self.lives += report.lives
        self.runs += report.runs

    def _show_progress(self) -> None:
        if sys.stderr.isatty():
            counts = " ".join(f"{model} {self.states['queue'][model]}" for model in MODELS)
            line = f"{time.monotonic() - self._began_s:.0f} s  {counts}  failing disk {self.runs}"
            sys.stderr.write(f"\r{line}  violations {len(self.failures)}  ")
            sys.stderr.flush()


def print_figures(figures: dict[str, Any]) -> int:
    """Print the figures as JSON and return the exit code."""
    if sys.stderr.isatty():
        sys.stderr.write("\n")
    for failure in figures["first_violations"]:
        sys.stderr.write(f"{failure}\n")
    print(json.dumps(figures, indent=2))
    return 1 if figures["violations"] else 0


def cores() -> int:
    """Return how many processes can work at the same time."""
    return len(os.sched_getaffinity(0))


@contextmanager
def _quiet() -> Iterator[None]:
    log = logging.getLogger("microedge")  # a damaged file is logged as an error, thousands of times
    before, log.propagate = log.propagate, False
    silence = logging.NullHandler()
    log.addHandler(silence)
    try:
        yield
    finally:
        log.propagate = before
        log.removeHandler(silence)
