from __future__ import annotations

from support.control import STATUS

from microedge.cli.checks.isolation import find as find_isolation
from microedge.cli.checks.outcome import FAILED, OK, SKIPPED, WARNING, Surroundings
from microedge.cli.checks.supervisor import find

RUNNING = Surroundings("microedge.toml", None, status=STATUS)


def test_a_module_in_trouble_is_a_failure():
    running, failed = find(RUNNING)

    assert (running.outcome, failed.outcome) == (OK, FAILED)
    assert failed.found.startswith("soil_probe (backoff): exited with code 1")
    assert failed.cure == "microedge logs soil_probe"


def test_no_supervisor_is_no_failure():
    (found,) = find(Surroundings("microedge.toml", None))

    assert (found.outcome, found.cure) == (SKIPPED, "microedge run")


def test_the_isolation_is_what_the_supervisor_reports():
    (plain,) = find_isolation(RUNNING)
    (better,) = find_isolation(Surroundings("f", None, status={"isolation": "userns, seccomp"}))

    assert (plain.outcome, plain.found[:6]) == (WARNING, "plain:")
    assert (better.outcome, better.found) == (OK, "userns, seccomp")
