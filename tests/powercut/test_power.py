"""The harness proves its own power: with a precaution taken away from outside, it finds what that costs."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from powercut import weaker
from powercut.device import WORKLOADS, live, work
from powercut.disk import MODELS, Op
from powercut.lives import Life, Trial, cut_at
from powercut.twin import live_twin

pytestmark = pytest.mark.timeout(60)  # seconds, but on a busy board they add up


def found(lives: Iterable[Life], **shares: float) -> str:
    """Return what cuts of these lives find."""
    return "\n".join(failure.text for life in lives for failure in Trial(life).run(shares).failures)


def test_synchronous_normal_loses_what_was_settled():
    with weaker.synchronous("NORMAL"):
        lives = list(live("immediate", 0, 1))

    assert "settled messages are missing" in found(lives, drop=0.2)


def test_without_any_sync_the_database_is_destroyed():
    with weaker.synchronous("OFF"):
        lives = list(live("restarting", 0, 1))

    text = found(lives, blocks=0.2, torn=0.2)
    assert "settled messages are missing" in text
    assert "database was damaged" in text


def test_with_psow_a_torn_block_takes_along_what_was_settled():
    with weaker.psow_on():
        lives = [life for seed in range(3) for life in live("immediate", seed, 1)]

    assert "settled messages are missing" in found(lives, torn=0.5)
    assert found(lives[:1], drop=0.1, keep=0.1, blocks=0.1) == ""  # only the torn model sees it


def test_a_wal_that_is_gone_on_with_after_a_cut_takes_along_what_was_settled():
    """The padding of a commit is not synced: two cuts are needed to see that it matters."""
    assert "settled messages are missing" in found(second_lives(weaker.old_wal_kept), torn=1.0)
    assert found(second_lives(weaker.synchronous, "FULL"), torn=1.0) == ""


def second_lives(weaken, *arguments: str) -> list[Life]:
    """Return short lives that begin with what a cut has left, just after a commit and before the next one."""
    plan = WORKLOADS["immediate"]
    first = next(live("immediate", 0, 1))
    commits = [at for at, event in enumerate(first.events, 1) if event == Op("sync", "queue.db-wal")][-8:]
    lives = []
    for at in commits:
        image, promises = cut_at(first, "drop", at + 1)  # the rest of the padding was written, and is lost
        promises.lose_power()
        with weaken(*arguments):
            events, _ = work(plan._replace(steps=3), image, random.Random(at), boot_id="boot-1", sequence=1000)
        lives.append(Life(f"second/{at}/0", image, promises, events, first.find))
    return lives


def test_a_state_that_was_found_wrong_is_found_wrong_again_by_itself():
    with weaker.synchronous("NORMAL"):
        life = next(live("draining", 0, 1))
    failures = [Trial(life).run({model: 0.3}).failures[-1] for model in MODELS if model != "keep"]

    again = [Trial(life).run({each.model: 1.0}, each.at).failures[0] for each in failures]

    assert again == failures
    assert f"--only {life.name}/torn/{failures[-1].at}" in str(failures[-1])


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_a_twin_without_one_of_its_fsyncs_is_lost(kind):
    lives = live_twin(0, 1, lambda: weaker.no_fsync_of(kind))

    assert "expected one of" in found(lives, **dict.fromkeys(MODELS, 1.0))
