from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from microedge.config.discovery import Discovery, scan


class Directories:
    """A modules directory and a bundled one, and what a scan makes of them."""

    def __init__(self, root: Path) -> None:
        self.own, self.bundled = root / "own", root / "bundled"

    def add(self, name: str, *, version: str = "1.0", is_bundled: bool = False) -> Path:
        directory = (self.bundled if is_bundled else self.own) / name
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "__init__.py").write_text("raise RuntimeError('module code was run')")
        manifest = f'[module]\nschema = 1\nname = "{name}"\nversion = "{version}"\n'
        (directory / "module.toml").write_text(manifest)
        return directory

    def scan(self, **options: object) -> Discovery:
        return scan(str(self.own), str(self.bundled), **options)  # type: ignore[arg-type]


@pytest.fixture
def directories(tmp_path: Path) -> Directories:
    return Directories(tmp_path)


def test_directories_that_do_not_exist_hold_no_images(directories: Directories) -> None:
    assert directories.scan() == Discovery()


def test_a_modules_directory_that_is_none_gets_one_line(directories: Directories) -> None:
    directories.own.touch()

    assert [str(error) for error in directories.scan().rejected] == [
        f"{directories.own}: found no modules: not a directory"
    ]


def test_valid_directories_become_images_of_their_origin(directories: Directories) -> None:
    directories.add("probe")
    directories.add("bridge", is_bundled=True)

    found = directories.scan()

    assert {name: image.origin for name, image in found.images.items()} == {"bridge": "bundled", "probe": "dropped-in"}
    assert found.images["probe"].directory == str(directories.own / "probe")
    assert found.images["probe"].fingerprint
    assert (found.rejected, found.incomplete) == ((), ())


def test_a_dropped_in_image_shadows_the_bundled_one_of_its_name(directories: Directories) -> None:
    directories.add("bridge", is_bundled=True)
    directories.add("bridge", version="2.0")

    image = directories.scan().images["bridge"]

    assert (image.version, image.shadows, image.origin) == ("2.0", True, "dropped-in")


def test_a_rejected_directory_does_not_bring_the_bundled_image_back(directories: Directories) -> None:
    directories.add("bridge", is_bundled=True)
    (directories.add("bridge") / "module.toml").write_text("[module]")

    found = directories.scan()

    assert found.images == {}
    assert len(found.rejected) == 1


def test_an_empty_directory_is_incomplete_and_hides_nothing(directories: Directories) -> None:
    directories.add("bridge", is_bundled=True)
    (directories.own / "bridge").mkdir(parents=True)

    found = directories.scan()

    assert (list(found.images), found.incomplete, found.rejected) == (["bridge"], ("bridge",), ())


def test_what_is_no_module_is_passed_over(directories: Directories) -> None:
    for name in (".git", "__pycache__", "old~", "lost+found"):
        (directories.own / name).mkdir(parents=True)
    for name in ("README.md", "module.toml", "Notes 1"):
        (directories.own / name).touch()
    os.mkfifo(directories.own / "pipe")

    assert directories.scan() == Discovery()


def test_each_directory_that_cannot_be_used_gets_one_line_and_the_others_go_on(directories: Directories) -> None:
    for name in ("Good", "good", "soil-probe", "a b", "gut\udcff"):
        directories.add(name) if name != "gut\udcff" else os.mkdir(os.path.join(directories.own, name))

    found = directories.scan()

    assert list(found.images) == ["good"]
    assert sorted(str(error).rpartition("/")[2] for error in found.rejected) == [
        f"{shown}: found a directory named {named}: expected a lower-case letter, then up to 62 of a-z, 0-9 and _"
        for shown, named in (
            ("Good", "'Good'"),
            ("a b", "'a b'"),
            ("gut\\udcff", "'gut\\udcff'"),
            ("soil-probe", "'soil-probe'"),
        )
    ]


def test_links_that_lead_out_of_the_modules_directory_are_rejected(directories: Directories, tmp_path: Path) -> None:
    outside = Directories(tmp_path / "outside").add("away")
    directories.add("probe")
    (directories.own / "away").symlink_to(outside)
    (directories.own / "dead").symlink_to("nowhere")
    (directories.own / "root").symlink_to("/")

    found = directories.scan()

    assert list(found.images) == ["probe"]
    assert len(found.rejected) == 3
    assert all("found a link to" in str(error) and "copy it instead" in str(error) for error in found.rejected)


def test_a_link_within_the_modules_directory_is_an_image(directories: Directories) -> None:
    directories.add("probe")
    versions = directories.own / ".versions"
    versions.mkdir()
    (directories.own / "probe").rename(versions / "2")
    (directories.own / "probe").symlink_to(".versions/2")

    assert list(directories.scan().images) == ["probe"]


def test_a_directory_is_incomplete_until_it_has_been_quiet(directories: Directories) -> None:
    directories.add("probe")
    now_s = time.time()

    assert directories.scan(settle_s=2, now_s=now_s + 1).incomplete == ("probe",)
    assert list(directories.scan(settle_s=2, now_s=now_s + 3).images) == ["probe"]


def test_files_from_the_future_count_as_settled(directories: Directories) -> None:
    directories.add("probe")

    assert list(directories.scan(settle_s=2, now_s=time.time() - 1e9).images) == ["probe"]


def test_an_image_that_is_being_replaced_stays_what_it_was_until_it_is_quiet(directories: Directories) -> None:
    directories.add("probe")
    first = directories.scan(settle_s=2, now_s=time.time() + 10)
    directories.add("probe", version="1.0.1")

    during = directories.scan(settle_s=2, now_s=time.time() + 1, previous=first)
    still = directories.scan(settle_s=2, now_s=time.time() + 1, previous=during)
    after = directories.scan(settle_s=2, now_s=time.time() + 10, previous=still)

    assert (during.images, during.incomplete) == (first.images, ("probe",))
    assert still == during
    assert (after.images["probe"].version, after.incomplete) == ("1.0.1", ())
    assert after.images["probe"].fingerprint != first.images["probe"].fingerprint


def test_an_image_without_its_manifest_is_gone(directories: Directories) -> None:
    directory = directories.add("probe")
    first = directories.scan()
    (directory / "module.toml").unlink()

    found = directories.scan(previous=first)

    assert (found.images, found.incomplete) == ({}, ("probe",))


def test_what_did_not_change_is_not_parsed_again(directories: Directories) -> None:
    directories.add("probe")
    (directories.add("broken") / "module.toml").write_text("[module]")
    first = directories.scan()

    second = directories.scan(previous=first)

    assert second == first
    assert second.dropped_in["probe"] is first.dropped_in["probe"]
    assert second.dropped_in["broken"] is first.dropped_in["broken"]
    assert second.bundled is first.bundled


def test_a_directory_beyond_all_measure_is_rejected(directories: Directories) -> None:
    (directories.add("probe") / "/".join("d" * 12)).mkdir(parents=True)

    assert ["levels" in str(error) for error in directories.scan().rejected] == [True]
