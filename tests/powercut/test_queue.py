"""The short form: the power is cut some hundred times under a working queue; `make powercut` does it 100,000 times."""

from __future__ import annotations

from collections import Counter

import pytest

from powercut.campaign import cut_lives
from powercut.device import WORKLOADS
from powercut.disk import MODELS

SHARES = {"drop": 0.3, "keep": 0.02, "blocks": 0.03, "sectors": 0.03, "torn": 0.06}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("workload", WORKLOADS)
def test_no_power_cut_loses_repeats_or_garbles_what_the_queue_has_promised(workload):
    report = cut_lives(workload, 0, SHARES, lives=2)

    assert report.failures == []
    assert Counter(report.states).keys() == MODELS.keys()
    assert sum(report.states.values()) > 40
