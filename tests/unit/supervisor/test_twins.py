"""Twins between modules, files, people and the upstream, in virtual time; only the writing of files takes real time."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.fake_processes import plan
from support.virtual_reactor import VirtualReactor

from microedge import wire
from microedge.config.model import InstanceConfig
from microedge.config.plan import InstancePlan
from microedge.errors import TwinError
from microedge.message import Message
from microedge.supervisor.twins import Twins
from microedge.twin.file import TwinFile

Frame = tuple[str, int, str, Any]  # kind, number, head, decoded body


class Module:
    """A process as twins see it."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.world = world
        self.is_leaving = False
        self.process = SimpleNamespace(unsent_bytes=0, pause=self._pause, resume=self._resume)
        self.is_paused = False
        self.session = object()
        self.sent: list[bytes] = []
        self.started = world.twins.start(self)  # type: ignore[arg-type]
        world.twins.opened(self)  # type: ignore[arg-type]

    def write(self, frame: bytes) -> None:
        self.sent.append(frame)

    def report(self, *patches: object) -> None:
        self.world.twins.received(self, list(enumerate(patches, 1)))  # type: ignore[arg-type]

    def frames(self) -> list[Frame]:
        """Return what it was sent since the last time."""
        sent, self.sent = self.sent, []
        names = {wire.DESIRED: "desired", wire.REPORTED: "reported"}
        found = wire.Decoder(wire.FROM_HUB).feed(b"".join(sent))
        return [(names[kind], number, head.decode(), json.loads(body)) for kind, number, _, head, body in found]

    def end(self, *, is_asked: bool = False) -> None:
        self.is_leaving = is_asked
        self.world.twins.closed(self)  # type: ignore[arg-type]
        self.session = None
        self.world.settle()

    def _pause(self) -> None:
        self.is_paused = True

    def _resume(self) -> None:
        self.is_paused = False


class World:
    def __init__(self, state: Path) -> None:
        self.state = state
        self.reactor = VirtualReactor()
        self.routed: list[Message] = []
        self.dropped: list[str] = []
        self.published: list[tuple[str, Any]] = []
        self.retried: list[str] = []
        self.twins = self.make()

    def make(self, **options: Any) -> Twins:
        twins = Twins(str(self.state), "bench", self.reactor, self, clock=self.reactor.now_s)
        twins.retry = self.retried.append
        for name, value in options.items():
            setattr(twins, name, value)
        twins.open([])
        return twins

    def route_twin_change(self, message: Message) -> None:
        message.waiting = 1
        self.routed.append(message)

    def drop_twin_change(self, module: str) -> None:
        self.dropped.append(module)

    def set_reported(self, module: str, document: bytes) -> None:
        self.published.append((module, json.loads(document) if document else None))

    def settle(self) -> None:
        """Run what is due, and wait for what is being written."""
        self.reactor.turn()
        while self.twins._saver._thread is not None:
            assert self.reactor.run_thread_call(10)

    def advance(self, seconds: float) -> None:
        self.settle()
        for _ in range(max(1, int(seconds))):
            self.reactor.advance(seconds / max(1, int(seconds)))
            self.settle()

    def file(self, name: str = "probe") -> Path:
        return self.state / "twins" / f"{name}.json"

    def on_disk(self, name: str = "probe") -> Any:
        return json.loads(self.file(name).read_text())

    def reported_on_disk(self) -> Any:
        return self.on_disk()["properties"]["reported"]

    def edit(self, change: Any, name: str = "probe") -> None:
        """As an editor does that writes in place, a while ago."""
        document = self.on_disk(name)
        change(document)
        self.write(json.dumps(document, indent=2), name)

    def write(self, text: str, name: str = "probe") -> None:
        self.file(name).write_text(text)
        earlier = time.time_ns() - 10**9
        os.utime(self.file(name), ns=(earlier, earlier))
        self.twins.look()
        self.settle()

    def status(self, name: str = "probe") -> str:
        return self.twins.held(name).problem

    def restart(self, **options: Any) -> None:
        """As after a power cut."""
        self.settle()
        self.twins = self.make(**options)


