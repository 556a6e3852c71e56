"""How long until something arrives: after the start command, and after the death of a module."""

from __future__ import annotations

import os
import signal
import time

from broker import Broker, Subscriber
from contestants import Contestant, Microedge, Supervised
from processes import wait_for
from rows import Figures, Row, medians, plan_of_arguments, print_rows, workplace

_TIMEOUT_S = 30.0
_SETTLE_S = 2.0  # supervisord calls a program started after one second, and restarts it at once only then


def measure(kind: type[Contestant], directory: str, broker: Broker) -> Figures:
    """Start with one module, wait for its first message, kill it, and wait for its successor's."""
    contestant = kind(os.path.join(directory, "run"), {"m": ("bench_hello", {})}, broker.port)
    with Subscriber(broker.port) as subscriber, contestant:
        wait_for(lambda: subscriber.bodies, _TIMEOUT_S, "the first message")
        ((first, first_s),) = subscriber.bodies.items()
        time.sleep(_SETTLE_S)
        killed_s = time.monotonic()
        os.kill(int(first), signal.SIGKILL)
        wait_for(lambda: len(subscriber.bodies) > 1, _TIMEOUT_S, "the successor's first message")
        second_s = next(arrived_s for pid, arrived_s in subscriber.bodies.items() if pid != first)
    return {"start_s": first_s - contestant.began_s, "restart_s": second_s - killed_s}


def main() -> None:
    plan = plan_of_arguments(__doc__ or "")
    with workplace() as (directory, broker):
        ours = medians(plan, "start microedge", lambda: measure(Microedge, directory, broker))
        theirs = medians(plan, "start supervised", lambda: measure(Supervised, directory, broker))
    starts = Row("start command to first message at the broker", "s", ours["start_s"], budget=1.0)
    restarts = Row("SIGKILL of a module to its successor's first message", "s", ours["restart_s"], budget=0.1)
    starts.peers["supervised"] = theirs["start_s"]
    restarts.peers["supervised"] = theirs["restart_s"]
    print_rows("start", [starts, restarts])


if __name__ == "__main__":
    main()
