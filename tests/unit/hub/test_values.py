"""How values are shown."""

from __future__ import annotations

import pytest

from microedge.hub.values import NULL, Kind, Value, kind_of_value, show


@pytest.mark.parametrize(
    ("value", "text", "kind"),
    [
        (None, "undefined", Kind.UNDEFINED),
        (NULL, "null", Kind.NULL),
        (True, "true", Kind.BOOL),
        (False, "false", Kind.BOOL),
        (3.0, "3", Kind.NUMBER),
        (-0.5, "-0.5", Kind.NUMBER),
        (1e300, "1e+300", Kind.NUMBER),
        (float("inf"), "inf", Kind.NUMBER),
        ("it's", r"'it\'s'", Kind.TEXT),
        ("back\\slash", r"'back\\slash'", Kind.TEXT),
    ],
)
def test_a_value_is_shown_as_the_language_writes_it(value: Value, text: str, kind: Kind):
    assert show(value) == text
    assert kind_of_value(value) is kind
