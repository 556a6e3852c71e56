"""The small part of Python packaging that a manifest needs: version ranges and the look of a requirement.

Not `packaging`: that would be one more dependency for two regular expressions. Pre-releases, local versions and
epochs are refused, which no released Python and hardly any manifest needs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

RANGE_RULE = 'version ranges such as ">=3.9" or ">=3.9,<3.13"'
REQUIREMENT_RULE = 'requirements such as "smbus2>=0.4" (PEP 508)'

Release = tuple[int, ...]

_CLAUSE = re.compile(r"\s*(>=|<=|==|!=|~=|>|<)\s*(\d{1,6}(?:\.\d{1,6}){0,3})(\.\*)?\s*")
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_SPECIFIER = r"(?:===|[<>=!~]=|[<>])\s*[A-Za-z0-9.*+!_-]+"
_REQUIREMENT = re.compile(
    rf"\s*{_NAME}\s*(?:\[\s*(?:{_NAME}(?:\s*,\s*{_NAME})*)?\s*\]\s*)?"
    rf"(?:{_SPECIFIER}(?:\s*,\s*{_SPECIFIER})*|\(\s*{_SPECIFIER}(?:\s*,\s*{_SPECIFIER})*\s*\)|@\s*\S+)?"
    r"\s*(?:;.+)?"
)


def python_matches(ranges: str, version: Sequence[int]) -> bool:
    """True when `version`, for example (3, 11, 7), is within all of the comma-separated `ranges`.

    Raises:
        ValueError: `ranges` is not of the form that `RANGE_RULE` shows.
    """
    matches = [_clause_matches(clause, tuple(version)) for clause in ranges.split(",")]  # all, to find mistakes
    return all(matches)


def is_requirement(text: str) -> bool:
    """True when `text` looks like a PEP 508 requirement of at most 200 characters; what follows `;` is not checked."""
    return len(text) <= 200 and _REQUIREMENT.fullmatch(text) is not None


def _clause_matches(clause: str, version: Release) -> bool:
    found = _CLAUSE.fullmatch(clause)
    if found is None:
        raise ValueError(f"not a version range: {clause!r}")
    operator, is_prefix = found[1], bool(found[3])
    wanted = tuple(int(part) for part in found[2].split("."))
    if operator == "~=" and len(wanted) > 1 and not is_prefix:
        return _padded(version) >= _padded(wanted) and version[: len(wanted) - 1] == wanted[:-1]
    if operator in ("==", "!=") and is_prefix:
        return (_padded(version)[: len(wanted)] == wanted) is (operator == "==")
    if operator == "~=" or is_prefix:
        raise ValueError(f"not a version range: {clause!r}")
    return _compares(operator, _padded(version), _padded(wanted))


def _padded(release: Release) -> Release:
    return (*release, 0, 0, 0, 0)[:4]


def _compares(operator: str, version: Release, wanted: Release) -> bool:
    return {
        ">=": version >= wanted,
        "<=": version <= wanted,
        "==": version == wanted,
        "!=": version != wanted,
        ">": version > wanted,
        "<": version < wanted,
    }[operator]
