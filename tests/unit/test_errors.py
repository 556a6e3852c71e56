from __future__ import annotations

import pytest

from microedge import errors
from microedge.errors import (
    ConfigError,
    IdentityError,
    MicroedgeError,
    ModuleImageError,
    NotRunningError,
    ProtocolError,
    QueueDamaged,
    QueueError,
    QueueFull,
    RemoteProtocolError,
    RouteSyntaxError,
    TwinError,
    UpstreamError,
    UpstreamRefused,
    UpstreamUnavailable,
    literal,
    printable,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"),
        ("grüße 🌱", "grüße 🌱"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        (b"bytes", "bytes"),
        (b"\xff\x00", "\\xff\\x00"),
        (memoryview(b"view"), "view"),
        (42, "42"),
    ],
)
def test_a_value_from_outside_is_one_harmless_line(value, expected):
    assert printable(value) == expected


def nested(levels: int) -> list[object]:
    value: list[object] = []
    for _ in range(levels):
        value = [value]
    return value


def test_a_value_that_is_nested_deeper_than_repr_can_follow_is_shown_all_the_same():
    value = nested(200_000)

    assert (printable(value), literal(value)) == ("(nested too deeply)", "(nested too deeply)")
    assert str(TwinError("tags", value, "a number")) == "tags = (nested too deeply): expected a number"


def test_a_literal_has_the_quotes_that_tell_a_text_from_a_number():
    assert (literal("7"), literal(7), literal("a\nb", 4)) == ("'7'", "7", "'a\\n…")


@pytest.mark.parametrize("value", ["x" * 50, b"x" * 50, "\0" * 50, bytearray(50)])
def test_a_long_value_is_cut_and_marked(value):
    shown = printable(value, max_chars=10)

    assert len(shown) == 11
    assert shown.endswith("…")


def test_a_value_of_exactly_the_limit_is_not_cut():
    assert printable("x" * 10, max_chars=10) == "x" * 10


def test_a_config_error_says_where_what_was_found_what_is_expected_and_what_to_do():
    error = ConfigError("microedge.toml", 12, "[store] max_mib", "64M", "a whole number", "default is 256")

    assert str(error) == "microedge.toml:12: [store] max_mib = '64M': expected a whole number; default is 256"
    assert (error.file, error.line, error.key) == ("microedge.toml", 12, "[store] max_mib")
    assert (error.got, error.expected, error.hint) == ("64M", "a whole number", "default is 256")


def test_a_config_error_without_line_and_key_still_reads_well():
    assert str(ConfigError("microedge.toml", 0, "", "nothing", "a file")) == (
        "microedge.toml: found 'nothing': expected a file"
    )


def test_a_route_error_points_at_the_column():
    error = RouteSyntaxError("telemetry", "FROM sensors INTO $upstream", 6, "a source")

    assert str(error) == "route telemetry: column 6: expected a source, found 'sensors'"
    assert error.caret() == "FROM sensors INTO $upstream\n     ^ expected a source"


def test_a_route_error_at_the_end_says_so():
    assert "found 'the end'" in str(RouteSyntaxError("r", "FROM /*", 8, "INTO"))


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ModuleImageError("m/module.toml", "no [module]"), "m/module.toml: no [module]"),
        (ModuleImageError("m/module.toml", "bad name", line=3), "m/module.toml:3: bad name"),
        (IdentityError("module 'north'", "it has no identity"), "module 'north': it has no identity"),
        (QueueFull(9, 8), "queue is full: used_bytes=9 limit_bytes=8; raise [store] max_mib"),
        (QueueDamaged("queue.db", "not a database", "queue.db.1"), "queue.db: not a database: set aside as queue.db.1"),
    ],
)
def test_an_error_is_a_sentence_with_the_facts(error, sentence):
    assert str(error) == sentence


def test_a_damaged_queue_that_could_not_be_moved_says_what_to_do():
    assert "move it away" in str(QueueDamaged("queue.db", "unreadable"))


@pytest.mark.parametrize(
    ("kind", "base", "exit_code"),
    [
        (ConfigError, MicroedgeError, 78),
        (RouteSyntaxError, MicroedgeError, 78),
        (ModuleImageError, MicroedgeError, 78),
        (NotRunningError, MicroedgeError, 3),
        (IdentityError, MicroedgeError, 1),
        (QueueFull, QueueError, 1),
        (QueueDamaged, QueueError, 1),
        (UpstreamUnavailable, UpstreamError, 1),
        (UpstreamRefused, UpstreamError, 1),
        (RemoteProtocolError, ProtocolError, 1),
    ],
)
def test_errors_are_split_by_what_the_caller_does_next(kind, base, exit_code):
    assert issubclass(kind, base)
    assert kind.exit_code == exit_code


def test_everything_that_is_raised_on_purpose_has_one_base():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]

    assert [kind for kind in kinds if not issubclass(kind, MicroedgeError)] == []
