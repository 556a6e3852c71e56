"""One instance between the life-cycle table and its process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.fake_processes import World, plan

from microedge import wire
from microedge.message import Envelope
from microedge.supervisor import processes
from microedge.supervisor.instance import Instance
from microedge.supervisor.lifecycle import Exit, State

HEAD = Envelope("readings").raw


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    one = World(tmp_path)

    def kill(pid: int, signum: int) -> None:
        next(process for process in one.processes if process.pid == pid).signals.append(signum)

    monkeypatch.setattr(processes, "kill", kill)
    yield one
    one.close()


def instance(world: World, **supervision: object) -> Instance:
    return Instance(plan(**supervision), world.services)


def test_a_start_asks_for_a_process_and_ready_makes_it_run(world: World):
    one = instance(world)
    one.start()
    (process,) = world.processes
    assert one.state is State.STARTING
    process.appear()
    assert process.frames() == [wire.START]
    process.ready()

    assert (one.state, one.reason) == (State.RUNNING, "")
    assert world.sessions == ["opened probe"]


def test_messages_before_ready_are_taken_and_ready_opens_the_inputs_once(world: World):
    one = instance(world)
    one.start()
    process = world.processes[0].appear()
    process.send(wire.encode(wire.SEND, 1, head=HEAD) + wire.encode(wire.READY))
    process.ready()

    assert world.sessions == ["opened probe", "message 1 of probe"]


def test_what_it_sent_before_it_ended_is_taken(world: World):
    one = instance(world)
    one.start()
    process = world.processes[0].appear().ready()
    process.socket.sendall(wire.encode(wire.SEND, 1, head=HEAD))
    process.end()

    assert world.sessions == ["opened probe", "message 1 of probe", "closed probe"]


def test_a_process_that_cannot_be_made_is_tried_again_with_pauses(world: World):
    one = instance(world)
    one.start()
    world.processes[0].fail("fork: Resource temporarily unavailable")
    world.processes[1].fail("fork: Resource temporarily unavailable")  # the first retry came at once
    assert (one.state, one.reason) == (State.BACKOFF, "cannot be started: fork: Resource temporarily unavailable")
    world.reactor.pass_time(9)
    assert len(world.processes) == 2
    world.reactor.pass_time(2)

    assert len(world.processes) == 3


def test_a_data_directory_that_cannot_be_made_is_a_reason_not_a_crash(world: World, tmp_path: Path):
    (tmp_path / "probe").write_text("in the way")
    one = instance(world)
    one.start()

    assert one.state is State.BACKOFF
    assert one.reason.startswith("cannot be started: File exists")


def test_a_stop_before_the_process_is_there_still_reaches_it(world: World):
    one = instance(world, stop_timeout_s=5)
    one.start()
    one.stop()
    process = world.processes[0].appear()

    assert process.signals == [signal.SIGTERM]
    assert process.frames()[:2] == [wire.START, wire.STOP]
    process.end(signum=signal.SIGTERM)
    assert one.state is State.STOPPED


def test_a_process_that_appears_after_its_stop_was_due_is_still_killed_when_it_ignores_the_stop(world: World):
    """A fork server that hangs for a while answers late."""
    one = instance(world, stop_timeout_s=5)
    one.start()
    one.stop()
    world.reactor.pass_time(60)
    process = world.processes[0].appear()
    world.reactor.pass_time(6)

    assert process.signals == [signal.SIGTERM, signal.SIGKILL]


def test_a_process_that_appears_after_it_was_given_up_is_killed(world: World):
    one = instance(world, ready_timeout_s=5)
    one.start()
    world.reactor.pass_time(60)
    assert one.state is State.UNHEALTHY
    process = world.processes[0].appear()
    assert process.signals == [signal.SIGKILL]
    process.end(signum=signal.SIGKILL)

    assert one.reason == "not ready within ready_timeout_s=5; restarted at once"
    assert len(world.processes) == 2


def test_a_module_that_ignores_the_stop_is_killed_and_the_reason_says_so(world: World):
    one = instance(world, stop_timeout_s=5)
    one.start()
    process = world.processes[0].appear().ready()
    one.is_stopped_by_hand = True
    one.stop()
    world.reactor.pass_time(6)
    assert process.signals == [signal.SIGTERM, signal.SIGKILL]
    process.end(signum=signal.SIGKILL)

    assert one.reason == "stopped by hand; killed, because it did not stop within stop_timeout_s=5"


def test_a_restart_starts_anew_when_the_old_process_has_ended_and_counts_no_failure(world: World):
    one = instance(world)
    one.start()
    process = world.processes[0].appear().ready()
    one.restart()
    assert len(world.processes) == 1
    process.end(code=1)
    world.processes[1].appear().ready()

    assert (one.state, one.restarts) == (State.RUNNING, 0)


def test_how_and_when_its_processes_began_and_ended_is_known_for_the_next_one_too(world: World):
    one = instance(world)
    assert (one.last_exit, one.began_ms, one.ended_ms, one.restarted_ms) == (None, 0, 0, 0)
    one.start()
    first_ms = one.began_ms
    world.processes[0].appear().ready().end(signum=signal.SIGKILL)
    world.processes[1].appear().ready()

    assert one.last_exit == Exit(None, signal.SIGKILL)
    assert 0 < first_ms <= one.ended_ms <= one.restarted_ms <= one.began_ms


def test_garbage_from_a_process_kills_it_once_and_is_the_reason(world: World):
    one = instance(world)
    one.start()
    process = world.processes[0].appear().ready()
    process.send(b"GET / HTTP/1.1\r\nHost: somewhere\r\n")
    assert process.signals == [signal.SIGKILL]
    process.end(signum=signal.SIGKILL)

    assert one.reason.startswith("broke the protocol: frame header")


def test_garbage_that_is_read_after_the_exit_signals_nobody(world: World):
    one = instance(world)
    one.start()
    process = world.processes[0].appear().ready()
    process.socket.sendall(b"x" * 4_000)
    process.end(code=0)

    assert process.signals == []
    assert one.reason.startswith("broke the protocol")


def test_an_exit_names_the_error_of_this_run_and_not_of_an_earlier_one(world: World):
    one = instance(world)
    one.start()
    process = world.processes[0].appear()
    os.write(process.log_fd, b"<3>OSError: no probe\n")
    process.end(code=1)
    assert one.reason == "exited with code 1; OSError: no probe; restarted at once"
    world.processes[1].appear().end(code=1)

    assert one.reason == "exited with code 1; restart in 10 s"


@pytest.mark.parametrize(
    ("policy", "code", "state", "reason"),
    [
        ("never", 0, State.STOPPED, "exited with code 0; not restarted: its policy is never"),
        ("on-failure", 0, State.STOPPED, "exited with code 0; not restarted: its policy is on-failure"),
        ("never", 3, State.FAILED, "exited with code 3; not restarted: its policy is never"),
        (
            "always",
            78,
            State.FAILED,
            "exited with code 78; not restarted until its files or its settings change, or: microedge restart probe",
        ),
    ],
)
def test_a_module_that_stays_down_says_why(world: World, policy: str, code: int, state: State, reason: str):
    one = instance(world, restart=policy)
    one.start()
    world.processes[0].appear().ready().end(code=code)

    assert (one.state, one.reason) == (state, reason)
    world.reactor.pass_time(1_000)
    assert len(world.processes) == 1


def test_a_late_timer_of_a_state_that_is_over_does_nothing(world: World):
    one = instance(world, ready_timeout_s=5, stop_timeout_s=5, hang_timeout_s=0)
    one.start()
    world.processes[0].appear().ready()
    world.reactor.pass_time(1_000)
    one.stop()
    world.processes[0].end()
    world.reactor.pass_time(1_000)

    assert one.state is State.STOPPED
    assert world.processes[0].signals == [signal.SIGTERM]


def test_nothing_of_a_process_is_left_open_when_it_has_ended(world: World):
    one = instance(world)
    one.start()
    world.processes[0].appear().ready()
    assert len(world.reactor.readers) == 2
    one.stop()
    world.processes[0].end()

    assert world.reactor.readers == {}
    assert world.reactor.writers == {}


def test_what_is_too_much_for_a_start_is_said_and_tried_again_later(world: World):
    def too_much(_one: Instance) -> dict[str, object]:
        return {"desired": {"text": "x" * 400_000}}

    one = Instance(plan(), replace(world.services, start_twin=too_much))
    one.start()

    assert one.state is State.BACKOFF
    assert "frame of head_bytes=0" in one.reason


def test_a_module_that_is_paused_is_not_read_and_not_taken_for_hung(world: World):
    one = instance(world, hang_timeout_s=5)
    one.start()
    process = world.processes[0].appear().ready()
    assert one.process is not None
    one.process.pause()
    process.send(wire.encode(wire.SEND, 1, time_ms=1, head=HEAD, body=b"{}"))
    world.reactor.pass_time(20)
    assert (one.state, world.sessions) == (State.RUNNING, ["opened probe"])
    one.process.resume()
    world.reactor.settle()

    assert world.sessions == ["opened probe", "message 1 of probe"]


def test_a_directory_whose_name_is_no_text_is_no_obstacle(tmp_path: Path):
    world = World(tmp_path / os.fsdecode(b"caf\xe9"))
    instance(world).start()
    process = world.processes[0].appear()

    assert process.frames() == [wire.START]
    world.close()
