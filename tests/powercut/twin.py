"""The file of a twin under the same cuts as the queue: each write leaves the new document or the previous one."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

from microedge.errors import TwinError
from microedge.twin.file import TwinFile
from powercut.device import scratch
from powercut.disk import Image, materialise
from powercut.lives import Life, check, lives
from powercut.promises import body_of, is_body
from powercut.recorder import Event, Recorder

NAME = "north_probe.json"
WRITES = 12


class Begun(NamedTuple):
    """The document with this number is being written."""

    number: int


class Written(NamedTuple):
    """It is durable, says `TwinFile.write`."""

    number: int


class TwinFound(NamedTuple):
    """The number of the document, 0 for none, and what `TwinFile.load` complained of."""

    number: int
    notes: tuple[str, ...]


class TwinPromises:
    """Implements `lives.Promises`."""

    def __init__(self) -> None:
        self._begun: set[int] = {0}
        self._written = 0

    def take(self, note: object) -> None:
        if isinstance(note, Begun):
            self._begun.add(note.number)
        elif isinstance(note, Written):
            self._written, self._begun = note.number, {note.number}

    def lose_power(self) -> None:
        """A write that was cut short may or may not be there, now and until the next one."""

    def judge(self, found: TwinFound) -> str:
        if found.number not in self._begun:
            return f"the twin is document {found.number}: expected one of {sorted(self._begun)}"
        return f"the twin was damaged: {found.notes[0]}" if found.notes else ""


def live_twin(
    seed: int, count: int = 3, weaken: Callable[[], AbstractContextManager[None]] = nullcontext
) -> Iterator[Life]:
    """Write documents over several lives of one device, with a power cut between them; `weaken` is around it all."""
    recorder = Recorder()
    begun = 0

    def run(number: int, image: Image, dice: random.Random) -> list[Event]:
        nonlocal begun
        with scratch() as root:
            materialise(image, root)
            recorder.begin(root, image)
            with recorder.watching_python(), weaken():
                file = TwinFile(os.path.join(root, NAME))
                file.load(document)
                for _ in range(WRITES):
                    begun += 1
                    recorder.note(Begun(begun))
                    assert file.write(body_of(begun, dice.choice((50, 500, 5000, 20_000))))
                    recorder.note(Written(begun))
                    if dice.random() < 0.2:
                        file = TwinFile(file.path)
                        file.load(document)
            check(recorder, root)
            recorder.end()
        return recorder.events

    return lives(f"twin/{seed}", TwinPromises(), run, find_twin, count)


def find_twin(image: Image) -> TwinFound:
    """Load what a power cut has left."""
    with scratch() as root:
        materialise(image, root)
        loaded = TwinFile(os.path.join(root, NAME)).load(document)
    return TwinFound(loaded.value or 0, loaded.notes)


def document(data: bytes) -> int:
    """Return the number of a document.

    Raises:
        TwinError: it is damaged.
    """
    number = data[5:].partition(b",")[0]
    if not number.isdigit() or not is_body(data, int(number)):
        raise TwinError("", data[:20], "a document")
    return int(number)
