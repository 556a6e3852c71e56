"""A power cut during or after any write of a twin leaves the new document, or before its end the previous one."""

from __future__ import annotations

import pytest

from powercut.campaign import TWIN, cut_lives
from powercut.disk import MODELS


@pytest.mark.parametrize("seed", range(3))
def test_no_power_cut_leaves_anything_but_the_last_or_the_next_document(seed):
    report = cut_lives(TWIN, seed, dict.fromkeys(MODELS, 1.0))

    assert report.failures == []
    assert sum(report.states.values()) > 200
