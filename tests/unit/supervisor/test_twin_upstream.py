"""Documents from above that nobody in his right mind would send: they may be retained, and so come at every start."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from support.virtual_reactor import VirtualReactor

from microedge.supervisor.held_twin import HeldTwin
from microedge.supervisor.twin_upstream import TwinUpstream
from microedge.twin.saving import SaveTimer
from microedge.twin.twin import Effect, Twin


class World:
    def __init__(self) -> None:
        self.reactor = VirtualReactor()
        self.changes: list[Effect] = []
        self.published: list[Any] = []
        exchange: Any = SimpleNamespace(set_reported=lambda name, data: self.published.append(json.loads(data)))
        self.twins = TwinUpstream(self.reactor, exchange, lambda held, effect: self.changes.append(effect))
        self.held = HeldTwin(Twin("bench", "probe"), None, SaveTimer())

    def desire(self, *documents: bytes) -> None:
        for document in documents:
            self.twins.desired("probe", self.held, document)

    @property
    def refusals(self) -> list[dict[str, Any]]:
        return self.held.twin.history.refusals


@pytest.fixture
def world() -> World:
    return World()


def test_a_document_of_any_depth_is_refused_and_nothing_else_happens(world: World):
    # Where json gives up, and repr before it, depends on how deep their caller is.
    world.desire(*(b"[" * levels + b"]" * levels for levels in range(700, 1_000)))
    world.desire(*(b'{"a":' * levels + b"1" + b"}" * levels for levels in range(20, 1_000, 7)))
    assert all(refusal["standing"] for refusal in world.refusals)
    world.desire(b'{"unit": "K"}')

    assert world.changes[-1].notification == {"unit": "K", "$version": world.changes[-1].version}
    assert not any(refusal["standing"] for refusal in world.refusals)


@pytest.mark.parametrize("document", [b"{", b'{"a b": 1}', b'{"deep": {"er": {"x y": 1}}}', b"[1]"])
def test_a_refusal_is_on_record_once(world: World, document: bytes):
    world.desire(document)

    assert [(refusal["origin"], refusal["count"]) for refusal in world.refusals] == [("upstream", 1)]
