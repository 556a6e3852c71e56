"""The filter between real modules and a real upstream, joined by routes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.runtime import Runtime, Source

NORTH = """
def main(client):
    client.ready()
    for tenths in (200, 202, 205, 204, 201, 200):
        client.send("readings", {"celsius": tenths / 10}, properties={"site": "roof"}, ttl_s=600)
    client.send("raw", b'{ "celsius" : 2.150e1 }', content_type="application/json")
    client.send("raw", b'{ "celsius" : 2.1501e1 }', content_type="application/json")
    client.send("raw", "no reading", properties={"source-module": "far", "source-output": "away"})
    client.run()
"""
RULES = 'rules = [{ kind = "deadband", field = "celsius", absolute = 0.5 }]'


def route(module: str, output: str, sink: str) -> str:
    return f"'FROM /messages/modules/{module}/outputs/{output} INTO {sink}'"


def into(module: str) -> str:
    return f'BrokeredEndpoint("/modules/{module}/inputs/in")'


def configuration(desired: str, source: str = "north", output: str = "*") -> str:
    return f"""
[modules.calm]
image = "filter"
desired = {{ {desired} }}
[routes]
measured = {route(source, output, into("calm"))}
told = {route("calm", "*", "$upstream")}
"""


def lines(runtime: Runtime, output: str = "out", module: str = "calm") -> list[dict[str, Any]]:
    return [line for line in runtime.upstream_lines() if (line["module"], line["output"]) == (module, output)]


def north(code: str = NORTH) -> dict[str, Source | str]:
    return {"north": Source(code, outputs=("readings", "raw"))}


def test_what_passes_goes_on_as_it_came_and_says_where_it_came_from(tmp_path: Path) -> None:
    with Runtime(tmp_path, north(), config=configuration(RULES)) as runtime:
        runtime.wait_for(lambda: len(lines(runtime)) >= 5, "messages that pass")
        runtime.wait_for(lambda: runtime.module("calm")["received"] == 9, "all messages at the filter")
        found = lines(runtime)
        text = runtime.upstream_file.read_text()
        assert runtime.stop() == 0

    readings = {"site": "roof", "source-module": "north", "source-output": "readings"}
    raw = {"source-module": "north", "source-output": "raw"}
    far = {"source-module": "far", "source-output": "away"}
    assert [(line["body"], line["content_type"], line["properties"]) for line in found] == [
        ({"celsius": 20.0}, "application/json", readings),
        ({"celsius": 20.5}, "application/json", readings),
        ({"celsius": 20.0}, "application/json", readings),
        ({"celsius": 21.5}, "application/json", raw),
        ("no reading", "text/plain", far),
    ]
    assert '{ "celsius" : 2.150e1 }' in text


def test_counters_come_as_status_and_only_when_they_have_changed(tmp_path: Path) -> None:
    with Runtime(tmp_path, north(), config=configuration(f"{RULES}, status_interval_s = 1")) as runtime:
        counts = runtime.wait_for(
            lambda: [line["body"] for line in lines(runtime, "status") if line["body"]["received"] == 9], "a status"
        )
        warning = runtime.wait_log("calm", "nothing to judge at field=celsius in a message of far/away")
        assert runtime.stop() == 0
        all_counts = [line["body"]["received"] for line in lines(runtime, "status")]

    assert (counts[0]["passed"], counts[0]["dropped"], counts[0]["sources"]) == (5, {"deadband-1": 4}, 3)
    assert counts[0]["field_missing"] == {"deadband-1": 1}
    assert "missing=pass" in warning
    assert sorted(set(all_counts)) == all_counts


def test_a_simulated_sensor_is_thinned_out_by_the_dead_band(tmp_path: Path) -> None:
    channel = "celsius = { base = 20, swing = 0, walk = 1, digits = 2 }"
    desired = f"{{ interval_s = 0.005, channels = {{ {channel} }} }}"
    sensor = f'[modules.sensor]\nimage = "simulated_sensor"\ndesired = {desired}\n'
    config = sensor + configuration(RULES.replace("0.5", "2"), "sensor", "readings")
    with Runtime(tmp_path, config=config) as runtime:
        runtime.wait_for(lambda: len(lines(runtime)) >= 10, "readings that pass", 15)
        values = [line["body"]["celsius"] for line in lines(runtime)]
        received = runtime.module("calm")["received"]
        assert runtime.stop() == 0

    assert all(abs(value - last) >= 2 - 1e-9 for last, value in zip(values, values[1:]))
    assert received > 2 * len(values)


def test_two_filters_in_a_row_keep_the_sources_apart(tmp_path: Path) -> None:
    first = '[modules.first]\nimage = "filter"\ndesired = { rules = [{ kind = "change" }] }\n'
    config = first + configuration(RULES, "first", "out")
    config += f"pair = {route('north', '*', into('first'))}\n"
    with Runtime(tmp_path, north(), config=config) as runtime:
        found = runtime.wait_for(lambda: len(lines(runtime)) >= 5 and lines(runtime), "messages that pass both")
        assert runtime.stop() == 0

    sources = [(line["properties"]["source-module"], line["properties"]["source-output"]) for line in found]
    assert sources == [("north", "readings")] * 3 + [("north", "raw"), ("far", "away")]


def test_a_message_without_room_for_its_source_goes_on_without(tmp_path: Path) -> None:
    code = """
def main(client):
    client.ready()
    client.send("raw", b"x" * 262_100)
    client.send("readings", {"celsius": 1}, properties={f"p{number}": "" for number in range(99)})
    client.run()
"""
    with Runtime(tmp_path, north(code), config=configuration(RULES)) as runtime:
        found = runtime.wait_for(lambda: len(lines(runtime)) >= 2 and lines(runtime), "both messages")
        assert runtime.stop() == 0

    assert [(len(line["body"]), len(line["properties"])) for line in found] == [(262_100, 0), (1, 99)]


def test_wrong_settings_fail_the_instance_with_one_line_and_no_restart(tmp_path: Path) -> None:
    with Runtime(tmp_path, north(), config=configuration(RULES.replace("absolute", "absolut"))) as runtime:
        state = runtime.wait_state("calm", "failed")
        log = runtime.logs("calm")
        assert runtime.stop() == 0

    assert state["restarts"] == 0
    assert len([line for line in log if "desired properties" in line]) == 1
    assert "rule 1 (deadband): absolut = 0.5: unknown key; did you mean absolute?" in json.dumps(log)
