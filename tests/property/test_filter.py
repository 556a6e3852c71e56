"""The filter's rules against naive models, for all values and times."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support.serial_line import load_package

load_package("modules", "filter")
from filter.facts import Facts  # noqa: E402 (the package is where no import finds it)
from filter.judge import Judge  # noqa: E402
from filter.settings import Settings  # noqa: E402

NUMBERS = st.lists(st.one_of(st.integers(-60, 60).map(lambda tenths: tenths / 10), st.floats(-1e6, 1e6)), max_size=60)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["t", "u", "$x"]), inner, max_size=3),
    max_leaves=8,
)
BODIES = st.one_of(JSON.map(lambda value: json.dumps(value).encode()), st.binary(max_size=20))
SOURCES = st.sampled_from([(module, output) for module in "abc" for output in ("x", "y")])
RULES = st.sampled_from(
    [
        {"kind": "threshold", "field": "t", "above": 1, "hysteresis": 0.5},
        {"kind": "threshold", "field": "t", "above": 2, "below": -2, "crossings_only": True},
        {"kind": "deadband", "field": "t", "absolute": 1},
        {"kind": "deadband", "field": "u", "percent": 10, "match": {"module": "a"}},
        {"kind": "rate", "interval_s": 5},
        {"kind": "change", "field": "t.0"},
        {"kind": "change"},
    ]
)
OPTIONS = st.fixed_dictionaries(
    {"mode": st.sampled_from(["all", "any"]), "missing": st.sampled_from(["pass", "drop"]), "pass_first": st.booleans()}
)


def passed(rule: dict[str, Any], numbers: list[float], **settings: Any) -> list[float]:
    judge = Judge(Settings({"rules": [{"field": "t", **rule}], **settings}))
    return [number for number in numbers if judge.decide(reading(number), 0.0).passes]


def reading(number: float) -> Facts:
    return Facts(("north", "readings"), {}, json.dumps({"t": number}).encode())


@given(NUMBERS, st.sampled_from([0, 0.1, 1, 25]), st.sampled_from([0, 1, 50]), st.booleans())
def test_a_dead_band_never_passes_two_consecutive_values_closer_than_the_band(numbers, absolute, percent, pass_first):
    rule = {"kind": "deadband", "absolute": absolute, "percent": percent or (0 if absolute else 5)}

    found = passed(rule, numbers, pass_first=pass_first)

    for last, value in zip(found, found[1:]):
        band = max(absolute, rule["percent"] * abs(last) / 100)
        assert abs(value - last) > 0
        assert abs(value - last) >= band - 1e-15 * max(abs(value), abs(last))


@given(NUMBERS, st.sampled_from([0.1, 1, 25]))
def test_a_dead_band_holds_nothing_back_that_is_further_away_than_the_band(numbers, absolute):
    judge = Judge(Settings({"rules": [{"kind": "deadband", "field": "t", "absolute": absolute}]}))
    last = None
    for number in numbers:
        if judge.decide(reading(number), 0.0).passes:
            last = number
        assert abs(number - last) < absolute


@given(NUMBERS, st.floats(-3, 3), st.sampled_from([0, 0.1, 1]), st.booleans())
def test_a_threshold_toggles_as_a_naive_model_does(numbers, limit, hysteresis, is_above):
    rule = {"kind": "threshold", "above" if is_above else "below": limit, "hysteresis": hysteresis}
    sign = 1 if is_above else -1
    expected, is_beyond = [], False
    for number in numbers:
        beyond_limit = sign * (number - limit) > 0
        beyond_release = sign * number > sign * limit - hysteresis
        is_beyond = beyond_limit or (is_beyond and beyond_release)
        expected += [number] * is_beyond

    assert passed(rule, numbers) == expected


@given(NUMBERS, st.booleans())
def test_crossings_only_passes_the_first_of_each_run(numbers, pass_first):
    rule = {"kind": "threshold", "above": 2, "below": -2, "hysteresis": 1}
    sides, side = [], 0
    for number in numbers:
        if number > 2 or (side > 0 and number > 1):
            side = 1
        elif number < -2 or (side < 0 and number < -1):
            side = -1
        else:
            side = 0
        sides.append(side)
    before = [None if pass_first else 0, *sides]

    expected = [number for number, last, side in zip(numbers, before, sides) if side != last]
    assert passed({**rule, "crossings_only": True}, numbers, pass_first=pass_first) == expected


@given(st.lists(st.tuples(st.floats(0, 30), SOURCES), max_size=60), st.sampled_from([0.001, 1, 10]))
def test_a_rate_is_never_exceeded_and_never_undercut(steps, interval_s):
    judge = Judge(Settings({"rules": [{"kind": "rate", "interval_s": interval_s}]}))
    now_s, last_s = 0.0, {}
    for step_s, source in steps:
        now_s += step_s
        is_due = source not in last_s or now_s - last_s[source] >= interval_s

        assert judge.decide(Facts(source, {}, b""), now_s).passes is is_due
        if is_due:
            last_s[source] = now_s


@given(st.lists(RULES, min_size=1, max_size=4), OPTIONS, st.lists(st.tuples(st.floats(0, 9), SOURCES, BODIES)))
def test_whatever_comes_is_decided_and_counted_once(rules, options, messages):
    judge = Judge(Settings({"rules": rules, **options}), max_sources=2)
    now_s, count = 0.0, 0
    for step_s, source, body in messages:
        now_s += step_s
        count += judge.decide(Facts(source, {}, body), now_s).passes

    status = judge.status()
    assert status["received"] == len(messages)
    assert status["passed"] == count
    assert count + sum(status["dropped"].values()) + status["dropped_missing"] == len(messages)
    assert status["sources"] <= 2


@given(st.lists(RULES, min_size=1, max_size=4), OPTIONS, st.lists(st.tuples(SOURCES, BODIES)))
def test_a_source_is_judged_as_if_it_were_alone(rules, options, messages):
    together = Judge(Settings({"rules": rules, **options}))
    alone: dict[tuple[str, str], Judge] = {}
    for now_s, (source, body) in enumerate(messages):
        judge = alone.setdefault(source, Judge(Settings({"rules": rules, **options})))
        expected = judge.decide(Facts(source, {}, body), float(now_s)).passes

        assert together.decide(Facts(source, {}, body), float(now_s)).passes is expected


@given(st.lists(st.floats(0, 20), max_size=60), st.sampled_from([1, 10]))
def test_a_source_that_goes_on_sending_is_never_silent_for_longer_than_the_heartbeat_and_one_message(
    steps, heartbeat_s
):
    rule = {"kind": "threshold", "field": "t", "above": 1}
    judge = Judge(Settings({"rules": [rule], "heartbeat_s": heartbeat_s}))
    judge.decide(reading(0), 0.0)
    now_s = last_s = 0.0
    for step_s in steps:
        now_s += step_s
        if judge.decide(reading(0), now_s).passes:
            assert now_s - last_s >= heartbeat_s
            last_s = now_s
        assert now_s - last_s < heartbeat_s
