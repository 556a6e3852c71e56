"""A power cut while a damaged database is set aside and salvaged: everything that was ever promised arrives."""

from __future__ import annotations

import random
from contextlib import ExitStack

from powercut.device import WORKLOADS, Device, live, scratch
from powercut.disk import BLOCK_BYTES, MODELS, Disk, Image, Op
from powercut.lives import cut_at, dice_of
from powercut.promises import QueuePromises
from powercut.recorder import Recorder
from powercut.vfs import observed


def test_a_damaged_database_is_never_lost_on_its_way_into_quarantine():
    life = next(live("restarting", 0, 1))
    whole, kept = cut_at(life, "keep", len(life.events))
    damaged: Image = {**whole, "queue.db": b"\xff" * BLOCK_BYTES + whole["queue.db"][BLOCK_BYTES:]}
    assert isinstance(kept, QueuePromises)
    kept.lose_power()
    life = life._replace(image=damaged, events=set_aside(damaged))

    disk, promises, places = Disk(damaged), kept, set()
    for at, event in enumerate(life.events, 1):
        promises.take(event)
        if isinstance(event, Op):
            disk.apply(event)
            for model in MODELS:
                image = disk.cut(model, dice_of(life, model, at))
                places.add(tuple(name for name, data in image.items() if data == damaged["queue.db"]))
                assert promises.judge(life.find(image)._replace(trouble="")) == ""
    assert places == {("queue.db",), ("quarantine/queue-1/queue.db",)}


def set_aside(damaged: Image) -> list[object]:
    """Start on a damaged database, and promise something; return what happened."""
    recorder = Recorder()
    with observed(recorder), scratch() as root, ExitStack() as stack:
        device = Device(root, damaged, recorder, random.Random(0), WORKLOADS["immediate"])
        device.sequence = 1000  # beyond all that waits already
        stack.callback(device.stop)
        stack.callback(recorder.end)
        with recorder.watching_python():
            device.open()
        assert "set aside" in str(device.queue.status()["reason"])
        for _ in range(3):
            device.hurry()
    return recorder.events
