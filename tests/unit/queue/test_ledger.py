from __future__ import annotations

from microedge.queue.ledger import Ledger


def test_an_age_across_boots_is_the_sum_of_the_uptimes():
    ledger = Ledger({1: ("a", 10_000), 2: ("b", 5_000)})

    appended_ms = ledger.saw(1, 8_000)
    boot = ledger.number_of("c")

    assert boot == 3
    assert ledger.base_ms(boot) + 1_000 - appended_ms == 2_000 + 5_000 + 1_000


def test_a_row_tells_of_uptime_that_was_not_noted():
    ledger = Ledger({1: ("a", 10_000)})
    ledger.saw(1, 60_000)

    assert ledger.base_ms(ledger.number_of("b")) == 60_000


def test_the_same_boot_goes_on():
    ledger = Ledger({1: ("a", 10_000)})

    assert ledger.number_of("a") == 1
    assert ledger.base_ms(1) == 0
