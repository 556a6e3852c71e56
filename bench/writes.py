"""What a message of 100 bytes writes to the disk: while the broker is there, and while it is away."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from typing import Any

from broker import Subscriber, free_port
from contestants import Contestant, Microedge, Settings, Supervised
from device import Device
from processes import wait_for
from rows import Plan, Row, plan_of_arguments, print_rows, workplace
from throughput import released, touch

_SIZE = 100
_REST_S = 7.0  # longer than the linger of microedge and the save interval of Mosquitto, 5 s each
_STALL_S = 10.0


class Here(Microedge):
    """Its state directory is on the device."""

    def __init__(self, directory: str, modules: dict[str, tuple[str, Settings]], port: int, device: Device) -> None:
        super().__init__(directory, modules, port)
        self.state = os.path.join(device.directory, "state")

    def wait_until_sent(self, count: int, timeout_s: float) -> None:
        wait_for(lambda: self._is_sent(count), timeout_s, "all messages sent and acknowledged")

    def _is_sent(self, count: int) -> bool:
        time.sleep(0.2)
        status: Any = self.status()
        module = status["modules"][0]
        return bool(module["sent"] >= count and not module["unacknowledged"])

    def digest(self) -> str:
        """Return a fingerprint of the queue's database and of its log."""
        found = hashlib.sha256()
        for name in ("queue.db", "queue.db-wal"):
            path = os.path.join(self.state, name)
            if os.path.exists(path):
                with open(path, "rb") as stream:
                    found.update(name.encode() + stream.read())
        return found.hexdigest()


class There(Supervised):
    """Mosquitto's database is on the device, saved every 5 s: what a power cut may cost is the same for both."""

    persistence = ("persistence true", "autosave_interval 5")

    def __init__(self, directory: str, modules: dict[str, tuple[str, Settings]], port: int, device: Device) -> None:
        super().__init__(directory, modules, port)
        self.store = device.directory

    def wait_until_sent(self, count: int, timeout_s: float) -> None:
        self.result("m", timeout_s)


def sender(directory: str, count: int, rate_hz: int, *, report: bool) -> dict[str, tuple[str, Settings]]:
    go = os.path.join(directory, "go")
    settings: Settings = {"count": count, "bytes": _SIZE, "rate_hz": rate_hz, "go": go, "report": report, "noise": True}
    return {"m": ("bench_sender", settings)}


def while_up(count: int) -> dict[str, Any]:
    """Send with the broker there; return bytes per message and whether the database changed."""
    with workplace() as (directory, broker), Device(directory) as device, Subscriber(broker.port) as subscriber:
        modules = sender(directory, count, 0, report=False)
        contestant = Here(os.path.join(directory, "run"), modules, broker.port, device)
        with contestant:
            pids = released(contestant, os.path.join(directory, "go"))
            before, digest = device.written(pids), contestant.digest()
            touch(os.path.join(directory, "go"))
            subscriber.wait_for(count, _STALL_S)
            time.sleep(_REST_S)
            written = device.written(pids) - before
            is_same = contestant.digest() == digest
        return {
            "bytes": written / count,
            "arrived": len(subscriber.bodies),
            "is_database_identical": is_same,
            "how": device.how,
        }


def while_away(kind: type[Contestant], count: int, rate_hz: int) -> tuple[float, str]:
    """Send with nobody at the broker's address; return (bytes per message, how that was measured)."""
    with tempfile.TemporaryDirectory(prefix="microedge-bench-") as directory, Device(directory) as device:
        modules = sender(directory, count, rate_hz, report=kind is There)
        contestant: Any = kind(os.path.join(directory, "run"), modules, free_port(), device)  # type: ignore[call-arg]
        with contestant:
            pids = released(contestant, os.path.join(directory, "go"))
            before = device.written(pids)
            touch(os.path.join(directory, "go"))
            contestant.wait_until_sent(count, 60 + count / (rate_hz or 100))
            time.sleep(_REST_S)
            return (device.written(pids) - before) / count, device.how


def rows(plan: Plan) -> list[Row]:
    count = plan.of(10_000, 2_000)
    up = while_up(count)
    found = [
        Row(
            f"{_SIZE} B message, broker there, {count:,} messages: bytes to disk", "B", up["bytes"], budget=0, detail=up
        )
    ]
    for rate_hz, many in ((1, plan.of(60, 0)), (10, plan.of(600, 100)), (0, plan.of(20_000, 5_000))):
        if not many:
            continue
        ours, how = while_away(Here, many, rate_hz)
        theirs, _ = while_away(There, many, rate_hz)
        pace = f"{rate_hz}/s for {many // rate_hz} s" if rate_hz else f"{many:,} flat out"
        what = f"{_SIZE} B message, broker away, {pace}: bytes to disk"
        found.append(Row(what, "B", ours, peers={"supervised": theirs}, detail={"how": how}))
    return found


def main() -> None:
    print_rows("writes", rows(plan_of_arguments(__doc__ or "")))


if __name__ == "__main__":
    main()
