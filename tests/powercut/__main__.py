"""`make powercut`: the long form of the harness, or one state again.

python -m powercut                                    20,000 states per fault model, 100 real cuts
python -m powercut --only draining/4/2/torn/12        one state: what is wrong with it
python -m powercut --only ... --keep DIRECTORY        and its files, to look at
"""

from __future__ import annotations

import argparse
import sys

from powercut.campaign import Campaign, cores, lives_of, print_figures
from powercut.cuts import cut_for_real
from powercut.disk import materialise
from powercut.faults import Fault, suffer
from powercut.lives import Life, Trial, cut_at


def main() -> int:
    """Return the exit code: 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="make powercut ARGS=...", description="cut the power, look what is left")
    parser.add_argument("--states", type=int, default=20_000, help="states of the queue per fault model")
    parser.add_argument("--cuts", type=int, default=100, help="real cuts on a loop-mounted ext4, where root allows")
    parser.add_argument("--faults", type=int, default=2, help="seeds that work on a failing disk, 900 runs each")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=cores(), help="processes")
    parser.add_argument("--only", metavar="WORKLOAD/SEED/LIFE/MODEL/AT", help="one state again")
    parser.add_argument("--keep", metavar="DIRECTORY", help="with --only: write its files there")
    options = parser.parse_args()
    if options.only:
        return _one(options.only, options.keep)
    figures = Campaign(options.states, options.seed, options.faults).run(options.jobs)
    figures["real_cuts"] = cut_for_real(options.cuts)
    figures["violations"] += len(figures["real_cuts"].get("violations", ()))
    return print_figures(figures)


def _one(only: str, keep: str | None) -> int:
    subject, seed, number, model, at = only.split("/")
    life = _life(subject, int(seed), number)
    if keep:
        materialise(cut_at(life, model, int(at))[0], keep)
    failures = Trial(life).run({model: 1.0}, int(at)).failures
    print(failures[0].text if failures else "nothing is wrong with it")
    return 1 if failures else 0


def _life(subject: str, seed: int, number: str) -> Life:
    if subject == "faults":
        error, first, length = number.split("-")
        return suffer(Fault(error, int(first), int(length)), seed).life
    return next(life for life in lives_of(subject, seed) if life.name.endswith(f"/{number}"))


if __name__ == "__main__":
    sys.exit(main())
