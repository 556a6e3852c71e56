from __future__ import annotations

import pytest

from microedge.cli.checks.disk import judge
from microedge.cli.checks.outcome import FAILED, OK, WARNING

MIB = 1 << 20


@pytest.mark.parametrize(
    ("free", "taken", "outcome", "cure"),
    [
        (1000, 0, OK, ""),
        (384, 0, OK, ""),
        (300, 0, WARNING, "[store] max_mib = 172"),
        (300, 84, OK, ""),  # what the queue has already taken is not needed again
        (300, 50, WARNING, "[store] max_mib = 222"),
        (128, 0, FAILED, "free some space, or lower [store] keep_free_mib"),
        (10, 0, FAILED, "free some space, or lower [store] keep_free_mib"),
    ],
)
def test_the_queue_must_fit_beside_what_stays_free(free, taken, outcome, cure):
    found = judge(free * MIB, taken * MIB, 256 * MIB, 128 * MIB)

    assert (found.outcome, found.cure) == (outcome, cure)
