"""All identities of a device: who keeps theirs, who gets another one, and what damage does to them."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.virtual_reactor import VirtualReactor

from microedge.errors import IdentityError
from microedge.identity.record import Identity
from microedge.identity.store import GONE_S, IdentityStore


class Device:
    """A state directory and the store on it, which can be started again."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.stores: list[IdentityStore] = []

    def start(self, *planned: str, device: str = "bench") -> IdentityStore:
        self.reactor = VirtualReactor()
        self.store = IdentityStore(str(self.state), device, self.reactor)
        self.store.open()
        self.follow(*planned)
        return self.store

    def follow(self, *planned: str) -> None:
        self.store.follow(planned, planned)

    def stop(self) -> None:
        self.store.close(5)

    def settle(self) -> None:
        """Wait until everything is written and told."""
        self.reactor.turn()
        while self.store._saving:
            assert self.reactor.run_thread_call(5)

    def restart(self, *planned: str) -> IdentityStore:
        self.stop()
        return self.start(*planned)

    def file(self, name: str = "north") -> Path:
        return self.state / "identities" / f"{name}.json" if name else self.state / "device.json"

    def copy(self, name: str = "north") -> Path:
        return self.file(name).with_suffix(".json.copy")


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    one = Device(tmp_path)
    yield one
    one.stop()


# --- Making ---


def test_a_new_device_has_an_identity_and_so_has_each_module(device: Device):
    store = device.start("north", "south")

    assert [one.path for one in store.all()] == [
        "/devices/bench",
        "/devices/bench/modules/north",
        "/devices/bench/modules/south",
    ]
    everything = [getattr(one, name) for one in store.all() for name in ("generation", "primary", "secondary")]
    assert len(set(everything)) == 9
    assert store.warnings == []


def test_identities_are_in_files_for_nobody_else(device: Device):
    device.start("north")
    device.settle()

    files = [device.state / "device.json", *sorted((device.state / "identities").iterdir())]
    assert [path.name for path in files] == ["device.json", "north.json", "north.json.copy"]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert (device.state / "identities").stat().st_mode & 0o777 == 0o700


def test_making_one_does_not_wait_for_the_disk(device: Device):
    store = device.start("north")

    assert store.generation("north")
    assert not device.file().exists()  # until the loop turns
    device.settle()
    assert json.loads(device.file().read_bytes())["generation"] == store.generation("north")


def test_closing_writes_what_was_just_made(device: Device):
    store = device.start("north")
    store.close(5)

    assert device.start("north").find("north") == store.find("north")


def test_a_module_without_an_identity_is_unknown(device: Device):
    store = device.start("north")

    assert store.generation("south") == ""
    with pytest.raises(IdentityError, match="module 'south': it has no identity; known: north"):
        store.find("south")


# --- Generations ---

START, STOP = "supervisor starts", "supervisor stops"
THERE, GONE = "is planned", "is gone"
BROKEN = "is known, but its image cannot be used"
MOMENT, LONG = GONE_S - 1, GONE_S + 1


@pytest.mark.parametrize(
    ("story", "is_same"),
    [
        pytest.param([], True, id="nothing happens"),
        pytest.param([THERE, THERE], True, id="a rescan, a changed image"),
        pytest.param([STOP, START, THERE], True, id="a restart"),
        pytest.param([STOP, START, THERE, STOP, START, THERE], True, id="two restarts"),
        pytest.param([GONE, MOMENT, THERE], True, id="deleted and copied again: an update"),
        pytest.param([GONE, MOMENT, THERE, LONG], True, id="an update, and long after"),
        pytest.param([GONE, MOMENT, THERE, GONE, MOMENT, THERE], True, id="two updates in a row"),
        pytest.param([BROKEN, LONG, THERE], True, id="its image is broken for long"),
        pytest.param([GONE, MOMENT, BROKEN, LONG, THERE], True, id="an update that takes a second try"),
        pytest.param([STOP, START, GONE, MOMENT, THERE], True, id="an update while it starts"),
        pytest.param([GONE, MOMENT, STOP, START, THERE], True, id="an update across a restart"),
        pytest.param([GONE, LONG, THERE], False, id="deleted and made again"),
        pytest.param([GONE, LONG, STOP, START, THERE], False, id="deleted, restarted, made again"),
        pytest.param([STOP, START, GONE, LONG, THERE], False, id="deleted while it was off"),
        pytest.param([GONE, MOMENT, GONE, MOMENT, THERE], False, id="looked for twice and not there"),
        pytest.param([GONE, LONG, THERE, STOP, START, THERE], False, id="made again and kept"),
    ],
)
def test_who_keeps_a_generation(device: Device, story: list[object], is_same: bool):
    before = device.start("north", "south").find("north")
    others = [device.store.find(name) for name in ("", "south")]

    for event in story:
        happen(device, event)

    after = device.store.find("north")
    assert (after.generation == before.generation) == is_same
    assert (after.primary == before.primary) == is_same
    assert (after.secondary == before.secondary) == is_same
    assert after.removed == ""
    assert [device.store.find(name) for name in ("", "south")] == others


