from __future__ import annotations

from microedge.cli.identity import render_details, render_rotated, render_table
from microedge.cli.terminal import Look

DEVICE = {
    "path": "/devices/greenhouse-7",
    "device": "greenhouse-7",
    "module": "",
    "generation": "b1c550e3aa1c621b",
    "fingerprints": {"primary": "92651f33cd213664", "secondary": "a651b93621dee9b8"},
    "created": "2026-11-23T16:18:52Z",
    "rotated": "",
    "removed": "",
}
NORTH = {
    **DEVICE,
    "path": "/devices/greenhouse-7/modules/north",
    "module": "north",
    "rotated": "2026-11-24T00:00:00Z",
}
OLD = {**NORTH, "path": "/devices/greenhouse-7/modules/old", "module": "old", "removed": "2026-11-25T00:00:00Z"}
KEYS = {"primary": "AAAA", "secondary": "BBBB"}


def test_a_table_has_one_line_for_each_identity_and_says_who_is_gone():
    assert render_table([DEVICE, NORTH, OLD], Look(100)).splitlines() == [
        "IDENTITY             GENERATION        PRIMARY KEY       SECONDARY KEY     CREATED     ROTATED",
        "device greenhouse-7  b1c550e3aa1c621b  92651f33cd213664  a651b93621dee9b8  2026-11-23  -",
        "north                b1c550e3aa1c621b  92651f33cd213664  a651b93621dee9b8  2026-11-23  2026-11-24",
        "old                  b1c550e3aa1c621b  92651f33cd213664  a651b93621dee9b8  2026-11-23  2026-11-24",
        "  removed 2026-11-25T00:00:00Z: its keys are not valid any more",
    ]


def test_a_table_fits_a_narrow_terminal():
    assert max(map(len, render_table([DEVICE, NORTH], Look(76)).splitlines())) <= 76


def test_one_identity_is_told_in_detail_without_its_keys():
    assert render_details([NORTH], Look(80)).splitlines() == [
        "/devices/greenhouse-7/modules/north",
        "generation     b1c550e3aa1c621b",
        "primary key    fingerprint 92651f33cd213664",
        "secondary key  fingerprint a651b93621dee9b8",
        "created        2026-11-23T16:18:52Z",
        "rotated        2026-11-24T00:00:00Z",
    ]


def test_keys_that_were_asked_for_stand_under_their_fingerprints():
    lines = render_details([{**DEVICE, "keys": KEYS}], Look(80)).splitlines()

    assert lines[2:6] == [
        "primary key    fingerprint 92651f33cd213664",
        "               AAAA",
        "secondary key  fingerprint a651b93621dee9b8",
        "               BBBB",
    ]


def test_a_rotation_says_what_stays_valid_and_what_comes_next():
    assert render_rotated({**NORTH, "which": "secondary"}, Look(80)).splitlines() == [
        "/devices/greenhouse-7/modules/north: new secondary key a651b93621dee9b8",
        "the primary key 92651f33cd213664 stays valid: bring the new one to whoever signs with the old one,",
        "then: microedge identity rotate north --which primary",
    ]
    assert render_rotated({**DEVICE, "which": "primary"}, Look(80)).endswith("rotate --device --which secondary")


def test_nothing_in_an_answer_can_move_the_cursor():
    wild = {**NORTH, "path": "\x1b[2J", "generation": "\x1b[2J", "module": "\x1b[2J", "which": "\x1b[2J"}

    texts = [render_table([wild], Look(100)), render_details([wild], Look(100)), render_rotated(wild, Look(100))]
    assert "\x1b" not in "".join(texts)
