from __future__ import annotations

import pytest

from microedge.config.packages import is_requirement, python_matches


@pytest.mark.parametrize(
    ("ranges", "version", "matches"),
    [
        (">=3.9", (3, 9, 0), True),
        (">=3.9", (3, 10, 1), True),
        (">=3.10", (3, 9, 18), False),
        (">=3.9,<3.13", (3, 13, 0), False),
        (" >= 3.9 , < 3.13 ", (3, 12, 9), True),
        ("<=3.9", (3, 9, 1), False),
        (">3.9", (3, 9, 1), True),
        ("==3.9", (3, 9, 0), True),
        ("==3.9", (3, 9, 1), False),
        ("==3.9.*", (3, 9, 1), True),
        ("==3.1.*", (3, 11, 0), False),
        ("!=3.9.*", (3, 9, 1), False),
        ("!=3.9.1", (3, 9, 2), True),
        ("~=3.9", (3, 13, 0), True),
        ("~=3.9", (4, 0, 0), False),
        ("~=3.9.2", (3, 9, 1), False),
        ("~=3.9.2", (3, 10, 0), False),
        ("==3.*", (3, 11, 7), True),
    ],
)
def test_a_version_is_inside_or_outside_of_ranges_as_pep_440_says(
    ranges: str, version: tuple[int, ...], matches: bool
) -> None:
    assert python_matches(ranges, version) is matches


@pytest.mark.parametrize(
    "ranges", ["", "3.9", "^3.9", ">=3.x", ">=3.9,", "~=3", "~=3.9.*", ">=3.*", ">=3.9rc1", "=>3.9"]
)
def test_what_is_no_version_range_is_refused(ranges: str) -> None:
    with pytest.raises(ValueError, match="not a version range"):
        python_matches(ranges, (3, 11, 0))


@pytest.mark.parametrize(
    "text",
    [
        "smbus2",
        "smbus2>=0.4",
        "a-b.c_d ~= 1.0, != 1.3",
        "x[a,b]>=1; python_version < '3.11'",
        "x (>=1)",
        "x @ file:///x",
    ],
)
def test_requirements_are_accepted(text: str) -> None:
    assert is_requirement(text)


@pytest.mark.parametrize("text", ["", "-r file", "a b", "a >=", "a>=1,", "../x", "a;", "x" * 201, "a\nb"])
def test_what_is_no_requirement_is_refused(text: str) -> None:
    assert not is_requirement(text)
