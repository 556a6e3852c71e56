"""Whose name is still in use, and what the control socket tells about identities."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.virtual_reactor import VirtualReactor

from microedge.config.discovery import Discovery, Entry
from microedge.config.model import Config, DeviceConfig, InstanceConfig, PathsConfig
from microedge.errors import IdentityError, MicroedgeError, ModuleImageError
from microedge.identity.store import IdentityStore
from microedge.identity.token import fingerprint
from microedge.supervisor.identities import identity_commands, names_in_use

GOOD, BROKEN, COPYING = Entry("1"), Entry("", error=ModuleImageError("m", "bad")), Entry("", is_settled=False)


@pytest.mark.parametrize(
    ("configured", "directories", "names"),
    [
        ({}, {}, set()),
        ({}, {"probe": GOOD}, {"probe"}),
        ({}, {"probe": BROKEN}, {"probe"}),
        ({}, {"probe": COPYING}, {"probe"}),
        ({"north": "probe"}, {}, {"north"}),
        ({"north": "probe"}, {"probe": GOOD}, {"north"}),
        ({"north": "probe"}, {"other": GOOD}, {"north", "other"}),
        ({"probe": "probe"}, {"probe": GOOD}, {"probe"}),
        ({"probe": "other"}, {"probe": GOOD}, {"probe"}),
        ({"north": "probe"}, {"": BROKEN}, None),
    ],
)
def test_a_name_is_in_use_while_somebody_mentions_it(configured, directories, names):
    modules = {name: InstanceConfig(name, image) for name, image in configured.items()}
    config = Config("/f", DeviceConfig("bench"), PathsConfig("/m", "/s"), modules=modules)

    assert names_in_use(config, Discovery(dropped_in=directories)) == names


class Answers:
    """Stands for a reply."""

    def __init__(self) -> None:
        self.results: list[Any] = []
        self.errors: list[MicroedgeError] = []

    def result(self, result: object) -> None:
        self.results.append(result)

    def error(self, error: MicroedgeError) -> None:
        self.errors.append(error)


class Desk:
    def __init__(self, state: Path) -> None:
        self.state = state
        self.reactor = VirtualReactor()
        self.store = IdentityStore(str(state), "bench", self.reactor)
        self.store.open()
        self.store.follow(["north", "south"], ["north", "south"])
        self.settle()

    def ask(self, command: str, **request: object) -> Answers:
        answers: Any = Answers()
        identity_commands(self.store)[command](request, answers)
        self.settle()
        found: Answers = answers
        return found

    def settle(self) -> None:
        self.reactor.turn()
        while self.store._saving:
            assert self.reactor.run_thread_call(5)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    one = Desk(tmp_path)
    yield one
    one.store.close(5)


def shown(desk: Desk, **request: object) -> list[dict[str, Any]]:
    (result,) = desk.ask("identity", **request).results
    identities: list[dict[str, Any]] = result["identities"]
    return identities


def test_all_identities_are_shown_without_their_keys(desk: Desk):
    documents = shown(desk)

    assert [document["module"] for document in documents] == ["", "north", "south"]
    assert not any("keys" in document for document in documents)
    north = desk.store.find("north")
    assert documents[1] == {
        "path": "/devices/bench/modules/north",
        "device": "bench",
        "module": "north",
        "generation": north.generation,
        "fingerprints": {"primary": fingerprint(north.primary), "secondary": fingerprint(north.secondary)},
        "created": north.created,
        "rotated": "",
        "removed": "",
    }
    assert north.primary not in str(documents)


@pytest.mark.parametrize(("request_", "name"), [({"module": "north"}, "north"), ({"of_device": True}, "")])
def test_keys_are_shown_to_whoever_asks_for_them(desk: Desk, caplog: pytest.LogCaptureFixture, request_, name):
    caplog.set_level("INFO")
    (document,) = shown(desk, **request_, reveal=True)
    identity = desk.store.find(name)

    assert document["keys"] == {"primary": identity.primary, "secondary": identity.secondary}
    assert caplog.messages[-1] == f"keys shown on the control socket: {identity.path}"
    assert identity.primary not in caplog.text


@pytest.mark.parametrize(
    ("which", "changed"), [(None, "secondary"), ("secondary", "secondary"), ("primary", "primary")]
)
def test_a_rotation_is_answered_when_it_is_on_disk(desk: Desk, which, changed):
    before = desk.store.find("north")
    (result,) = desk.ask("identity_rotate", module="north", which=which).results
    after = desk.store.find("north")

    assert after.key(changed) != before.key(changed)
    assert result["fingerprints"][changed] == fingerprint(after.key(changed))
    assert result["which"] == changed
    assert after.key(changed) in (desk.state / "identities" / "north.json").read_text()


def test_a_rotation_that_the_disk_does_not_take_says_that_nothing_has_changed(desk: Desk):
    (desk.state / "identities").rename(desk.state / "away")
    (error,) = desk.ask("identity_rotate", module="north").errors

    assert str(error).endswith("its file cannot be written: No such file or directory; both old keys stay valid")


@pytest.mark.parametrize(
    ("command", "request_", "text"),
    [
        ("identity", {"module": "nobody"}, "module 'nobody': it has no identity; known: north, south"),
        ("identity_rotate", {"module": "nobody"}, "known: north, south"),
        ("identity_rotate", {}, "expected the name of a module, or of_device = true"),
        ("identity_rotate", {"module": 7}, "expected the name of a module"),
    ],
)
def test_a_request_for_nobody_is_refused(desk: Desk, command, request_, text):
    with pytest.raises(IdentityError, match=text):
        desk.ask(command, **request_)


def test_a_third_key_is_a_bad_argument(desk: Desk):
    with pytest.raises(ValueError, match="'tertiary': expected primary or secondary"):
        desk.ask("identity_rotate", module="north", which="tertiary")
