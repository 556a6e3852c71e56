"""A disk that can lose its power: it takes the operations that were traced and says what may be left of them; pure.

What was synced is durable. What was not is in the page cache, and a cut leaves of it, by fault model:

    drop      nothing
    keep      everything
    blocks    of each 4096-byte block that was written to, one of its contents since the last sync, or the synced one
    sectors   the same for each 512-byte sector
    torn      the blocks being written are new, old, or garbage from end to end, also where they had been synced before

Names (create, link, rename, unlink) are journalled in order, as ext4 does it: some first part of those that no sync of
the directory has covered is there. Stricter than ext4, a sync of a file covers no name, not even its own. A sync that
failed covers nothing, and as on Linux the next one that succeeds does not make up for it.
"""

from __future__ import annotations

import copy
import hashlib
import os
import random
from collections.abc import Callable
from typing import NamedTuple

BLOCK_BYTES = 4096
SECTOR_BYTES = 512

Image = dict[str, bytes]
"""What is left: file names below the directory, and their contents."""


class Op(NamedTuple):
    """One traced operation: `kind` is the name of a method of `Disk`, the rest what it takes."""

    kind: str
    name: str
    to: str = ""
    offset: int = 0  # or the size, for truncate
    data: bytes = b""


class File:
    """The contents of one file: `durable`, what programs read (`cache`), and what may be on its way between them."""

    def __init__(self, durable: bytes = b"") -> None:
        self.durable = bytearray(durable)
        self.cache = bytearray(durable)
        self.blocks: dict[int, list[bytes]] = {}  # number -> contents since the last sync, oldest first
        self.uncut: File | None = None  # what it was before a truncation that is not synced

    def write(self, offset: int, data: bytes) -> None:
        end = offset + len(data)
        self.cache.extend(bytes(max(0, offset - len(self.cache))))
        self.cache[offset:end] = data
        for number in range(offset // BLOCK_BYTES, (end - 1) // BLOCK_BYTES + 1):
            start = number * BLOCK_BYTES
            self.blocks.setdefault(number, []).append(bytes(self.cache[start : start + BLOCK_BYTES]))

    def truncate(self, size: int) -> None:
        if size >= len(self.cache):
            return  # SQLite says how large a file is that it has just written
        self.uncut = copy.copy(self)
        self.durable, self.cache = self.durable[:size], self.cache[:size]
        kept = {number: versions for number, versions in self.blocks.items() if number * BLOCK_BYTES < size}
        self.blocks = {n: [each[: size - n * BLOCK_BYTES] for each in versions] for n, versions in kept.items()}

    def sync(self) -> None:
        self.uncut = None
        for number, contents in self.blocks.items():
            _put(self.durable, number * BLOCK_BYTES, contents[-1])
        self.blocks.clear()

    def fail_sync(self) -> None:
        self.blocks.clear()  # the cache keeps them and takes them for clean

    def left(self, pick: Pick) -> bytes:
        if self.uncut is not None and not pick.keeps_cut():
            return self.uncut.left(pick)
        left = bytearray(self.durable)
        for number, contents in sorted(self.blocks.items()):
            start = number * BLOCK_BYTES
            pick.block(left, start, contents)
        return bytes(left)


class Pick:
    """A fault model: what is left of one block, and of the names. This one is "drop"."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice

    def block(self, left: bytearray, start: int, contents: list[bytes]) -> None:
        """Put into `left` what becomes of the block at `start`, of which `contents` are the unsynced versions."""

    def names(self, pending: int) -> int:
        """Return how many of the pending changes of names are there."""
        return 0

    def keeps_cut(self) -> bool:
        return False


class _Keep(Pick):
    def block(self, left: bytearray, start: int, contents: list[bytes]) -> None:
        _put(left, start, contents[-1])

    def names(self, pending: int) -> int:
        return pending

    def keeps_cut(self) -> bool:
        return True


class _Blocks(Pick):
    def block(self, left: bytearray, start: int, contents: list[bytes]) -> None:
        version = self.dice.randrange(-1, len(contents))
        if version >= 0:
            _put(left, start, contents[version])

    def names(self, pending: int) -> int:
        return self.dice.randint(0, pending)

    def keeps_cut(self) -> bool:
        return self.dice.random() < 0.5


class _Sectors(_Blocks):
    def block(self, left: bytearray, start: int, contents: list[bytes]) -> None:
        for at in range(0, BLOCK_BYTES, SECTOR_BYTES):
            version = self.dice.randrange(-1, len(contents))
            if version >= 0:
                _put(left, start + at, contents[version][at : at + SECTOR_BYTES])


class _Torn(_Blocks):
    def block(self, left: bytearray, start: int, contents: list[bytes]) -> None:
        chance = self.dice.random()
        if chance < 0.4:
            _put(left, start, contents[-1])
        elif chance < 0.6:
            _put(left, start, self.dice.getrandbits(8 * BLOCK_BYTES).to_bytes(BLOCK_BYTES, "little"))


MODELS: dict[str, type[Pick]] = {"drop": Pick, "keep": _Keep, "blocks": _Blocks, "sectors": _Sectors, "torn": _Torn}


class Disk:
    """One directory and what is below it. Operations are named and take what `Op` holds; `cut` changes nothing."""

    def __init__(self, image: Image) -> None:
        """Begin with files that are durable."""
        self._names = {name: File(data) for name, data in image.items()}
        self._durable = dict(self._names)
        self._pending: list[Callable[[dict[str, File]], None]] = []

    def apply(self, op: Op) -> None:
        getattr(self, op.kind)(op)

    def cut(self, model: str, dice: random.Random) -> Image:
        """Return what a power cut leaves now."""
        pick = MODELS[model](dice)
        names = dict(self._durable)
        for change in self._pending[: pick.names(len(self._pending))]:
            change(names)
        return {name: file.left(pick) for name, file in sorted(names.items())}

    def seen(self) -> Image:
        """Return what programs read."""
        return {name: bytes(file.cache) for name, file in sorted(self._names.items())}

    def create(self, op: Op) -> None:
        if op.name not in self._names:
            file = File()
            self._change_names(lambda names: names.__setitem__(op.name, file))

    def link(self, op: Op) -> None:
        file = self._names[op.name]
        self._change_names(lambda names: names.__setitem__(op.to, file))

    def rename(self, op: Op) -> None:
        file = self._names[op.name]

        def change(names: dict[str, File]) -> None:
            names.pop(op.name, None)
            names[op.to] = file

        self._change_names(change)

    def unlink(self, op: Op) -> None:
        def change(names: dict[str, File]) -> None:
            names.pop(op.name, None)

        self._change_names(change)

    def write(self, op: Op) -> None:
        self._names[op.name].write(op.offset, op.data)

    def truncate(self, op: Op) -> None:
        self._names[op.name].truncate(op.offset)

    def sync(self, op: Op) -> None:
        self._names[op.name].sync()

    def fail_sync(self, op: Op) -> None:
        self._names[op.name].fail_sync()

    def sync_names(self, _: Op) -> None:
        self._durable = dict(self._names)
        self._pending.clear()

    def _change_names(self, change: Callable[[dict[str, File]], None]) -> None:
        change(self._names)
        self._pending.append(change)


def digest(image: Image) -> bytes:
    """Return what tells one image from another."""
    hasher = hashlib.blake2b(digest_size=16)
    for name, data in sorted(image.items()):
        hasher.update(f"{name}\0{len(data)}\0".encode())
        hasher.update(data)
    return hasher.digest()


def materialise(image: Image, directory: str) -> None:
    """Write an image into a directory."""
    for name, data in image.items():
        os.makedirs(os.path.dirname(os.path.join(directory, name)), exist_ok=True)
        with open(os.path.join(directory, name), "wb") as file:
            file.write(data)


def read_image(directory: str) -> Image:
    """Return the files of a directory as they are."""
    image: Image = {}
    for parent, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(parent, name)
            with open(path, "rb") as file:
                image[os.path.relpath(path, directory)] = file.read()
    return image


def _put(target: bytearray, offset: int, data: bytes) -> None:
    target.extend(bytes(max(0, offset - len(target))))
    target[offset : offset + len(data)] = data