def configured(desired: dict[str, Any] | None = None, *, default: dict[str, Any] | None = None) -> InstancePlan:
    one = plan("probe")
    image = replace(one.image, desired={"interval_s": 5} if default is None else default)
    return replace(one, image=image, config=InstanceConfig("probe", "probe", desired=desired or {}))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(tmp_path)
    yield one
    one.settle()
    one.twins.close(10)


@pytest.fixture
def module(world: World) -> Module:
    world.twins.follow([configured({"unit": "C"})])
    world.settle()
    return Module(world, "probe")


# --- Desired properties ---


def test_a_start_brings_both_halves_of_the_twin_and_their_versions(module: Module):
    assert module.started == {
        "desired": {"interval_s": 5, "unit": "C"},
        "desired_version": 2,
        "reported": {},
        "reported_version": 1,
    }


def test_a_change_by_hand_reaches_the_module_as_a_patch_with_its_nulls(world: World, module: Module):
    effect = world.twins.patch_desired("probe", {"unit": None, "mode": "fast"})
    world.settle()

    assert (effect.version, effect.changed) == (3, True)
    assert module.frames() == [("desired", 3, "patch", {"unit": None, "mode": "fast"})]


def test_what_was_set_here_can_be_withdrawn_key_by_key(world: World, module: Module):
    world.twins.patch_desired("probe", {"unit": "K", "interval_s": 1, "limits": {"max": 3, "min": 1}})
    world.twins.upstream_desired("probe", b'{"interval_s": 9}')
    world.twins.patch_desired("probe", {"unit": None, "interval_s": None, "limits": {"max": None}}, how="reset")
    world.settle()
    assert dict(world.twins.find("probe").desired) == {"interval_s": 9, "unit": "C", "limits": {"min": 1}}
    world.twins.upstream_desired("probe", b"")
    effect = world.twins.patch_desired("probe", {"unit": None, "nobody": {"said": None}}, how="reset")

    assert world.twins.find("probe").desired["interval_s"] == 5
    assert (effect.changed, effect.notification) == (False, None)


def test_nobody_is_told_of_a_change_before_it_is_on_the_card(world: World, module: Module):
    told: list[tuple[int, bool]] = []
    for mode in ("fast", "slow"):
        world.twins.patch_desired(
            "probe", {"mode": mode}, lambda effect, is_told: told.append((effect.version, is_told))
        )
    world.twins.patch_tags("probe", {"site": "hall 3"}, lambda effect, is_told: told.append((effect.version, is_told)))
    assert (told, module.frames(), world.retried) == ([], [], [])
    world.settle()

    assert [version for version, _ in told[:2]] == [3, 4]
    assert [is_told for _, is_told in told] == [True, True, False]
    assert [frame[1:] for frame in module.frames()] == [(3, "patch", {"mode": "fast"}), (4, "patch", {"mode": "slow"})]
    assert world.on_disk()["properties"]["desired"]["mode"] == "slow"


def test_with_a_card_that_takes_nothing_changes_are_told_all_the_same(
    world: World, module: Module, monkeypatch: pytest.MonkeyPatch
):
    def full(self: TwinFile, data: bytes) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(TwinFile, "write", full)
    world.twins.patch_desired("probe", {"mode": "fast"})
    world.settle()
    world.twins.patch_desired("probe", {"mode": "slow"})

    assert [frame[3] for frame in module.frames()] == [{"mode": "fast"}, {"mode": "slow"}]
    monkeypatch.undo()
    world.advance(60)


def test_a_change_that_was_told_is_there_after_a_crash_at_once(world: World, module: Module):
    told: list[bool] = []
    world.twins.patch_desired("probe", {"mode": "fast"}, lambda effect, is_told: told.append(is_told))
    while not told:
        world.reactor._run_one_round()
    world.restart()
    world.twins.follow([configured({"unit": "C"})])

    assert world.twins.find("probe").desired["mode"] == "fast"


