"""Pages that hold something else than what was written to them: never a crash, and never a wrong message."""

from __future__ import annotations

import random

import pytest

from powercut import weaker
from powercut.device import live
from powercut.disk import BLOCK_BYTES, Image
from powercut.lives import Trial, cut_at

STATES = 25


@pytest.mark.parametrize("kind", ["garbage", "zeros", "bytes", "another page"])
@pytest.mark.parametrize("workload", ["restarting", "mixed", "draining"])
def test_a_spoilt_page_neither_stops_the_queue_nor_garbles_a_message(workload, kind):
    dice = random.Random(f"{workload} {kind}")
    life = next(live(workload, 0, 1))

    for _ in range(STATES):
        image, _ = cut_at(life, "keep", dice.randrange(len(life.events) // 4, len(life.events)))
        found = life.find(spoilt(image, kind, dice))
        assert found.error == ""
        assert all(is_right for _, _, is_right in found.messages)


def spoilt(image: Image, kind: str, dice: random.Random) -> Image:
    """Return the image with a page of its database or its WAL overwritten."""
    name = dice.choice([name for name, data in image.items() if len(data) > BLOCK_BYTES])
    data = bytearray(image[name])
    pages = len(data) // BLOCK_BYTES
    at, other = dice.randrange(pages) * BLOCK_BYTES, dice.randrange(pages) * BLOCK_BYTES
    if kind == "garbage":
        data[at : at + BLOCK_BYTES] = dice.getrandbits(8 * BLOCK_BYTES).to_bytes(BLOCK_BYTES, "big")
    elif kind == "zeros":
        data[at : at + BLOCK_BYTES] = bytes(BLOCK_BYTES)
    elif kind == "another page":
        data[at : at + BLOCK_BYTES] = data[other : other + BLOCK_BYTES]
    else:
        for _ in range(8):
            data[dice.randrange(len(data))] = dice.randrange(256)
    return {**image, name: bytes(data)}


def test_a_disk_that_lies_about_its_syncs_does_not_stop_the_queue_either():
    with weaker.synchronous("OFF"):
        life = next(live("evicting", 0, 1))
    errors = [each.text for each in Trial(life).run({"blocks": 0.1, "torn": 0.1}).failures if "Error" in each.text]

    assert errors == []
