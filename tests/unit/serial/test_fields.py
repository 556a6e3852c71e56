"""Rules for members of a reading."""

from __future__ import annotations

import pytest

from microedge.serial.errors import DecodeError
from microedge.serial.fields import FieldRule, apply_rules


@pytest.mark.parametrize(
    ("raw", "scale", "offset", "value"),
    [
        (235, 0.1, 0, 23.5),
        (3, 0.1, 0, 0.3),
        (4_294_967_295, 0.001, 0, 4_294_967.295),
        (20, 1.8, 32, 68),
        (5, 1, -40, -35),
    ],
)
def test_a_value_is_raw_times_scale_plus_offset_without_binary_dust(
    raw: float, scale: float, offset: float, value: float
) -> None:
    reading = {"x": raw}

    apply_rules(reading, [FieldRule("x", scale=scale, offset=offset)])

    assert reading == {"x": value}


@pytest.mark.parametrize(("value", "is_plausible"), [(-40, True), (85, True), (-40.01, False), (85.5, False)])
def test_a_value_outside_its_range_refuses_the_reading(value: float, is_plausible: bool) -> None:
    rule = FieldRule("celsius", range=(-40, 85))
    if is_plausible:
        apply_rules({"celsius": value}, [rule])
        return
    with pytest.raises(DecodeError, match=r"expected it in \[-40, 85\]") as refusal:
        apply_rules({"celsius": value}, [rule])
    assert refusal.value.kind == "implausible"


def test_the_range_holds_for_the_scaled_value() -> None:
    apply_rules({"celsius": 850}, [FieldRule("celsius", scale=0.1, range=(-40, 85))])


@pytest.mark.parametrize("value", ["21", True, [1], {}])
def test_a_value_that_is_no_number_refuses_the_reading(value: object) -> None:
    with pytest.raises(DecodeError, match="expected a number"):
        apply_rules({"x": value}, [FieldRule("x", scale=2)])


def test_absent_and_null_members_are_left_alone() -> None:
    reading = {"y": None}

    apply_rules(reading, [FieldRule("x", scale=2), FieldRule("y", range=(0, 1))])

    assert reading == {"y": None}


def test_a_product_that_is_no_finite_number_is_implausible() -> None:
    with pytest.raises(DecodeError):
        apply_rules({"x": 1e308}, [FieldRule("x", scale=1e10)])


def test_a_range_that_is_upside_down_is_refused() -> None:
    with pytest.raises(ValueError, match="lowest, highest"):
        FieldRule("x", range=(1, 0))