def test_another_configuration_reaches_the_module_in_the_next_turn(world: World, module: Module):
    world.twins.follow([configured({"unit": "F"})])
    assert module.frames() == []
    world.settle()

    assert module.frames() == [("desired", 3, "patch", {"unit": "F"})]


def test_a_module_that_is_about_to_be_restarted_is_told_by_its_next_start_only(world: World, module: Module):
    world.twins.follow([configured(default={"interval_s": 9})])
    module.is_leaving = True
    world.settle()
    assert module.frames() == []
    successor = Module(world, "probe")
    world.settle()

    assert successor.started["desired"] == {"interval_s": 9}
    assert successor.frames() == []


def test_after_a_gap_the_module_gets_the_whole_document(world: World, module: Module):
    world.twins.follow([configured({"unit": "F"})])
    world.twins.patch_desired("probe", {"mode": "fast"})
    world.settle()

    assert module.frames() == [("desired", 4, "whole", {"interval_s": 5, "unit": "F", "mode": "fast"})]


def test_a_module_that_does_not_read_gets_the_whole_document_once_it_does(world: World, module: Module):
    module.process.unsent_bytes = 100_000
    for number in range(50):
        world.twins.patch_desired("probe", {"number": number})
    world.advance(2)
    assert module.frames() == []
    module.process.unsent_bytes = 0
    world.advance(1)

    assert module.frames() == [("desired", 52, "whole", {"interval_s": 5, "unit": "C", "number": 49})]


def test_a_change_of_value_starts_a_module_that_waits_and_the_same_value_does_not(world: World, module: Module):
    world.twins.patch_desired("probe", {"unit": "C"})
    world.settle()
    assert world.retried == []
    world.twins.patch_desired("probe", {"unit": "K"})
    world.settle()

    assert world.retried == ["probe"]


def test_what_a_person_sets_is_on_the_card_at_once(world: World, module: Module):
    world.twins.patch_desired("probe", {"mode": "fast"})
    world.twins.patch_tags("probe", {"site": "hall 3"})
    world.settle()
    world.restart()
    world.twins.follow([configured({"unit": "C"})])
    twin = world.twins.find("probe")

    assert (twin.desired["mode"], dict(twin.tags)) == ("fast", {"site": "hall 3"})


def test_a_configuration_that_breaks_a_limit_leaves_the_running_one_and_says_so(world: World, module: Module):
    world.twins.follow([configured({"text": "x" * 5_000})])
    world.settle()
    assert module.frames() == []
    assert "configured desired properties are refused" in world.status()
    assert "at most 4096 bytes" in world.status()
    world.twins.follow([configured({"unit": "C"})])

    assert world.status() == ""


def test_an_unknown_name_is_refused_with_those_that_exist(world: World, module: Module):
    with pytest.raises(TwinError, match="module = 'prob': expected one of probe"):
        world.twins.find("prob")


# --- Reports ---


def test_a_report_is_answered_with_its_version_and_a_bad_one_with_what_is_wrong(world: World, module: Module):
    module.report({"celsius": 21.5}, {"a.b": 1}, {"celsius": 22})
    world.settle()
    first, refused, second = module.frames()

    assert (first, second) == (("reported", 1, "200", {"version": 2}), ("reported", 3, "200", {"version": 3}))
    assert refused[1:3] == (2, "400")
    assert refused[3]["path"] == "properties.reported"
    assert world.twins.find("probe").reported == {"celsius": 22}


def test_a_version_is_told_only_after_the_card_has_reserved_it(world: World, module: Module):
    world.twins.close(10)  # a regular stop reserves none
    world.restart()
    world.twins.follow([configured({"unit": "C"})])
    module = Module(world, "probe")
    module.report({"a": 1})
    assert module.frames() == []
    world.settle()

    assert module.frames() == [("reported", 1, "200", {"version": 2})]
    assert world.on_disk()["microedge"]["reportedCeiling"] > 1_000


