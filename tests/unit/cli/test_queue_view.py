"""What waits and what failed, as a person reads it."""

from __future__ import annotations

import pytest

from microedge.cli.queue_acting import endpoint_of
from microedge.cli.queue_view import left_out, render_dead, render_waiting
from microedge.cli.terminal import Look

LOOK = Look(80)
WAITING = {
    "endpoint": "/modules/pump/inputs/commands",
    "message_id": "8f2c61d0aa17-12",
    "module": "north",
    "output": "readings",
    "age_s": 12.3,
    "bytes": 98,
    "is_in_flight": False,
    "is_on_disk": True,
    "body": '{"on": true}',
    "is_cut": False,
}
LETTER = {**WAITING, "id": 3, "reason": "poison", "text": "ValueError: too cold", "damage": ""}


def test_what_waits_is_two_lines_for_each_message():
    text = render_waiting({"messages": [WAITING, {**WAITING, "is_in_flight": True}]}, LOOK)

    assert text.splitlines() == [
        "ENDPOINT       FROM            MESSAGE           AGE  SIZE  WHERE",
        "pump/commands  north/readings  8f2c61d0aa17-12  12 s  98 B  disk",
        '  {"on": true}',
        "pump/commands  north/readings  8f2c61d0aa17-12  12 s  98 B  in flight",
        '  {"on": true}',
    ]


def test_a_dead_letter_says_why_and_what_can_be_done():
    text = render_dead({"messages": [LETTER]}, LOOK)

    assert text.splitlines() == [
        "ID  ENDPOINT       FROM             AGE  SIZE  REASON",
        " 3  pump/commands  north/readings  12 s  98 B  poison",
        "  ValueError: too cold",
        '  {"on": true}',
        "",
        "send again: microedge queue replay ID; throw away: microedge queue purge --dead",
    ]


def test_a_damaged_letter_says_so():
    damaged = {
        "id": 1,
        "endpoint": "$upstream",
        "reason": "corrupt",
        "text": "",
        "damage": "row 5: checksum",
        "bytes": 9,
    }

    assert "  cannot be sent again: row 5: checksum" in render_dead({"messages": [damaged]}, LOOK)


def test_nothing_is_said_in_words():
    assert render_waiting({"messages": []}, LOOK) == "nothing waits"
    assert render_dead({"messages": []}, LOOK) == "no dead letters"


@pytest.mark.parametrize(
    "body", [{"body": "\x1b[2J" * 50}, {"body": "x" * 200, "is_cut": True}, {"body_base64": "/w" * 40}]
)
def test_a_body_is_cut_to_the_line_and_cannot_move_the_cursor(body):
    one = {key: value for key, value in LETTER.items() if key not in ("body", "is_cut")}
    for text in (
        render_waiting({"messages": [{**one, **body}]}, LOOK),
        render_dead({"messages": [{**one, **body}]}, LOOK),
    ):
        assert "\x1b" not in text
        assert max(map(len, text.splitlines())) <= 80


def test_a_long_name_is_cut_so_that_the_table_fits():
    wide = {**LETTER, "module": "m" * 60, "output": "o" * 60, "endpoint": f"/modules/{'p' * 60}/inputs/{'i' * 60}"}

    lines = render_dead({"messages": [wide]}, LOOK).splitlines()[:4]

    assert max(map(len, lines)) <= 80


def test_a_reader_is_told_what_the_answer_had_no_room_for():
    assert left_out({"left_out": 2}).startswith("2 further messages left out")
    assert left_out({}) == ""


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("upstream", "$upstream"),
        ("$upstream", "$upstream"),
        ("pump/commands", "/modules/pump/inputs/commands"),
        ("/modules/pump/inputs/commands", "/modules/pump/inputs/commands"),
        ("", ""),
        ("pump", "pump"),
    ],
)
def test_an_endpoint_may_be_written_short(text, endpoint):
    assert endpoint_of(text) == endpoint
