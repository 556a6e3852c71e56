"""What happens between one start of a device and the next power cut, and every state that the cut may leave."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from powercut.disk import MODELS, Disk, Image, Op, digest, read_image
from powercut.recorder import Event, Recorder

_UNTRACED = "queue.db-ballast"  # only takes up room


class Promises(Protocol):
    """What a program has said so far. `judge` returns what is wrong with what was found, "" for nothing."""

    def take(self, note: object) -> None: ...
    def lose_power(self) -> None: ...
    def judge(self, found: Any) -> str: ...


class Life(NamedTuple):
    """From one start to the next power cut: the files it began with, what had been promised by then, what happened."""

    name: str  # workload/seed/number: from this all of it can be made again
    image: Image
    promises: Promises
    events: Sequence[Event]
    find: Callable[[Image], Any]  # starts the product on an image and returns what `promises` can judge


class Failure(NamedTuple):
    """A state in which a promise is broken, and how to see it again."""

    life: str
    model: str
    at: int
    text: str

    def __str__(self) -> str:
        return f"{self.text}\n    again: make powercut ARGS='--only {self.life}/{self.model}/{self.at}'"


def check(recorder: Recorder, directory: str) -> None:
    """Make sure that nothing was missed: what was traced adds up to the files as they are.

    Raises:
        AssertionError: it does not.
    """
    real = read_image(directory)
    real.pop(_UNTRACED, None)
    seen = recorder.disk.seen()
    assert seen.keys() == real.keys(), f"traced {sorted(seen)}, found {sorted(real)}"
    assert seen == real, f"contents differ: {[name for name in seen if seen[name] != real[name]]}"


class Trial:
    """Cuts one life everywhere. `states` counts distinct images per model; each image is started only once."""

    def __init__(self, life: Life) -> None:
        self.states = dict.fromkeys(MODELS, 0)
        self.failures: list[Failure] = []
        self._life = life
        self._promises = copy.deepcopy(life.promises)
        self._found: dict[bytes, Any] = {}  # by digest
        self._seen: set[tuple[str, bytes]] = set()
        self._last: dict[str, tuple[int, bytes]] = {}  # model -> (at, digest)

    def run(self, shares: dict[str, float], only: int = 0) -> Trial:
        """Cut after each operation, by each model; a share below 1 picks that many by chance, `only` a single one."""
        disk = Disk(self._life.image)
        for at, event in enumerate(self._life.events, 1):
            if not isinstance(event, Op):
                self._promises.take(event)
                continue
            self._judge_again()
            disk.apply(event)
            self._last.clear()
            for model, share in shares.items() if only in (0, at) else ():
                dice = dice_of(self._life, model, at)
                if dice.random() < share:
                    self._cut(disk, model, at, dice)
        self._judge_again()
        return self

    def _cut(self, disk: Disk, model: str, at: int, dice: random.Random) -> None:
        image = disk.cut(model, dice)
        key = digest(image)
        if (model, key) not in self._seen:
            self._seen.add((model, key))
            self.states[model] += 1
        if key not in self._found:
            self._found[key] = self._life.find(image)
        self._last[model] = at, key
        self._judge(model, at, self._found[key])

    def _judge_again(self) -> None:
        """More may have been promised since the last operation, with the same files."""
        for model, (at, key) in self._last.items():
            self._judge(model, at, self._found[key])

    def _judge(self, model: str, at: int, found: Any) -> None:
        text = self._promises.judge(found)
        if text and (not self.failures or self.failures[-1][:3] != (self._life.name, model, at)):
            self.failures.append(Failure(self._life.name, model, at, text))


def dice_of(life: Life, model: str, at: int) -> random.Random:
    """Return the dice of one state: the same ones whichever states were looked at before."""
    return random.Random(f"{life.name}/{model}/{at}")


def cut_at(life: Life, model: str, at: int) -> tuple[Image, Promises]:
    """Return the state after the first `at` events of a life, and what had been promised just before the next one."""
    disk, promises = Disk(life.image), copy.deepcopy(life.promises)
    for number, event in enumerate(life.events, 1):
        if isinstance(event, Op):
            if number > at:
                break
            disk.apply(event)
        else:
            promises.take(event)
    dice = dice_of(life, model, at)
    dice.random()  # the one that decides whether a share has it
    return disk.cut(model, dice), promises


def cut_late(life: Life, dice: random.Random) -> tuple[Image, Promises]:
    """Cut the power somewhere in the second half of a life."""
    first = len(life.events) // 2
    late = [at for at, event in enumerate(life.events, 1) if isinstance(event, Op) and at > first]
    image, promises = cut_at(life, dice.choice(list(MODELS)), dice.choice(late) if late else len(life.events))
    promises.lose_power()
    return image, promises


def lives(
    name: str, promises: Promises, run: Callable[[int, Image, random.Random], Sequence[Event]], find: Any, count: int
) -> Iterator[Life]:
    """Yield lives of one device, each going on with what a power cut has left of the one before."""
    dice = random.Random(name)
    image: Image = {}
    for number in range(count):
        life = Life(f"{name}/{number}", image, copy.deepcopy(promises), run(number, image, dice), find)
        yield life
        image, promises = cut_late(life, dice)