def test_no_version_comes_twice_after_a_crash(world: World, module: Module):
    for number in range(100):
        module.report({"number": number})
    world.settle()
    told = [frame[3]["version"] for frame in module.frames()]
    world.restart()
    world.twins.follow([configured({"unit": "C"})])
    module = Module(world, "probe")
    module.report({"number": 1_000})
    world.settle()

    assert told == list(range(2, 102))
    assert module.started["reported_version"] > 101
    assert module.frames()[0][3]["version"] > 101


def test_reports_at_ten_hertz_are_written_twice_a_minute(world: World, module: Module, monkeypatch: pytest.MonkeyPatch):
    writes: list[int] = []
    write = TwinFile.write

    def counted(self: TwinFile, data: bytes) -> bool:
        writes.append(len(data))
        return write(self, data)

    monkeypatch.setattr(TwinFile, "write", counted)
    for number in range(5 * 600):
        module.report({"number": number})
        world.reactor.advance(0.1)
        world.settle()

    assert 5 < len(writes) <= 5 * 3


def test_what_a_module_reported_is_saved_when_it_was_asked_to_stop(world: World, module: Module):
    module.report({"a": 1})
    world.settle()
    module.report({"a": 2})
    world.settle()
    assert world.reported_on_disk().get("a") != 2
    module.end(is_asked=True)

    assert world.reported_on_disk()["a"] == 2
    assert world.on_disk()["connectionState"] == "Disconnected"


def test_a_regular_stop_saves_everything_and_skips_no_version(world: World, module: Module):
    module.report({"a": 1}, {"a": 2})
    module.end()
    world.twins.close(10)
    world.twins = world.make()
    world.twins.follow([configured({"unit": "C"})])

    assert Module(world, "probe").started["reported_version"] == 3
    assert world.reported_on_disk()["a"] == 2


def test_a_flood_of_one_module_leaves_the_turn_to_others(world: World, module: Module):
    world.twins.follow([configured({"unit": "C"}), replace(configured(), name="calm")])
    world.settle()
    calm = Module(world, "calm")
    ticks = iter(range(10**9))
    world.twins._reports._clock = lambda: next(ticks) / 1000  # each look at the clock takes a millisecond
    module.report(*({"number": number} for number in range(1_000)))
    assert module.is_paused
    calm.report({"a": 1})
    world.reactor._run_one_round()
    world.reactor._run_one_round()

    assert [frame[1] for frame in calm.frames()] == [1]
    assert 0 < len(module.frames()) < 100
    world.settle()
    assert not module.is_paused
    assert world.twins.find("probe").reported == {"number": 999}


def test_reports_that_a_module_left_behind_are_not_answered_to_its_successor(world: World, module: Module):
    ticks = iter(range(10**9))
    world.twins._reports._clock = lambda: next(ticks) / 100
    module.report({"a": 1}, {"a": 2}, {"a": 3})
    module.end()
    successor = Module(world, "probe")
    world.settle()

    assert successor.frames() == []
    assert world.twins.find("probe").reported == {"a": 3}


# --- Changes as messages ---


def test_a_change_becomes_a_message_with_the_patch_as_it_was_sent(world: World, module: Module):
    module.report({"a": 1, "b": None})
    module.report({"a": 1})
    (message,) = world.routed

    assert (message.module, message.output, message.json()) == ("probe", "twinChangeNotifications", {"a": 1, "b": None})
    assert (message.content_type, message.content_encoding) == ("application/json", "utf-8")


def test_changes_that_do_not_get_away_are_dropped_and_counted(world: World, module: Module):
    for number in range(300):
        module.report({"number": number})
    assert (len(world.routed), len(world.dropped)) == (256, 44)
    for message in world.routed:
        message.waiting = 0
    module.report({"number": "next"})

    assert world.routed[-1].json() == {"number": "next"}


# --- Upstream ---


def test_a_document_from_above_is_applied_and_answered(world: World, module: Module):
    world.twins.upstream_desired("probe", b'{"unit": "K", "$version": 7}')
    world.advance(1)

    assert module.frames() == [("desired", 3, "patch", {"unit": "K"})]
    status = {"lastDesiredVersion": 7, "lastDesiredStatus": {"code": 200, "description": ""}}
    assert world.published[-1] == ("probe", {"$version": 1, "$metadata": status})


