from __future__ import annotations

from support.control import STATUS

from microedge.cli.module_view import render_module
from microedge.cli.terminal import Look


def test_a_running_module_is_told_in_detail():
    assert render_module({"modules": STATUS["modules"][:1]}, Look(100)) == (
        "north\n"
        "state          running\n"
        "image          serial_bridge 1.0.0 (bundled)\n"
        "process        820, forked from the fork server\n"
        "uptime         3 h 12 min\n"
        "memory         2.4 MiB\n"
        "processor      12.31 s of a core since its start\n"
        "restarts       0\n"
        "sent           123,400 messages, 4 of them not yet acknowledged\n"
        "received       2 messages\n"
        "\n"
        "see also: microedge logs north -f, microedge tail north"
    )


def test_a_module_in_trouble_says_why_and_what_comes_next():
    text = render_module({"modules": STATUS["modules"][1:]}, Look(160))

    assert "state          backoff: exited with code 1 after 0.2 s: OSError" in text
    assert "next start     in 42 s" in text
    assert "microedge restart soil_probe" in text


def test_a_stopped_module_says_how_to_start_it():
    assert "microedge start a" in render_module({"modules": [{"name": "a", "state": "stopped"}]}, Look())


def test_the_state_is_painted():
    assert "\x1b[31mfailed\x1b[0m" in render_module({"modules": [{"name": "a", "state": "failed"}]}, Look(80, True))


def test_no_module_says_where_to_look():
    assert render_module({"modules": []}, Look()) == "no such module; see: microedge list"


def test_a_twin_shows_its_versions_and_its_problem():
    twin = {"desired_version": 4, "reported_version": 2, "is_saved": False, "problem": "cannot be saved: disk full"}

    lines = render_module({"modules": [{**STATUS["modules"][0], "twin": twin}]}, Look(100)).splitlines()

    assert lines[2] == "twin problem   cannot be saved: disk full"
    assert lines[-3] == "twin           desired version 4, reported version 2, the last changes not yet saved"
    assert lines[-1] == "see also: microedge logs north -f, microedge tail north, microedge twin history north"
