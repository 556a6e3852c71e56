"""Changes below the modules directory are noticed once they have settled, and noise is not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.reactor import TestReactor

from microedge.supervisor import watch as watch_module
from microedge.supervisor.watch import DirectoryWatch


class Watched:
    def __init__(self, directory: Path) -> None:
        self.reactor = TestReactor()
        self.directory = directory
        self.count = 0
        self.watch = DirectoryWatch(str(directory), self.reactor, self._changed)
        self.watch.open()

    def _changed(self) -> None:
        self.count += 1

    def after(self, seconds: float = 0.15) -> int:
        """Return how many changes were reported within `seconds`."""
        before = self.count
        self.reactor.run_for(seconds)
        return self.count - before

    def close(self) -> None:
        self.watch.close()
        self.reactor.close()


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    monkeypatch.setattr(watch_module, "QUIET_S", 0.03)
    monkeypatch.setattr(watch_module, "_POLL_S", 0.05)
    (tmp_path / "modules" / "old" / "lib").mkdir(parents=True)
    one = Watched(tmp_path / "modules")
    yield one
    one.close()


def test_without_a_change_nothing_is_reported(watched: Watched):
    assert watched.after() == 0


def test_a_burst_of_changes_is_reported_once_it_has_settled(watched: Watched):
    for number in range(20):
        (watched.directory / "old" / f"{number}.py").write_text("x")

    assert watched.after() == 1


@pytest.mark.parametrize("path", ["new", "old/__init__.py", "old/lib/deep.py"])
def test_files_and_directories_that_appear_are_reported(watched: Watched, path: str):
    (watched.directory / path).write_text("x")

    assert watched.after() == 1


def test_changes_in_a_directory_that_appeared_later_are_reported(watched: Watched):
    (watched.directory / "new" / "lib").mkdir(parents=True)
    watched.after()
    (watched.directory / "new" / "lib" / "x.py").write_text("x")

    assert watched.after() == 1


def test_removing_and_moving_are_reported(watched: Watched, tmp_path: Path):
    shutil.rmtree(watched.directory / "old" / "lib")
    assert watched.after() == 1
    (watched.directory / "old").rename(tmp_path / "elsewhere")
    assert watched.after() == 1


@pytest.mark.parametrize("name", [".hidden", "x.pyc", "x.py~", "__pycache__"])
def test_what_editors_and_python_leave_is_not_reported(watched: Watched, name: str):
    (watched.directory / "old" / name).write_text("x")

    assert watched.after() == 0


def test_a_modules_directory_that_is_removed_and_made_again_is_watched_again(watched: Watched):
    shutil.rmtree(watched.directory)
    assert watched.after() >= 1
    (watched.directory / "new").mkdir(parents=True)
    assert watched.after() >= 1
    watched.after()
    (watched.directory / "new" / "x.py").write_text("x")

    assert watched.after() == 1


def test_closing_ends_it_even_with_a_change_under_way(watched: Watched):
    before = len(os.listdir("/proc/self/fd"))
    (watched.directory / "new").write_text("x")
    watched.reactor.turn(0.01)
    watched.watch.close()

    assert watched.after() == 0
    assert len(os.listdir("/proc/self/fd")) == before - 1


def test_an_eager_watch_does_not_wait_for_quiet(watched: Watched):
    watched.watch._is_eager = True
    for number in range(20):
        (watched.directory / f"new{number}").write_text("x")
        watched.reactor.run_for(0.02)

    assert watched.count >= 2
