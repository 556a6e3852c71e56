"""Run all benchmarks and write what they found: `make bench`, or `python bench/run.py [--quick] [--only NAME]`.

The figures go to bench/results.json and from there to docs/benchmarks.md. A quick run shows whether everything works;
its figures are rough, so it prints the page and leaves the files alone.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from typing import Any

import report

HERE = os.path.dirname(os.path.abspath(__file__))
RESULTS = os.path.join(HERE, "results.json")
PAGE = os.path.join(HERE, "..", "docs", "benchmarks.md")
BENCHMARKS = ("start", "footprint", "throughput", "writes", "flood", "queueing")


def main() -> int:
    options = parse()
    results = load() if options.only else {}
    for name in options.only or BENCHMARKS:
        print(f"== {name}", file=sys.stderr)
        results[name] = run(name, is_quick=options.quick)
    page = report.page({name: results[name] for name in BENCHMARKS if name in results})
    if options.quick:
        print(page)
        return 0
    with open(RESULTS, "w") as stream:
        json.dump(results, stream, indent=1, sort_keys=True)
        stream.write("\n")
    with open(PAGE, "w") as stream:
        stream.write(page)
    return 0


def run(name: str, *, is_quick: bool) -> dict[str, Any]:
    """Run one benchmark in an interpreter of its own; return its rows and where they come from."""
    command = [sys.executable, os.path.join(HERE, f"{name}.py"), *(["--quick"] if is_quick else [])]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    found: dict[str, Any] = json.loads(output)
    return {"rows": found["rows"], "date": time.strftime("%Y-%m-%d"), "machine": machine(), "python": python()}


def machine() -> str:
    """Return what the figures were taken on: processor, cores, memory, kernel."""
    with open("/proc/meminfo") as stream:
        memory_gb = int(stream.readline().split()[1]) * 1024 / 1e9
    return f"{processor()}, {os.cpu_count()} cores, {memory_gb:.0f} GB, Linux {platform.release().split('-')[0]}"


def processor() -> str:
    with open("/proc/cpuinfo") as stream:
        for line in stream:
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model"):
                return value.strip()
    return platform.machine()


def python() -> str:
    """Return version and origin of this interpreter: one that is not optimised takes nearly twice as long."""
    return f"{platform.python_version()} {origin()}"


def origin() -> str:
    """Return who built this interpreter; /etc/os-release says what the system's is called."""
    if not os.path.realpath(sys.executable).startswith("/usr/bin/"):
        return "built on this machine"
    with open("/etc/os-release") as stream:
        fields = dict(line.rstrip().split("=", 1) for line in stream if "=" in line)
    return f"of {fields.get('PRETTY_NAME', 'the system').strip(chr(34))}"


def load() -> dict[str, Any]:
    if not os.path.exists(RESULTS):
        return {}
    with open(RESULTS) as stream:
        found: dict[str, Any] = json.load(stream)
        return found


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure microedge beside what people run instead.")
    parser.add_argument("--quick", action="store_true", help="rough figures in a few minutes; writes no files")
    parser.add_argument("--only", action="append", choices=BENCHMARKS, help="this one; the other figures stay")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