def test_the_same_document_again_does_nothing(world: World, module: Module):
    world.twins.upstream_desired("probe", b'{"unit": "K"}')
    world.advance(1)
    module.frames()
    published = len(world.published)
    world.twins.upstream_desired("probe", b'{ "unit": "K" }')
    world.advance(1)

    assert (module.frames(), len(world.published)) == ([], published)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"{", "a JSON object"),
        (b"\xff", "a JSON object"),
        (b"[1]", "a JSON object"),
        (b'{"a": NaN}', "a JSON object"),
        (b"[" * 20_000, "expected"),
        (b'{"a": ' + b"9" * 6_000 + b"}", "expected"),
        (b'{"a b": 1}', "without"),
        (b'{"a": "' + b"x" * 70_000 + b'"}', "at most 65536 bytes"),
    ],
    ids=["cut", "no text", "array", "NaN", "deep", "long number", "key", "large"],
)
def test_a_document_that_is_refused_is_visible_above_and_in_status(
    world: World, module: Module, document: bytes, reason: str
):
    world.twins.upstream_desired("probe", document)
    world.advance(1)

    assert module.frames() == []
    answer = world.published[-1][1]["$metadata"]["lastDesiredStatus"]
    assert answer["code"] == 400
    assert reason in answer["description"]
    assert "the upstream's desired properties are refused" in world.status()
    world.twins.upstream_desired("probe", b"{}")
    assert world.status() == ""


def test_an_empty_document_withdraws_what_the_upstream_said(world: World, module: Module):
    world.twins.upstream_desired("probe", b'{"unit": "K"}')
    world.twins.upstream_desired("probe", b"")
    world.advance(1)

    assert world.twins.find("probe").desired["unit"] == "C"
    assert "$metadata" not in world.published[-1][1]


def test_a_persons_change_of_what_the_upstream_sets_is_refused_with_its_owner(world: World, module: Module):
    world.twins.upstream_desired("probe", b'{"unit": "K"}')
    with pytest.raises(TwinError, match="the upstream says 'K': change it there"):
        world.twins.patch_desired("probe", {"unit": "F"})


def test_a_document_for_a_module_that_comes_later_waits_for_it(world: World):
    world.twins.upstream_desired("probe", b'{"unit": "K"}')
    for number in range(100):
        world.twins.upstream_desired(f"other{number}", b"{}")
    world.twins.follow([configured({"unit": "C"})])

    assert world.twins.find("probe").desired["unit"] == "K"
    assert len(world.twins._upstream._waiting) == 63


def test_without_an_upstream_what_one_said_before_is_withdrawn(world: World, module: Module):
    world.twins.upstream_desired("probe", b'{"unit": "K"}')
    world.restart(has_upstream=False)
    world.twins.follow([configured({"unit": "C"})])

    assert world.twins.find("probe").desired["unit"] == "C"


def test_the_upstream_gets_everybody_when_it_connects_and_then_only_changes(world: World, module: Module):
    world.advance(1)
    world.published.clear()
    world.twins.upstream_connected()
    world.advance(1)
    assert world.published == [("probe", {"$version": 1})]
    module.report({"a": 1})
    module.report({"a": 2})
    world.advance(1)

    assert world.published[1:] == [("probe", {"a": 2, "$version": 3})]


# --- Edits ---


def set_unit(unit: str) -> Any:
    return lambda document: document["properties"]["desired"].update(unit=unit)


def test_an_edit_of_the_file_reaches_the_module(world: World, module: Module):
    world.edit(set_unit("K"))

    assert module.frames() == [("desired", 3, "patch", {"unit": "K"})]
    assert world.on_disk()["properties"]["desired"]["$version"] == 3
    assert world.status() == ""


