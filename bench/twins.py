"""What a module that reports ten times a second writes: how often its twin's file is replaced, and how many bytes.

Nothing else changes meanwhile. A peer is not measured: none of them holds twins. Prints JSON; `--quick` takes half a
minute instead of three.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from typing import Any

from contestants import Microedge
from device import Device
from processes import wait_for
from rows import Plan, Row, plan_of_arguments, print_rows

_RATE_HZ = 10
_LOOK_S = 0.02  # between two looks at the file: two writes of one twin are at least a second apart
_BUDGET = 4.0  # writes a minute: one in 30 s, and what a start and versions bring


class Here(Microedge):
    """Its state directory is on the device."""

    def __init__(self, directory: str, device: Device) -> None:
        super().__init__(directory, {"m": ("bench_reporter", {"rate_hz": _RATE_HZ})}, None)
        self.state = os.path.join(device.directory, "state")

    def version(self) -> int:
        """Return the version of the reported properties: one more with each report."""
        status: Any = self.status()
        return int(status["modules"][0]["twin"]["reported_version"])


def measure(seconds: int) -> dict[str, Any]:
    """Let the module report for so long; return writes, reports and bytes."""
    with tempfile.TemporaryDirectory(prefix="microedge-bench-") as directory, Device(directory) as device:
        with Here(os.path.join(directory, "run"), device) as contestant:
            file = os.path.join(contestant.state_dir, "twins", "m.json")
            wait_for(lambda: os.path.exists(file) and contestant.version() > 2 * _RATE_HZ, 30, "reports")
            pids = contestant.pids
            bytes_before, version_before, began_s = device.written(pids), contestant.version(), time.monotonic()
            writes = count_replacements(file, seconds)
            took_min = (time.monotonic() - began_s) / 60
            reports = contestant.version() - version_before
            written = device.written(pids) - bytes_before
            size = os.path.getsize(file)
        with open(file) as stream:
            kept = json.load(stream)["properties"]["reported"]["number"]
    return {
        "writes_per_min": writes / took_min,
        "reports_per_min": reports / took_min,
        "bytes_per_min": written / took_min,
        "file_bytes": size,
        "seconds": seconds,
        "last_number_kept_by_a_regular_stop": kept,
        "how": device.how,
    }


def count_replacements(file: str, seconds: int) -> int:
    """Return how often another file came to stand at this path."""
    count, known, end_s = 0, identity(file), time.monotonic() + seconds
    while time.monotonic() < end_s:
        time.sleep(_LOOK_S)
        found = identity(file)
        count, known = count + (found != known), found
    return count


def identity(file: str) -> tuple[int, int]:
    found = os.stat(file)
    return found.st_ino, found.st_mtime_ns


def rows(plan: Plan) -> list[Row]:
    found = measure(plan.of(180, 30))
    what = f"twin file replaced per minute while its module reports at {_RATE_HZ} Hz"
    return [Row(what, "", found["writes_per_min"], budget=_BUDGET, detail=found)]


def main() -> None:
    print_rows("twins", rows(plan_of_arguments(__doc__ or "")))


if __name__ == "__main__":
    main()
