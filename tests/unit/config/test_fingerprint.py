from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from microedge.config.fingerprint import MAX_DEPTH, MAX_FILES, fingerprint, survey
from microedge.errors import ModuleImageError


@pytest.fixture
def image(tmp_path: Path) -> Path:
    (tmp_path / "lib").mkdir()
    for name in ("__init__.py", "module.toml", "lib/a.py"):
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (1000, 1000))
    return tmp_path


@pytest.mark.parametrize(
    "change",
    [
        lambda image: (image / "new.py").touch(),
        lambda image: (image / "lib/a.py").write_text("longer"),
        lambda image: os.utime(image / "lib/a.py", (1000, 1001)),
        lambda image: (image / "lib/a.py").rename(image / "lib/b.py"),
        lambda image: (image / "lib/a.py").unlink(),
        lambda image: (image / "link").symlink_to("lib/a.py"),
    ],
)
def test_a_change_of_any_file_changes_the_fingerprint(image: Path, change: Callable[[Path], object]) -> None:
    before = fingerprint(str(image))

    change(image)

    assert fingerprint(str(image)) != before


def test_what_python_and_editors_leave_behind_does_not_count(image: Path) -> None:
    before = fingerprint(str(image))

    (image / "__pycache__").mkdir()
    for name in ("__pycache__/a.pyc", "old.pyc", ".hidden", "a.py~", ".git"):
        (image / name).touch()

    assert fingerprint(str(image)) == before


def test_links_are_not_followed_and_a_loop_of_links_does_no_harm(image: Path) -> None:
    (image / "loop").symlink_to(image)
    (image / "away").symlink_to("/")

    assert fingerprint(str(image)).startswith("5-")


def test_the_newest_change_is_when_a_file_appeared_here_not_what_its_copied_time_says(image: Path) -> None:
    assert survey(str(image)).newest_s == max(os.stat(path).st_ctime for path in image.rglob("*") if path.is_file())


def test_a_directory_beyond_all_measure_is_refused(tmp_path: Path) -> None:
    for number in range(MAX_FILES + 1):
        os.close(os.open(tmp_path / str(number), os.O_CREAT | os.O_WRONLY))

    with pytest.raises(ModuleImageError, match="found more than 5000 files"):
        fingerprint(str(tmp_path))


def test_directories_too_deep_are_refused(tmp_path: Path) -> None:
    (tmp_path / "/".join("d" * MAX_DEPTH)).mkdir(parents=True)

    with pytest.raises(ModuleImageError, match="in 12 levels"):
        fingerprint(str(tmp_path))
