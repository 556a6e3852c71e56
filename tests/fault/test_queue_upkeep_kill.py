"""SIGKILL at any moment of a replay or a purge: nothing is lost, nothing is at two places, nothing comes back."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.queue_rig import QueueRig

from microedge.queue.letter import Selection

MESSAGES = 300
_SETUP = f"""
import sys
from support.queue_rig import UPSTREAM, QueueRig, new_message
from microedge.queue.letter import Selection

def put(first, count):
    for sequence in range(first, first + count):
        message = new_message(sequence, body=bytes(sequence % 1500))
        message.module = "odd" if sequence % 2 else "even"
        rig.queue.append(message, [(UPSTREAM, 9, -1)])

def saved():
    rig.ask(lambda done: rig.queue._committer.when_saved(lambda trouble: done(None, trouble)))

rig = QueueRig(sys.argv[1]).open()
upkeep = rig.queue.upkeep
put(1, {MESSAGES})
saved()
print("ready", flush=True)
"""
_REPLAY = """
while True:
    rig.set_aside(1000)
    saved()
    rig.ask(upkeep.replay, Selection())
    print("replayed", flush=True)
"""
_PURGE = f"""
first = {MESSAGES + 1}
while True:
    rig.ask(upkeep.purge, UPSTREAM, "odd")
    print(first, flush=True)
    put(first, 100)
    first += 100
    saved()
"""


def killed(tmp_path: Path, code: str, seed: int) -> list[str]:
    """Run the code, kill it at some moment, and return what it has said."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", _SETUP + code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(random.Random(seed).uniform(0.0, 0.5))
        child.kill()
        return child.stdout.read().splitlines()


@pytest.fixture
def found(tmp_path: Path) -> Iterator[QueueRig]:
    """The queue as the dead process has left it; `open` it afterwards."""
    (tmp_path / "later").mkdir()
    rig = QueueRig(tmp_path / "later")
    yield rig
    rig.stop()


def take_over(rig: QueueRig, tmp_path: Path) -> None:
    os.rmdir(rig.directory)
    os.rename(tmp_path / "0", rig.directory)
    rig.open()


@pytest.mark.parametrize("seed", range(6))
def test_a_kill_during_a_replay_leaves_each_message_at_one_place(tmp_path, found, seed):
    killed(tmp_path, _REPLAY, seed)
    take_over(found, tmp_path)

    letters = found.ask(found.queue.upkeep.peek_dead, Selection(limit=10_000, max_bytes=1 << 30))
    status = found.queue.status()
    waiting = found.drain()

    assert sorted([one.message.sequence for one in letters] + waiting) == list(range(1, MESSAGES + 1))
    assert waiting == sorted(waiting)
    assert (status["dropped"].get("poison", 0), status["messages"]) == (len(letters), len(waiting))


@pytest.mark.parametrize("seed", range(6))
def test_a_kill_during_a_purge_brings_nothing_back_and_takes_nothing_else(tmp_path, found, seed):
    said = [int(line) for line in killed(tmp_path, _PURGE, seed)]
    take_over(found, tmp_path)

    waiting = found.drain()
    purged_below = said[-1] if said else 1

    assert [n for n in waiting if n % 2 and n < purged_below] == []
    assert [n for n in waiting if n % 2 == 0] == list(range(2, max(waiting, default=0) + 1, 2))
    assert max(waiting) >= MESSAGES
    assert found.queue.status()["dropped"].get("purged", 0) >= (purged_below - 1) // 2
