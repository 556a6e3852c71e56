"""SIGKILL at any moment: what was settled is there afterwards, in order."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time

import pytest
from support.queue_rig import QueueRig

_PRODUCER = """
import sys
from support.queue_rig import UPSTREAM, QueueRig, new_message

class Loud(QueueRig):
    def queue_settled(self, messages):
        sys.stdout.write("".join(f"{message.sequence}\\n" for message in messages))
        sys.stdout.flush()

rig = Loud(sys.argv[1])
rig.open()
sequence = 0
while True:
    for _ in range(8):
        sequence += 1
        rig.queue.append(new_message(sequence, body=b"x" * (sequence % 3000)), [(UPSTREAM, 9, -1)])
    rig.queue.set_live(UPSTREAM, True)
    rig.queue.set_live(UPSTREAM, False)
    rig.pump()
"""


@pytest.mark.parametrize("seed", range(5))
def test_a_kill_at_any_moment_loses_nothing_that_was_settled(tmp_path, seed):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", _PRODUCER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as child:
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(random.Random(seed).uniform(0.05, 0.4))
        child.kill()
        lines = first + child.stdout.read()
    settled = [int(line) for line in lines.splitlines() if line]
    os.rename(tmp_path / "0", tmp_path / "dead")

    rig = QueueRig(tmp_path)
    os.rmdir(rig.directory)
    os.rename(tmp_path / "dead", rig.directory)
    rig.open()
    delivered = rig.drain()
    rig.stop()

    assert len(settled) > 8
    assert delivered[: len(settled) - 1] == settled[:-1]  # the last line may be cut in the middle of its number
    assert delivered == list(range(1, len(delivered) + 1))
