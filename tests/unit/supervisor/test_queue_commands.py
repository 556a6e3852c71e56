"""The commands on the queue: what they answer, and what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from support.queue_rig import UPSTREAM, QueueRig, new_message

from microedge.errors import MicroedgeError
from microedge.supervisor.queue_commands import queue_commands

INPUT = "/modules/a/inputs/b"


class Console:
    """Asks the commands and waits for their answers, as the control socket does."""

    def __init__(self, rig: QueueRig) -> None:
        self.rig = rig
        self.commands = queue_commands(SimpleNamespace(queue=rig.queue))  # type: ignore[arg-type]
        self.answers: list[Any] = []

    def result(self, result: object) -> None:
        self.answers.append(result)

    def error(self, error: str, hint: str = "") -> None:
        self.answers.append(error)

    def ask(self, command: str, **request: object) -> Any:
        self.answers.clear()
        self.commands[command](request, self)  # type: ignore[arg-type]
        self.rig.pump()
        (answer,) = self.answers
        return answer

    def bodies(self, **request: object) -> list[object]:
        return [one.get("body") for one in self.ask("queue_peek", **request)["messages"]]


@pytest.fixture
def rig(tmp_path) -> Iterator[QueueRig]:
    rig = QueueRig(tmp_path)
    rig.open()
    yield rig
    rig.stop()


@pytest.fixture
def console(rig: QueueRig) -> Console:
    return Console(rig)


def put(rig: QueueRig, *bodies: bytes, endpoint: str = UPSTREAM) -> None:
    for sequence, body in enumerate(bodies, start=1):
        rig.queue.append(new_message(sequence, body=body), [(endpoint, 9, -1)])


def test_a_look_shows_the_next_messages_of_each_endpoint(rig, console):
    put(rig, b"1", b"2", b"3")
    put(rig, b"4", endpoint=INPUT)
    rig.advance(6)

    assert console.bodies(count=2) == ["1", "2", "4"]
    assert console.bodies(count=2, endpoint=INPUT) == ["4"]


def test_a_body_is_cut_unless_it_is_asked_for_in_full(rig, console):
    put(rig, "ä".encode() * 300, b"\xff" * 300)

    short = console.ask("queue_peek")["messages"]
    full = console.ask("queue_peek", full=True)["messages"]

    assert [len(one.get("body") or one["body_base64"]) for one in short] == [200, 64]
    assert [len(one.get("body") or one["body_base64"]) for one in full] == [300, 400]
    assert [one["is_cut"] for one in short + full] == [True, True, False, False]


def test_an_answer_has_room_for_so_many_bodies_and_counts_the_others(rig, console):
    put(rig, *[b"x" * 250_000] * 12)

    answer = console.ask("queue_peek", count=12, full=True)

    assert (len(answer["messages"]), answer["left_out"]) == (8, 4)


def test_a_dead_letter_is_shown_with_all_that_is_known(rig, console):
    put(rig, b'{"on": true}')
    rig.set_aside()

    (letter,) = console.ask("queue_peek", dead=True)["messages"]

    assert (letter["id"], letter["endpoint"], letter["reason"], letter["text"]) == (
        1,
        UPSTREAM,
        "poison",
        "ValueError: 1",
    )
    assert (letter["module"], letter["output"], letter["body"]) == ("probe", "readings", '{"on": true}')
    assert 0 <= letter["age_s"] < 60


def test_replay_and_purge_say_how_many(rig, console):
    put(rig, b"1", b"2", b"3", b"4")
    rig.set_aside(3)

    assert console.ask("queue_replay", ids=[2, 99]) == {"replayed": 1, "kept": 0}
    assert console.ask("queue_purge", dead=True, module="nobody") == {"purged": 0}
    assert console.ask("queue_purge", dead=True) == {"purged": 2}
    rig.lease(count=1)
    assert console.ask("queue_purge") == {"purged": 1, "in_flight": 1}


@pytest.mark.parametrize(
    ("command", "request_", "words"),
    [
        ("queue_peek", {"count": 1_001}, "expected 1 to 1000"),
        ("queue_peek", {"endpoint": "pump"}, "nothing was ever queued for pump; endpoints: none"),
        ("queue_replay", {}, "expected ids, an endpoint, or all"),
        ("queue_replay", {"ids": list(range(501))}, "at most 500"),
        ("queue_purge", {"endpoint": "pump"}, "nothing was ever queued for pump"),
    ],
)
def test_what_makes_no_sense_is_refused(console, command, request_, words):
    with pytest.raises(MicroedgeError, match=words):
        console.ask(command, **request_)
