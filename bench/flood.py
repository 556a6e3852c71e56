"""What a module that prints without end costs the supervisor. The module's own CPU does not count."""

from __future__ import annotations

import os
import tempfile
import time

from contestants import Contestant, Microedge, Supervised
from processes import cpu_s, wait_for, write_bytes
from rows import Figures, Plan, Row, medians, plan_of_arguments, print_rows


class Logging(Supervised):
    """As supervisord comes: the output goes to files that are rotated at 50 MB."""

    logfile = "%(here)s/%(program_name)s.log"


def measure(kind: type[Contestant], plan: Plan) -> Figures:
    window_s = plan.of(5, 3)
    with tempfile.TemporaryDirectory(prefix="microedge-bench-") as directory:
        contestant = kind(os.path.join(directory, "run"), {"m": ("bench_flood", {})}, None)
        with contestant:
            wait_for(lambda: len(contestant.pids) > 2, 30, f"{contestant.name} floods")
            time.sleep(2.0)
            root = [contestant.process.pid]
            before_s, before = cpu_s(root), write_bytes(root)
            time.sleep(window_s)
            used_s, written = cpu_s(root) - before_s, write_bytes(root) - before
    return {"percent": used_s / window_s * 100, "written_mb_per_s": written / window_s / 1e6}


def main() -> None:
    plan = plan_of_arguments(__doc__ or "")
    few = Plan(min(plan.runs, 4), plan.is_quick)
    ours = medians(few, "flood microedge", lambda: measure(Microedge, plan))
    theirs = medians(few, "flood supervised", lambda: measure(Logging, plan))
    cpu = Row("stdout flood of a module: CPU of the supervisor", "% of a core", ours["percent"], budget=3.0)
    cpu.peers["supervised"] = theirs["percent"]
    disk = Row("stdout flood of a module: bytes to disk", "MB/s", ours["written_mb_per_s"], budget=0.0)
    disk.peers["supervised"] = theirs["written_mb_per_s"]
    print_rows("flood", [cpu, disk])


if __name__ == "__main__":
    main()
