from __future__ import annotations

import re

import pytest
from support import twins

from microedge.cli.terminal import Look
from microedge.cli.twin_view import ago, render_twin

NOW_S = twins.START_S + 8 * 60

PLAIN = """\
north  enabled, connected, twin version 6, active 1 min ago
file           /home/pi/demo/state/twins/north.json

desired        version 4
  interval_s = 5
  limits.min = 0
  limits.max = 30
  unit       = "C"
  name       = "north wall"

reported       version 2
  firmware      = "1.0.3"
  sensors.count = 2

tags
  site = "hall 3\""""

BLAMED = """\
north  enabled, connected, twin version 6, active 1 min ago
file           /home/pi/demo/state/twins/north.json

desired        version 4
  KEY         VALUE         SET BY           AGO  BEFORE
  interval_s  5             command line   7 min  10
  limits.min  0             image default  8 min  -
  limits.max  30            upstream       6 min  35
  unit        "C"           image default  8 min  -
  name        "north wall"  configuration  8 min  -
  in vain: interval_s = 10 from the image default; the command line or edited
  file goes first
  in vain: limits.max = 40 from the image default; the upstream goes first
  in vain: limits.max = 35 from the configuration; the upstream goes first

reported       version 2
  KEY            VALUE      AGO
  firmware       "1.0.3"  1 min
  sensors.count  2        1 min

tags
  site = "hall 3\""""


def rendered(answer=None, look=Look(80), **options) -> str:  # noqa: B008 (it never changes)
    return render_twin(answer or twins.answer(twins.example()), look, NOW_S, **options)


def test_a_twin_reads_at_a_glance():
    assert rendered() == PLAIN


def test_blame_says_who_set_each_value_when_and_what_it_was_before():
    assert rendered(with_blame=True) == BLAMED


@pytest.mark.parametrize("with_blame", [False, True])
def test_colour_changes_no_text(with_blame):
    painted = rendered(look=Look(80, colour=True), with_blame=with_blame)

    assert re.sub(r"\x1b\[\d*m", "", painted) == (BLAMED if with_blame else PLAIN)
    assert "\x1b[36m5\x1b[0m" in painted


@pytest.mark.parametrize("part", ["desired", "reported", "tags"])
def test_one_part_stands_alone(part):
    head, *sections = PLAIN.split("\n\n")

    assert rendered(part=part) == "\n\n".join([head, *(text for text in sections if text.startswith(part))])


def test_a_new_twin_says_that_nothing_is_there():
    answer = twins.answer(twins.Twin("greenhouse-7", "north"))

    assert rendered(answer, with_blame=True) == (
        "north  enabled, disconnected, twin version 1, never active\n"
        "file           /home/pi/demo/state/twins/north.json\n\n"
        "desired        version 1, empty\n\n"
        "reported       version 1, empty\n\n"
        "tags           empty"
    )


def test_problems_and_what_is_not_saved_are_said_in_words():
    answer = {**twins.answer(twins.example()), "notes": ["line 3: no JSON; kept as /a"], "is_saved": False}

    assert rendered(answer).splitlines()[1:3] == [
        "file           /home/pi/demo/state/twins/north.json, the last changes not yet",
        "               saved",
    ]
    assert "\x1b[33mproblem        line 3: no JSON; kept as /a\x1b[0m" in rendered(answer, Look(80, colour=True))


def test_an_edited_file_and_a_removal_are_told_apart():
    twin = twins.example()
    twin.patch_desired({"unit": None, "name": "N"}, "file", twins.START_MS + 7 * 60_000)

    text = rendered(twins.answer(twin), with_blame=True, part="desired")

    assert '  name        "N"    edited file    1 min  "north wall"\n' in text
    assert '  in vain: unit = "C" from the image default; the command line or edited file\n  goes first\n' in text


def wild_twin() -> twins.Twin:
    twin = twins.example()
    wild = {"text": "\x1b[2J\x9b\u202e\n" + "x" * 3000, "n\u202em": {"k" * 60: {"l" * 60: [1, {"m": "\x9b"}]}}, "e": {}}
    twin.patch_desired(wild, "upstream", twins.START_MS)
    twin.patch_reported(wild, twins.START_MS)
    twin.patch_tags(wild, "cli", twins.START_MS)
    return twin


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("with_blame", [False, True])
def test_long_values_are_cut_and_nothing_in_them_can_move_the_cursor(width, with_blame):
    text = rendered(twins.answer(wild_twin()), Look(width), with_blame=with_blame)

    assert text.replace("\n", "").isprintable()
    assert [line for line in text.splitlines() if len(line) > max(width, 74)] == []
    assert "…" in text


def test_a_terminal_without_unicode_gets_ascii():
    assert rendered(twins.answer(wild_twin()), Look(80, unicode=False), with_blame=True).isascii()


@pytest.mark.parametrize(
    ("time", "text"),
    [
        ("2023-11-14T22:13:21.000Z", "7 min 59 s"),
        ("2023-11-14T22:21:20.000Z", "0.0 s"),
        ("2023-11-14T22:21:20.900Z", "0.0 s"),  # clocks of a device are not that exact
        ("2023-11-14T22:41:20.000Z", "2023-11-14T22:41…"),  # the clock was set back since
        ("0001-01-01T00:00:00.000Z", "-"),
        ("?", "?"),
        (None, "None"),
    ],
)
def test_an_age_is_told_from_the_time_of_the_twin(time, text):
    assert ago(time, NOW_S) == text
