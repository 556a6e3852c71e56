"""Real cuts, where root may mount: ext4 is shut down under a running process."""

from __future__ import annotations

import pytest

from powercut.cuts import cut_for_real, why_not

pytestmark = pytest.mark.timeout(60)  # seconds, but on a busy board they add up


@pytest.fixture
def ext4() -> None:
    reason = why_not()
    if reason:
        pytest.skip(reason)


@pytest.mark.usefixtures("ext4")
def test_no_real_cut_loses_what_was_settled():
    figures = cut_for_real(3)

    assert figures["violations"] == []
    assert figures["settled_messages"] > 0


@pytest.mark.usefixtures("ext4")
def test_real_cuts_see_the_difference_that_fsync_makes():
    # A cut takes nothing when a checkpoint has just been there; on a busy machine that was so five times running.
    assert any(cut_for_real(5, seed, synchronous="NORMAL")["violations"] for seed in range(6))