def test_our_own_writes_are_no_edits(world: World, module: Module):
    world.twins.patch_desired("probe", {"mode": "fast"})
    world.settle()
    module.frames()
    world.twins.look()
    world.settle()

    assert module.frames() == []
    assert [entry["origin"] for entry in world.twins.find("probe").history.changes] == ["configuration", "cli"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda document: document["properties"]["reported"].update(a=2), "properties.reported"),
        (set_unit("x" * 5_000), "at most 4096 bytes"),
    ],
    ids=["reported", "too long"],
)
def test_a_bad_edit_is_refused_kept_and_put_back(world: World, module: Module, change: Any, reason: str):
    world.edit(change)

    assert module.frames() == []
    assert "line " in world.status()
    assert reason in world.status()
    assert world.on_disk()["properties"]["desired"]["unit"] == "C"
    assert "a" not in world.reported_on_disk()
    assert world.file().with_suffix(".json.refused").exists()
    world.edit(set_unit("K"))
    assert world.status() == ""


def test_a_file_that_is_just_being_written_is_left_alone_until_it_is_whole(world: World, module: Module):
    document = world.on_disk()
    set_unit("K")(document)
    text = json.dumps(document)
    world.file().write_text(text[:100])
    world.twins.look()
    world.settle()
    assert module.frames() == []
    assert world.status() == ""
    world.file().write_text(text)
    earlier = time.time_ns() - 10**9
    os.utime(world.file(), ns=(earlier, earlier))
    world.advance(1)

    assert module.frames() == [("desired", 3, "patch", {"unit": "K"})]


def test_a_write_that_meets_an_edit_takes_it_over_first(world: World, module: Module):
    document = world.on_disk()
    set_unit("K")(document)
    world.file().write_text(json.dumps(document))
    earlier = time.time_ns() - 10**9
    os.utime(world.file(), ns=(earlier, earlier))
    world.twins.patch_desired("probe", {"mode": "fast"})
    world.settle()
    desired = world.on_disk()["properties"]["desired"]

    assert (desired["unit"], desired["mode"], desired["$version"]) == ("K", "fast", 4)


def test_an_edit_while_nothing_ran_is_taken_over_at_the_start(world: World, module: Module):
    module.end()
    world.twins.close(10)
    document = world.on_disk()
    set_unit("K")(document)
    world.file().write_text(json.dumps(document))
    world.twins = world.make()
    world.twins.follow([configured({"unit": "C"})])

    assert Module(world, "probe").started["desired"]["unit"] == "K"


# --- Damage, full cards, names that go ---