def happen(device: Device, event: object) -> None:
    if event == STOP:
        device.stop()
    elif event == START:
        device.start("south")
    elif event == THERE:
        device.follow("north", "south")
    elif event == GONE:
        device.follow("south")
    elif event == BROKEN:
        device.store.follow(["south"], ["north", "south"])
    else:
        device.reactor.advance(float(event))  # type: ignore[arg-type]


def test_a_modules_directory_that_cannot_be_read_removes_nobody(device: Device):
    device.start("north")
    store = device.restart()
    store.follow([], None)
    device.reactor.advance(10 * GONE_S)

    assert store.find("north").removed == ""


def test_a_removed_identity_stays_in_its_file_and_says_since_when(device: Device):
    before = device.start("north").find("north")
    device.follow()
    device.reactor.advance(GONE_S)
    device.settle()

    after = device.restart().find("north")
    assert after.removed
    assert (after.generation, after.primary) == (before.generation, before.primary)


def test_a_device_of_another_name_is_somebody_else(device: Device):
    before = device.start("north")
    device.stop()
    after = device.start("north", device="other")

    assert [one.path for one in after.all()] == ["/devices/other", "/devices/other/modules/north"]
    assert after.generation("north") != before.generation("north")
    assert "it is the identity /devices/bench; set aside as" in after.warnings[0]


# --- Rotation ---


def rotated(device: Device, name: str, which: str) -> tuple[Identity, str]:
    """Rotate, wait until it is done, and return the identity and what was answered."""
    answers: list[str] = []
    device.store.rotate(name, which, answers.append)
    device.reactor.turn()
    while not answers:
        assert device.reactor.run_thread_call(5)
    return device.store.find(name), answers[0]


@pytest.mark.parametrize("name", ["", "north"])
@pytest.mark.parametrize(("which", "kept"), [("primary", "secondary"), ("secondary", "primary")])
def test_a_rotated_key_is_new_and_the_other_one_stays(device: Device, name: str, which: str, kept: str):
    before = device.start("north").find(name)
    device.settle()
    after, answer = rotated(device, name, which)

    assert answer == ""
    assert after.key(which) != before.key(which)
    assert after.key(kept) == before.key(kept)
    assert (after.generation, after.created) == (before.generation, before.created)
    assert after.rotated
    assert device.restart("north").find(name) == after


def test_the_old_keys_are_valid_until_the_new_one_is_on_disk(device: Device):
    before = device.start("north").find("north")
    device.settle()
    device.store.rotate("north", "primary", lambda why: None)

    assert device.store.find("north") == before


def test_one_rotation_waits_for_the_other(device: Device):
    device.start("north")
    device.settle()
    device.store.rotate("north", "primary", lambda why: None)

    with pytest.raises(IdentityError, match="/devices/bench/modules/north: its file is just being written; try again"):
        device.store.rotate("north", "secondary", lambda why: None)


def test_a_removed_identity_is_not_rotated(device: Device):
    device.start("north")
    device.follow()
    device.reactor.advance(GONE_S)
    device.settle()

    with pytest.raises(IdentityError, match=r"it was removed at .* and has no valid key"):
        device.store.rotate("north", "primary", lambda why: None)


def test_a_key_that_could_not_be_written_is_not_used(device: Device):
    before = device.start("north").find("north")
    device.settle()
    (device.state / "identities").rename(device.state / "away")
    after, answer = rotated(device, "north", "primary")
    (device.state / "away").rename(device.state / "identities")

    assert answer == "No such file or directory"
    assert after == before
    assert device.restart("north").find("north") == before


def test_a_module_that_goes_while_its_key_is_rotated_is_removed(device: Device):
    device.start("north")
    device.settle()
    device.follow()
    device.reactor.advance(GONE_S - 1)
    device.store.rotate("north", "primary", lambda why: None)
    device.reactor.advance(2)
    device.settle()

    assert device.store.find("north").removed
    assert device.restart().find("north").removed


# --- Damage ---


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("name", ["", "north"])
def test_a_file_cut_at_any_byte_is_set_aside_and_the_copy_used(device: Device, name: str):
    before = device.start("north").find(name)
    device.settle()
    whole = device.file(name).read_bytes()

    for length in range(0, len(whole) - 1, 13 if name else 1):
        device.file(name).write_bytes(whole[:length])
        store = device.restart("north")
        assert store.find(name) == before
        assert len(store.warnings) == 1
        assert "cut short or damaged; set aside as" in store.warnings[0]
        assert store.warnings[0].endswith("its other copy is used")
        device.settle()
        assert device.file(name).read_bytes() == whole


