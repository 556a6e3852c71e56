"""The thread that writes: in order, in batches, gone when there is nothing to do."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from support.virtual_reactor import VirtualReactor

from microedge.identity.saver import Save, Saver


class Rig:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.reactor = VirtualReactor()
        self.saver = Saver(self.reactor)
        self.results: list[tuple[str, str]] = []

    def save(self, name: str, text: str) -> None:
        job = Save(str(self.directory / name), text.encode(), lambda why: self.results.append((text, why)))
        self.saver.save(job)

    def finish(self, count: int) -> None:
        self.reactor.turn()
        while len(self.results) < count:
            assert self.reactor.run_thread_call(5)

    def content(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in self.directory.iterdir()}


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_what_is_saved_is_on_disk_when_it_says_so(rig: Rig):
    rig.save("a.json", "one")
    rig.finish(1)

    assert rig.results == [("one", "")]
    assert rig.content() == {"a.json": "one", "a.json.copy": "one"}


def test_the_last_of_several_contents_stays(rig: Rig):
    rig.save("a.json", "one")
    rig.reactor.turn()  # this one is under way
    rig.save("a.json", "two")
    rig.save("a.json", "three")
    rig.finish(3)

    assert rig.results == [("one", ""), ("two", ""), ("three", "")]
    assert rig.content()["a.json"] == "three"


def test_nothing_is_left_when_there_is_nothing_to_write(rig: Rig):
    rig.save("a.json", "one")
    rig.finish(1)

    assert not [thread for thread in threading.enumerate() if thread.name == "identity-files"]


def test_a_file_that_cannot_be_written_says_why(rig: Rig):
    rig.save("missing/a.json", "one")
    rig.save("b.json", "two")
    rig.finish(2)

    assert rig.results == [("one", "No such file or directory"), ("two", "")]


def test_closing_writes_what_still_waits(rig: Rig):
    rig.save("a.json", "one")
    rig.reactor.turn()
    rig.save("b.json", "two")

    assert rig.saver.close(5)
    assert {"a.json": "one", "b.json": "two"}.items() <= rig.content().items()


def test_closing_says_when_something_could_not_be_written(rig: Rig):
    rig.save("missing/a.json", "one")

    assert not rig.saver.close(5)
