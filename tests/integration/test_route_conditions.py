"""Conditions in a running supervisor: they choose, a bad one changes nothing, a blind one is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.runtime import Runtime, Source

COUNTER = """
def main(client):
    client.ready()
    count = 0
    while client.wait(0.02):
        count += 1
        client.send("readings", {"count": count, "odd": count % 2 == 1})
        client.send("raw", "count is %d" % count)
"""
CONFIG = """
[routes]
odd = "FROM /messages/modules/counter/outputs/readings WHERE $body.odd AND $body.count > 4 INTO $upstream"
"""


@pytest.fixture
def runtime(tmp_path: Path):
    with Runtime(tmp_path, {"counter": Source(COUNTER, outputs=("readings", "raw"))}, config=CONFIG) as running:
        running.wait_running("counter")
        yield running


def counts(runtime: Runtime) -> list[int]:
    """Return what the upstream got, as far as it is on disk."""
    lines = runtime.upstream_file.read_text().splitlines() if runtime.upstream_file.exists() else []
    return [json.loads(line)["body"]["count"] for line in lines if line.endswith("}")]


def test_a_condition_chooses_what_goes_upstream(runtime: Runtime):
    runtime.wait_for(lambda: len(counts(runtime)) > 5, "odd counts")

    found = counts(runtime)
    assert found == list(range(5, 5 + 2 * len(found), 2))


def test_a_bad_condition_refuses_the_whole_configuration_and_the_running_one_stays(runtime: Runtime):
    good = runtime.status()["routes"]
    bad = CONFIG.replace("$body.count > 4", "level > 4") + 'new = "FROM /* INTO $upstream"\n[modules.second]\n'
    runtime.write_config(bad + 'image = "counter"\n')
    runtime.hangup()

    line = runtime.wait_log("supervisor", "configuration not reloaded, the running one stays")
    assert "[routes] odd = " in line
    assert "write as_number(level), at column " in line
    assert [route["text"] for route in runtime.status()["routes"]] == [route["text"] for route in good]
    assert runtime.module("second") == {}
    before = len(counts(runtime))
    runtime.wait_for(lambda: len(counts(runtime)) > before, "more odd counts")
    assert all(count % 2 for count in counts(runtime))


def test_a_condition_that_cannot_read_the_body_is_told_once_and_counted(runtime: Runtime):
    runtime.write_config(CONFIG + 'blind = "FROM /messages/modules/*/outputs/raw WHERE $body.odd INTO $upstream"\n')
    runtime.hangup()

    runtime.wait_log("supervisor", "a route asks for $body, which is undefined in messages of counter/raw")
    runtime.wait_for(
        lambda: "WHERE asked for $body where it is undefined" in "".join(runtime.status()["warnings"]), "a warning"
    )
    before = runtime.status()["dropped"]["no_route"]
    runtime.wait_for(lambda: runtime.status()["dropped"]["no_route"] > before + 5, "messages that no condition takes")
    lines = runtime.request("logs", module="supervisor", lines=500)["lines"]
    assert len([line for line in lines if "a route asks for $body" in line["text"]]) == 1
