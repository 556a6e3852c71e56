"""Twins at both ends of a bad line: whatever is lost, repeated, late or killed, at rest both sides are equal.

Real are the twins with their files, the publisher of reported documents, and the SDK's side of a twin. Played are the
broker, the line to it, the clock, and the processes.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from dataclasses import replace
from types import SimpleNamespace
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.fake_processes import plan
from support.twin_sync import MODULES, Json, Line, Model, Process, legal, same_layers, without_ours
from support.virtual_reactor import VirtualReactor

from microedge import wire
from microedge.config.model import InstanceConfig
from microedge.config.plan import InstancePlan
from microedge.errors import TwinError
from microedge.message import Message
from microedge.patch import diff, merge_patch, same
from microedge.supervisor.held_twin import EDIT
from microedge.supervisor.twins import Twins
from microedge.twin.layers import CONFIGURATION, DEFAULT, LOCAL, UPSTREAM
from microedge.upstream import publisher
from microedge.upstream.reported import Pace

DEFAULTS = {"a": 0, "n": {"x": 0}}
QUIET_S = 60.0  # longer than anything waits: reports on their way to the card (30 s), documents on theirs (5 s)

KEYS = st.sampled_from("abc")  # few, so that changes meet
VALUES = st.integers(1, 4) | st.fixed_dictionaries({}, optional={"x": st.integers(1, 4), "y": st.integers(1, 4)})
DOCUMENTS = st.dictionaries(KEYS | st.just("n"), VALUES, max_size=3)
PATCHES = st.dictionaries(KEYS | st.just("n"), VALUES | st.none(), min_size=1, max_size=2)
NONSENSE = st.sampled_from([b"{", b"[1]", b'{"a.b": 1}', b'{"a": "' + b"x" * 5_000 + b'"}', b'{"a": [null]}'])
WHO = st.sampled_from(MODULES)


class Site(RuleBasedStateMachine):
    """One device with two modules, its broker, an operator above and a person beside it."""

    def __init__(self) -> None:
        super().__init__()
        fast = "/dev/shm" if os.path.isdir("/dev/shm") else None
        self.directory = tempfile.mkdtemp(dir=fast)
        self.line = Line()
        self.wall_s = 1_000.0
        self.model = {name: Model() for name in MODULES}
        self.configured: dict[str, Json] = {name: {} for name in MODULES}
        self.refused_above: dict[str, bool] = dict.fromkeys(MODULES, False)
        self.edits: dict[str, Json] = {}  # of files, while the device was off: patches
        self.seen: dict[tuple[str, str, int], Json] = {}  # content of each version that anybody has seen
        self.twins: Twins | None = None
        self.reactor = VirtualReactor()
        self.clock = mock.patch.object(publisher, "time", SimpleNamespace(monotonic=lambda: self.reactor.time_s))
        self.clock.start()

    def teardown(self) -> None:
        try:
            self.everything_comes_to_rest()
            self._stop()
        finally:
            self.clock.stop()
            shutil.rmtree(self.directory)

    # --- What the twins see of the device ---

    def route_twin_change(self, message: Message) -> bool:
        return True

    def drop_twin_change(self, module: str) -> None:
        """Nobody routes these here."""

    def set_reported(self, module: str, document: bytes) -> None:
        self.publisher.put(module, document)

    # --- The device ---

    @property
    def is_on(self) -> bool:
        return self.twins is not None

    @initialize()
    def the_device_starts_for_the_first_time(self) -> None:
        self.the_device_starts()

    @precondition(lambda self: not self.is_on)
    @rule()
    def the_device_starts(self) -> None:
        self.reactor = VirtualReactor(self.reactor.time_s)
        self.publisher = publisher.ReportedPublisher("bench", self.reactor, Pace(), self._pump)
        self.twins = Twins(self.directory, "bench", self.reactor, self, clock=self.reactor.now_s)
        self.twins.open([])
        self.twins.follow([self._plan(name) for name in MODULES])
        for name in MODULES:
            self._recovers(name)
        self._settle()
        self.processes = {name: self._process(name) for name in MODULES}

    def _plan(self, name: str) -> InstancePlan:
        one = plan(name)
        desired = self.configured[name]
        return replace(
            one, image=replace(one.image, desired=DEFAULTS), config=InstanceConfig(name, name, desired=desired)
        )

    def _recovers(self, name: str) -> None:
        """What holds after a start is what held at some moment since the last that was safe."""
        assert self.twins is not None
        model, held = self.model[name], self.twins.held(name)
        found = held.twin.state.layers
        edit = self.edits.pop(name, None)
        possible = model.past[model.safe :]
        if edit is not None and "refused" not in held.problem:
            possible = [layers.amended(LOCAL, edit) for layers in possible]  # it was made before the configuration
        base = {DEFAULT: DEFAULTS, CONFIGURATION: self.configured[name]}
        possible = [layers.replaced(base) for layers in possible]
        assert any(same_layers(found, layers) for layers in possible), f"{name}: {found}, none of {possible}"
        model.past, model.safe = [found], 0

    def _process(self, name: str) -> Process:
        assert self.twins is not None
        process = Process(name, self.twins)
        self._sees(name, "desired", process.port.version, process.port.desired)
        self._sees(name, "reported", process.reported_version, process.port.reported)
        return process

    @precondition(lambda self: self.is_on)
    @rule()
    def the_device_stops(self) -> None:
        self._stop()

    def _stop(self) -> None:
        if self.twins is None:
            return
        if self.line.is_up:
            self.the_line_breaks(0)
        for process in self.processes.values():
            process.is_leaving = True
            self.twins.closed(process)  # type: ignore[arg-type]
        self.twins.flush()
        self.twins.close(10)
        self.twins = None
        for model in self.model.values():
            model.safe = len(model.past) - 1

    @precondition(lambda self: self.is_on)
    @rule(arriving=st.integers(0, 2))
    def the_device_is_killed(self, arriving: int) -> None:
        """What is not on the card is gone."""
        if self.line.is_up:
            self.the_line_breaks(arriving)
        self.twins = None

    @precondition(lambda self: self.is_on)
    @rule()
    def the_loop_turns_once(self) -> None:
        self._turn()

    @precondition(lambda self: self.is_on)
    @rule(seconds=st.sampled_from([0.1, 1.0, 6.0, 31.0]))
    def time_passes(self, seconds: float) -> None:
        end_s = self.reactor.time_s + seconds
        self._settle()
        while self.reactor._timers and self.reactor._timers[0].at_s <= end_s:
            self.reactor.time_s = max(self.reactor.time_s, self.reactor._timers[0].at_s)
            self._settle()
        self.reactor.time_s = end_s

    def _turn(self) -> bool:
        """One turn of the loop, and the card does what it was asked; the loop hears of it in the next turn."""
        assert self.twins is not None
        is_moving = self.reactor._run_one_round()
        thread = self.twins._saver._thread
        if thread is not None:
            thread.join()
        return is_moving

    def _settle(self) -> None:
        while self._turn():
            pass
        assert self.twins is not None
        for name in MODULES:
            if not self.twins.held(name).is_at_risk:
                self.model[name].safe = len(self.model[name].past) - 1

    # --- The line and the operator above ---

    @rule(name=WHO, document=PATCHES | st.just({}), has_version=st.booleans())
    def the_operator_publishes(self, name: str, document: Json, has_version: bool) -> None:
        self.line.publish(name, json.dumps({**document, "$version": 7} if has_version else document).encode())

    @rule(name=WHO, document=NONSENSE)
    def the_operator_publishes_nonsense(self, name: str, document: bytes) -> None:
        self.line.publish(name, document)

    @precondition(lambda self: self.is_on and not self.line.is_up)
    @rule()
    def the_line_comes_up(self) -> None:
        assert self.twins is not None
        self.line.connect()
        self.twins.upstream_connected()
        self.publisher.opened(self.line, 1_000_000)  # type: ignore[arg-type]

    @precondition(lambda self: self.line.is_up)
    @rule(arriving=st.integers(0, 2))
    def the_line_breaks(self, arriving: int) -> None:
        self.line.break_(arriving)
        self.publisher.over(is_blamed=False)

    @precondition(lambda self: self.line.is_up)
    @rule(name=WHO)
    def a_document_comes_down(self, name: str) -> None:
        if self.line.down[name]:
            document = self.line.down[name].popleft()
            self.line.delivered[name].append(document)
            self._takes_from_above(name, document)

    @precondition(lambda self: self.line.is_up)
    @rule(name=WHO, count=st.integers(1, 3))
    def documents_come_again(self, name: str, count: int) -> None:
        """QoS 1: a sender that sends again begins with the oldest that was not acknowledged."""
        self.line.down[name].extendleft(reversed(self.line.delivered[name][-count:]))

    def _takes_from_above(self, name: str, document: bytes) -> None:
        assert self.twins is not None
        model = self.model[name]
        wanted = legal(document)
        if wanted is not None:
            model.take(model.layers.replaced({UPSTREAM: wanted}))
        self.refused_above[name] = wanted is None
        self.twins.upstream_desired(name, document)

    @precondition(lambda self: bool(self.line.up))
    @rule(is_twice=st.booleans())
    def a_report_arrives_above(self, is_twice: bool) -> None:
        if is_twice:
            self.line.up.appendleft(self.line.up[0])
            self.line.arrive()
        self.line.arrive()

    @precondition(lambda self: bool(self.line.acks))
    @rule()
    def an_acknowledgement_comes(self) -> None:
        self.publisher.acked(self.line.acks.popleft(), 0)

    def _pump(self) -> None:
        self.publisher.pump(10, is_alone=True, is_careful=False)

    # --- The modules ---

    @precondition(lambda self: self.is_on)
    @rule(name=WHO)
    def the_module_reads(self, name: str) -> None:
        process = self.processes[name]
        sent, process.sent = process.sent, []
        process.process.unsent_bytes = 0
        for kind, number, _, head, body in wire.Decoder(wire.FROM_HUB).feed(b"".join(sent)):
            if kind == wire.DESIRED:
                process.port.take_desired(number, head, body)
                self._obey(process)
            else:
                assert kind == wire.REPORTED
                process.port.take_answer(number, head, body)
                process.reported_version = json.loads(body)["version"]
                self._sees(name, "reported", process.reported_version, process.port.reported)

    def _obey(self, process: Process) -> None:
        patch = process.port.next_change()
        if patch is None:
            return
        told = {key: value for key, value in patch.items() if key != "$version"}
        process.believes = told if patch.is_whole else merge_patch(process.believes, told)
        assert same(process.believes, process.port.desired)
        self._sees(process.name, "desired", process.port.version, process.port.desired)
        assert process.port.version > process.told
        process.told = process.port.version
        self.the_module_reports(process.name, {"obeys": process.port.version})

    @precondition(lambda self: self.is_on)
    @rule(name=WHO)
    def the_module_stops_reading(self, name: str) -> None:
        self.processes[name].process.unsent_bytes = 100_000

    @precondition(lambda self: self.is_on)
    @rule(name=WHO, patch=PATCHES)
    def the_module_reports(self, name: str, patch: Json) -> None:
        assert self.twins is not None
        process = self.processes[name]
        request, _ = process.port.ask(patch)
        self.twins.received(process, [(request, patch)])  # type: ignore[arg-type]

    @precondition(lambda self: self.is_on)
    @rule(name=WHO, is_asked=st.booleans())
    def the_module_restarts(self, name: str, is_asked: bool) -> None:
        assert self.twins is not None
        old = self.processes[name]
        old.is_leaving = is_asked
        self.twins.closed(old)  # type: ignore[arg-type]
        old.session, old.process = None, None  # type: ignore[assignment]
        self._settle()
        self.processes[name] = self._process(name)

    # --- The person beside it ---

    @precondition(lambda self: self.is_on)
    @rule(name=WHO, patch=PATCHES)
    def a_person_sets(self, name: str, patch: Json) -> None:
        assert self.twins is not None
        model = self.model[name]
        before, place = self.twins.find(name).state, len(model.past)
        try:
            effect = self.twins.patch_desired(name, patch, lambda effect, is_told: model.is_safe(place))
        except TwinError:
            assert self.twins.find(name).state is before
            assert model.layers.holder(LOCAL, patch) is not None
            return
        model.take(model.layers.amended(LOCAL, patch))
        assert effect.version == before.desired.version + 1

    @rule(name=WHO, patch=PATCHES)
    def a_person_edits_the_file(self, name: str, patch: Json) -> None:
        path = os.path.join(self.directory, "twins", f"{name}.json")
        if self.is_on:
            self._settle()
        if name in self.edits or not os.path.exists(path):
            return
        with open(path) as file:
            document = json.load(file)
        before = {key: value for key, value in document["properties"]["desired"].items() if key[0] != "$"}
        after = merge_patch(before, patch)
        document["properties"]["desired"].update(after)
        for key in before.keys() - after.keys():
            del document["properties"]["desired"][key]
        with open(path, "w") as file:
            json.dump(document, file)
        earlier = time.time_ns() - 10**9
        os.utime(path, ns=(earlier, earlier))
        if self.is_on:
            self._takes_edit(name, diff(before, after))
        else:
            self.edits[name] = diff(before, after)

    def _takes_edit(self, name: str, patch: Json) -> None:
        assert self.twins is not None
        self.twins.look()
        self._settle()
        model = self.model[name]
        if EDIT in self.twins.held(name).problems:
            assert model.layers.holder(LOCAL, patch) is not None
        elif patch:
            model.take(model.layers.amended(LOCAL, patch))
        self._settle()

    @rule(name=WHO, document=DOCUMENTS)
    def the_configuration_changes(self, name: str, document: Json) -> None:
        self.configured[name] = document
        if self.twins is not None:
            model = self.model[name]
            model.take(model.layers.replaced({CONFIGURATION: document}))
            self.twins.follow([self._plan(name) for name in MODULES])

    # --- What must hold ---

    def _sees(self, name: str, part: str, version: int, content: Json) -> None:
        """Somebody sees a version: whoever saw it before saw the same."""
        known = self.seen.setdefault((name, part, version), json.loads(json.dumps(content)))
        assert same(known, content), f"{name}: version {version} of {part} was {known} and is {content} now"

    @invariant()
    def the_layers_say_what_was_accepted(self) -> None:
        for name in MODULES if self.twins is not None else ():
            twin = self.twins.find(name)
            assert same_layers(twin.state.layers, self.model[name].layers)
            assert same(dict(twin.desired), self.model[name].layers.merged())

    @invariant()
    def what_stands_above_is_what_the_device_said(self) -> None:
        for name, document in self.line.reported.items():
            self._sees(name, "reported", document["$version"], without_ours(document))

    @rule()
    def everything_comes_to_rest(self) -> None:
        if not self.is_on:
            self.the_device_starts()
        if not self.line.is_up:
            self.the_line_comes_up()
        for name in MODULES:
            self.the_module_reads(name)
        for _ in range(20):  # what a module obeys it reports, and that has a way to go
            if not self._everything_moves():
                break
        for name in MODULES:
            self._is_equal_at_both_ends(name)

    def _everything_moves(self) -> bool:
        """Carry what is on its way, and return whether there was anything."""
        for name in MODULES:
            while self.line.down[name]:
                self.a_document_comes_down(name)
        self.time_passes(QUIET_S)
        is_moving = bool(self.line.up or self.line.acks or any(one.sent for one in self.processes.values()))
        for name in MODULES:
            self.the_module_reads(name)
        while self.line.up or self.line.acks:
            if self.line.up:
                self.line.arrive()
            if self.line.acks:
                self.an_acknowledgement_comes()
        return is_moving

    def _is_equal_at_both_ends(self, name: str) -> None:
        assert self.twins is not None
        held, process = self.twins.held(name), self.processes[name]
        state, above = held.twin.state, self.line.reported[name]
        wanted = legal(self.line.desired.get(name, b"{}"))
        if wanted is not None:
            assert same(dict(state.layers[UPSTREAM]), wanted)
            assert same(merge_patch(dict(state.desired.properties), wanted), dict(state.desired.properties))
        assert (process.believes, process.port.version) == (
            dict(state.desired.properties),
            state.desired.version,
        )
        assert same(process.port.reported, dict(state.reported.properties))
        assert same(without_ours(above), dict(state.reported.properties))
        # A report of what is reported already is a version of its own, and nothing to tell the upstream.
        assert above["$version"] <= state.reported.version == process.reported_version
        if name in self.line.desired:
            assert above["$metadata"]["lastDesiredStatus"]["code"] == (400 if self.refused_above[name] else 200)
        with open(os.path.join(self.directory, "twins", f"{name}.json")) as file:
            properties = json.load(file)["properties"]
        assert same(without_ours(properties["desired"]), dict(state.desired.properties))
        assert properties["desired"]["$version"] == state.desired.version
        assert same(without_ours(properties["reported"]), dict(state.reported.properties))


Site.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
test_both_ends_of_a_bad_line_end_equal = Site.TestCase
