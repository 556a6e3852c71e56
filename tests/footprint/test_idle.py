"""An idle device sleeps."""

from __future__ import annotations

import time

from support.footprint import wake_ups
from support.runtime import Runtime, Source

IDLE = Source(
    "def main(client):\n    client.ready()\n    while client.wait(60):\n        pass\n",
    tables="[supervision]\nhang_timeout_s = 30\n",
)
MODULES = 5
WINDOW_S = 4.0


def test_idle_modules_and_their_supervisor_hardly_ever_wake(tmp_path):
    config = "".join(f'[modules.m{number}]\nimage = "idle"\n' for number in range(MODULES))
    with Runtime(tmp_path, {"idle": IDLE}, upstream='[upstream]\ntype = "none"\n', config=config) as runtime:
        runtime.wait_running(*(f"m{number}" for number in range(MODULES)))
        time.sleep(1.0)  # what belongs to the start is over
        pids = runtime.everything()
        before = wake_ups(pids)
        time.sleep(WINDOW_S)
        woken = wake_ups(pids) - before

    # A sign of life every 10 s from each module, which wakes the supervisor too, is at most 2 per module in here.
    # A loop that looks at the clock ten times a second would be 40 per process.
    assert woken <= 4 * MODULES
