from __future__ import annotations

import copy
import re

import pytest
from support.control import STATUS

from microedge.cli.status_view import is_well, render_status, upstream_words
from microedge.cli.terminal import Look

WIDE = """\
greenhouse-7  microedge 0.1.0, pid 812, up 3 h 12 min, memory 16 MiB
configuration  /home/pi/demo/microedge.toml
upstream       connected to mqtt://broker.local:1883 for 3 h 3 min; 123,456 delivered, 4 in flight, 2 reconnects
queue          12 messages waiting (10 in RAM, 2 on disk), oldest 3.2 s; 102 KiB of 256 MiB on disk
dropped        3 older than their time to live; 1,200 to stay within the size cap
set aside      1 message; see: microedge queue peek --dead
isolation      plain: processes of their own, but the same user; no protection against a hostile module

NAME        IMAGE          STATE    UPTIME      RESTARTS   MEMORY     SENT  WAITING
north       serial_bridge  running  3 h 12 min         0  2.4 MiB  123,400        4
soil_probe  soil_probe     backoff  -                 17        -        0        0
  exited with code 1 after 0.2 s: OSError: [Errno 6] no such device or address: '/dev/i2c-1'; next start in 42 s

rejected: modules/broken/module.toml:3: name = 'Broken': expected the directory's name
warning: No [routes]: every output goes INTO $upstream"""


def changed(**members):
    return {**copy.deepcopy(STATUS), **members}


def test_the_status_reads_at_a_glance():
    assert render_status(STATUS, Look(120)) == WIDE


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_no_line_is_wider_than_the_terminal(width):
    lines = render_status(STATUS, Look(width)).split("\n")

    assert [line for line in lines if len(line) > max(width, 80)] == []


def test_colour_changes_no_text():
    painted = render_status(STATUS, Look(120, colour=True))

    assert re.sub(r"\x1b\[\d*m", "", painted) == WIDE
    assert "\x1b[32mrunning" in painted
    assert "\x1b[33mbackoff" in painted
    assert "\x1b[32mconnected" in painted


def test_a_terminal_without_unicode_gets_ascii():
    module = {**STATUS["modules"][0], "image": "an_image_of_a_very_long_name" * 3}

    assert render_status(changed(modules=[module]), Look(80, unicode=False)).isascii()


def test_what_a_module_says_cannot_reach_the_terminal_raw():
    module = {**STATUS["modules"][1], "reason": "\x1b[2J\x07 gone"}

    assert "\x1b" not in render_status(changed(modules=[module]), Look(120))


def test_nothing_to_run_says_what_to_do():
    assert "microedge module new NAME" in render_status(changed(modules=[]), Look(120))


def test_a_throttled_log_is_said_under_a_running_module():
    module = {**STATUS["modules"][0], "log_throttled": True}

    assert "  prints faster than 64 KiB a second" in render_status(changed(modules=[module]), Look(120))


def test_an_incomplete_document_is_still_shown():
    assert "?" in render_status({"modules": [{}]}, Look(80))


@pytest.mark.parametrize(
    ("upstream", "words"),
    [
        (
            {"type": "none", "state": "none"},
            "none: what is meant for it ends here (set [upstream] in the configuration)",
        ),
        (
            {"type": "mqtt", "url": "mqtt://b:1883", "state": "connecting", "since_s": 2.0},
            "connecting to mqtt://b:1883 for 2.0 s; 0 delivered",
        ),
        (
            {"type": "mqtt", "url": "mqtt://b:1883", "state": "waiting", "since_s": 75, "reason": "connection refused"},
            "waiting to try again mqtt://b:1883 for 1 min 15 s (connection refused); 0 delivered",
        ),
    ],
)
def test_the_upstream_is_told_in_words(upstream, words):
    assert upstream_words(upstream) == words


def test_what_does_not_come_through_the_upstream_is_told_below_it():
    upstream = {"type": "mqtt", "state": "connected", "problems": ["the broker lets nobody call methods from above"]}
    text = render_status({**copy.deepcopy(STATUS), "upstream": upstream}, Look(120))

    assert "\n               the broker lets nobody call methods from above\n" in text


@pytest.mark.parametrize(
    ("queue", "line"),
    [
        ({"max_bytes": 1 << 20}, "queue          empty; 0 B of 1.0 MiB on disk"),
        ({"state": "degraded", "reason": "disk is full"}, "               degraded: disk is full"),
        ({"state": "ok", "reason": "database was damaged: ..."}, "               database was damaged: ..."),
    ],
)
def test_the_queue_is_told_in_words(queue, line):
    assert line in render_status(changed(queue=queue), Look(120)).split("\n")


@pytest.mark.parametrize(
    ("state", "well"),
    [
        ("running", True),
        ("starting", True),
        ("stopping", True),
        ("stopped", True),
        ("backoff", False),
        ("unhealthy", False),
        ("failed", False),
    ],
)
def test_all_is_well_unless_a_module_is_in_trouble(state, well):
    assert is_well({"modules": [{"state": state}], "queue": {"state": "ok"}}) is well


def test_a_queue_that_cannot_write_is_not_well():
    assert not is_well({"modules": [], "queue": {"state": "degraded"}})


@pytest.mark.parametrize("state", ["running", "backoff"])
def test_a_problem_of_a_twin_is_hinted_at_below_its_module(state):
    twin = {"desired_version": 4, "reported_version": 2, "is_saved": True, "problem": "cannot be saved: disk full"}
    module = {**STATUS["modules"][0], "state": state, "twin": twin}

    text = render_status(changed(modules=[module]), Look(80, colour=True))

    assert "\x1b[33m  twin: cannot be saved: disk full; see: microedge twin get north\x1b[0m\n" in text
    assert "twin:" not in render_status(changed(modules=[{**module, "twin": {**twin, "problem": ""}}]), Look(80))


def test_a_long_problem_of_a_twin_is_cut():
    module = {**STATUS["modules"][0], "twin": {"problem": "\x1b[2J" + "long " * 100}}

    lines = render_status(changed(modules=[module]), Look(80)).splitlines()

    assert [line for line in lines if "\x1b" in line] == []
    assert sum("long" in line for line in lines) == 2