def test_what_was_set_aside_is_kept(device: Device):
    device.start("north")
    device.settle()
    device.file().write_bytes(b'{"device": "bench"')
    device.restart("north")

    assert (device.state / "quarantine" / "identity-north-1.json").read_bytes() == b'{"device": "bench"'


@pytest.mark.parametrize("damage", [b"", b"{}", b"\0" * 600])
def test_without_a_whole_file_the_module_is_somebody_else_and_the_log_says_so(
    device: Device, caplog: pytest.LogCaptureFixture, damage: bytes
):
    before = device.start("north").find("north")
    device.settle()
    device.file().write_bytes(damage)
    device.copy().write_bytes(damage)
    store = device.restart("north")
    after = store.find("north")

    assert after.generation != before.generation
    assert {after.primary, after.secondary} & {before.primary, before.secondary} == set()
    assert errors(caplog) == [
        "module north has a new identity, because its old one is lost: "
        f"generation={after.generation}; tell whoever knows its old keys"
    ]
    assert len(store.warnings) == 2
    assert len(os.listdir(device.state / "quarantine")) == 2


def test_a_lost_identity_of_a_module_that_comes_later_is_an_error_then(
    device: Device, caplog: pytest.LogCaptureFixture
):
    device.start("north")
    device.settle()
    device.file().write_bytes(b"")
    device.copy().unlink()
    device.restart()
    assert errors(caplog) == []

    device.follow("north")
    assert len(errors(caplog)) == 1


def test_a_file_that_is_missing_is_made_from_its_copy(device: Device):
    before = device.start("north").find("north")
    device.settle()
    device.file().unlink()
    store = device.restart("north")
    device.settle()

    assert store.find("north") == before
    assert store.warnings[0].endswith("north.json was missing; its other copy is used")
    assert device.file().exists()


@pytest.mark.parametrize("damage", [b"", b"{"])
def test_a_damaged_copy_is_made_again(device: Device, damage: bytes):
    before = device.start("north").find("north")
    device.settle()
    device.copy().write_bytes(damage)
    store = device.restart("north")
    device.settle()

    assert store.find("north") == before
    assert device.copy().read_bytes() == device.file().read_bytes()


def test_both_files_deleted_is_a_new_identity_without_an_alarm(device: Device, caplog: pytest.LogCaptureFixture):
    before = device.start("north").find("north")
    device.settle()
    device.file().unlink()
    device.copy().unlink()

    assert device.restart("north").generation("north") != before.generation
    assert errors(caplog) == []


def test_the_file_of_another_module_is_nobody_s_identity(device: Device):
    store = device.start("north")
    device.settle()
    device.file("south").write_bytes(device.file("north").read_bytes())
    after = device.restart("north", "south")

    assert after.generation("south") != store.generation("north")
    assert after.generation("north") == store.generation("north")
    assert "it is the identity /devices/bench/modules/north" in after.warnings[1]


def test_permissions_that_are_too_wide_are_corrected_and_said(device: Device):
    before = device.start("north").find("north")
    device.settle()
    device.file().chmod(0o644)
    (device.state / "identities").chmod(0o755)
    store = device.restart("north")

    assert store.find("north") == before
    assert device.file().stat().st_mode & 0o777 == 0o600
    assert store.warnings == [
        f"{device.state}/identities was open to other users (mode 0755): now 0700",
        f"{device.file()} was open to other users (mode 0644): now 0600",
    ]


def test_a_directory_that_cannot_be_made_says_what_to_do(tmp_path: Path):
    (tmp_path / "identities").write_text("a file")

    with pytest.raises(IdentityError, match=r"identities: .*; make it a directory of this user"):
        IdentityStore(str(tmp_path), "bench", VirtualReactor()).open()


# --- A disk that does not take it ---


def test_an_identity_that_cannot_be_written_is_used_reported_and_written_later(
    device: Device, caplog: pytest.LogCaptureFixture
):
    store = device.start()
    device.settle()
    (device.state / "identities").rename(device.state / "away")
    device.follow("north")
    device.settle()
    generation = store.generation("north")
    assert store.warnings == ["identity of module north is not on disk: No such file or directory"]

    for _ in range(3):  # it tries again, and says so once
        device.reactor.advance(30)
        device.settle()
    assert len(errors(caplog)) == 1

    (device.state / "away").rename(device.state / "identities")
    device.reactor.advance(30)
    device.settle()
    assert store.warnings == []
    assert device.restart("north").generation("north") == generation