def test_half_a_file_is_replaced_by_its_previous_copy_and_status_says_so(world: World, module: Module):
    world.twins.patch_desired("probe", {"mode": "fast"})
    world.settle()
    world.twins.patch_desired("probe", {"level": 1})
    world.restart()
    whole = world.file().read_bytes()
    world.file().write_bytes(whole[: len(whole) // 2])
    world.twins.follow([configured({"unit": "C"})])
    world.settle()

    assert world.twins.find("probe").desired["mode"] == "fast"
    assert "cannot be used" in world.status()
    assert "previous copy" in world.status()
    assert world.on_disk()["properties"]["desired"]["mode"] == "fast"


def test_a_full_card_is_said_once_tried_again_and_forgotten(
    world: World, module: Module, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def full(self: TwinFile, data: bytes) -> bool:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(TwinFile, "write", full)
        world.twins.patch_desired("probe", {"mode": "fast"})
        world.advance(100)
        module.report({"a": 1})
        world.settle()
        assert "No space left on device" in world.status()
        assert not world.twins.held("probe").is_saved
        assert [record.getMessage() for record in caplog.records if "No space" in record.getMessage()] != []
        assert sum("No space" in record.getMessage() for record in caplog.records) == 1
        assert [frame[:3] for frame in module.frames()] == [("desired", 3, "patch"), ("reported", 1, "200")]
    world.advance(31)

    assert world.status() == ""
    assert world.reported_on_disk()["a"] == 1
    assert world.on_disk()["properties"]["desired"]["mode"] == "fast"


def test_a_twin_that_no_file_can_hold_keeps_no_other_from_the_card(world: World, module: Module):
    world.twins.follow([configured({"unit": "C"}), replace(configured(), name="probe2")])
    world.settle()
    odd = world.twins.find("probe")
    odd._last_activity = "\ud800"  # half a surrogate pair, which JSON can say and UTF-8 cannot
    world.twins.patch_desired("probe", {"mode": "fast"})
    world.twins.patch_desired("probe2", {"mode": "fast"})
    world.settle()

    assert "surrogates not allowed" in world.status()
    assert world.on_disk("probe2")["properties"]["desired"]["mode"] == "fast"
    odd._last_activity = ""


def test_modules_report_on_a_full_card_even_before_anything_was_reserved(world: World, monkeypatch: pytest.MonkeyPatch):
    def full(self: TwinFile, data: bytes) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(TwinFile, "write", full)
    world.twins.follow([configured()])
    module = Module(world, "probe")
    module.report({"a": 1}, {"a": 2})
    world.settle()

    assert [frame[3] for frame in module.frames()] == [{"version": 2}, {"version": 3}]


def test_a_file_that_cannot_be_read_is_left_alone(world: World, monkeypatch: pytest.MonkeyPatch):
    def broken(self: TwinFile, parse: Any) -> Any:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(TwinFile, "load", broken)
    world.twins.follow([configured()])
    module = Module(world, "probe")
    module.report({"a": 1})
    world.advance(60)

    assert module.frames()[0][3] == {"version": 2}
    assert "Input/output error; until microedge starts again it lives in RAM alone" in world.status()
    assert not world.file().exists()


def test_a_name_that_was_given_up_leaves_nothing_to_its_next_owner(world: World, module: Module):
    world.twins.patch_desired("probe", {"mode": "fast"})
    module.report({"a": 1})
    world.twins.upstream_desired("probe", b'{"level": 3}')
    module.end(is_asked=True)
    world.twins.remove("probe")
    assert world.published[-1] == ("probe", None)
    world.twins.follow([configured({"unit": "C"})])
    world.settle()
    twin = world.twins.find("probe")

    assert dict(twin.desired) == {"interval_s": 5, "unit": "C", "level": 3}  # the upstream still wants that
    assert dict(twin.reported) == {}
    assert world.file().with_suffix(".json.removed").exists()


def test_an_edit_of_a_twin_whose_name_was_given_up_meanwhile_is_nobodys(world: World, module: Module):
    module.end()
    document = world.on_disk()
    document["tags"]["site"] = "hall 3"
    world.file().write_text(json.dumps(document))
    earlier = time.time_ns() - 10**9
    os.utime(world.file(), ns=(earlier, earlier))
    world.twins.look()
    world.reactor._run_one_round()
    thread = world.twins._saver._thread
    assert thread is not None
    thread.join()  # it has read the edit, and the loop does not know yet
    world.twins.remove("probe")
    world.settle()

    assert world.twins.names() == []


def test_a_twin_whose_name_was_given_up_in_the_moment_of_a_crash_is_set_aside_at_the_start(
    world: World, module: Module
):
    world.settle()
    twins = Twins(str(world.state), "bench", world.reactor, world)
    twins.open(["probe", "never"])

    assert sorted(os.listdir(world.state / "twins")) == ["probe.json.removed"]


def test_twins_of_names_that_were_given_up_are_bounded(world: World):
    for number in range(12):
        name = f"probe{number}"
        world.twins.follow([replace(configured(), name=name)])
        world.settle()
        world.twins.remove(name)

    assert len(os.listdir(world.state / "twins")) == 8


def test_microedges_own_twin_takes_reports_and_nothing_from_above(world: World):
    assert world.twins.report("$edgeAgent", {"modules": {"probe": {"exitCode": 0}}}) == 2
    world.twins.upstream_desired("$edgeAgent", b'{"a": 1}')
    world.settle()
    world.advance(1)

    assert dict(world.twins.find("$edgeAgent").desired) == {}
    assert world.twins.find("$edgeAgent").connection_state == "Connected"
    assert world.published == [("$edgeAgent", {"modules": {"probe": {"exitCode": 0}}, "$version": 2})]
