"""What microedge reports about itself reaches the broker, and stays there for whoever asks later."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.arrivals import Subscriber
from support.mosquitto import Mosquitto
from support.runtime import Runtime, Source

TOPIC = "microedge/bench/$edgeAgent/twin/reported"
PUMP = """
import os

def main(client):
    client.on_method("end", lambda payload: os._exit(3))
    client.ready()
    while client.wait(60):
        pass
"""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(str(tmp_path)) as one:
        yield one


def site(tmp_path: Path, broker: Mosquitto) -> Runtime:
    upstream = f'[upstream]\ntype = "mqtt"\nurl = "mqtt://127.0.0.1:{broker.port}"\n'
    return Runtime(tmp_path / "run", {"pump": Source(PUMP)}, upstream=upstream)


class Above:
    """Somebody above who looks at the report."""

    def __init__(self, subscriber: Subscriber) -> None:
        self._subscriber = subscriber

    def wait_for(self, holds: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Block until the latest report is as it should be, and return it. The connector sends one every 5 s."""
        self._subscriber.wait_until(lambda all_: all_ and holds(json.loads(all_[-1].body)), 20.0)
        report: dict[str, Any] = json.loads(self._subscriber.arrivals[-1].body)
        return report


def end(runtime: Runtime) -> None:
    runtime.wait_running("pump")
    runtime.request("call", module="pump", method="end")


@pytest.mark.timeout(90)
def test_a_module_is_seen_to_run_to_crash_to_run_again_and_the_device_to_stop(tmp_path: Path, broker: Mosquitto):
    with Subscriber(broker.port, TOPIC) as subscriber, site(tmp_path, broker) as runtime:
        above = Above(subscriber)
        first = above.wait_for(lambda report: report["modules"]["pump"]["runtimeStatus"] == "running")
        end(runtime)
        end(runtime)
        waiting = above.wait_for(lambda report: report["modules"]["pump"]["runtimeStatus"] == "backoff")
        runtime.request("restart", module="pump")
        again = above.wait_for(lambda report: report["modules"]["pump"]["runtimeStatus"] == "running")
        assert runtime.stop() == 0
        last = above.wait_for(lambda report: report["lastDesiredStatus"]["code"] == 406)

    assert first["lastDesiredStatus"] == {"code": 200, "description": ""}
    assert (first["modules"]["pump"]["exitCode"], first["modules"]["pump"]["restartCount"]) == (0, 0)
    assert waiting["modules"]["pump"]["statusDescription"] == "exited with code 3; restart in 10 s"
    assert (again["modules"]["pump"]["exitCode"], again["modules"]["pump"]["restartCount"]) == (3, 1)
    assert again["modules"]["pump"]["statusDescription"] == ""
    assert last["modules"]["pump"]["runtimeStatus"] == "unknown"
    assert first["$version"] < waiting["$version"] < again["$version"] < last["$version"]
    with Subscriber(broker.port, TOPIC) as later:
        assert Above(later).wait_for(bool) == last


@pytest.mark.timeout(90)
def test_a_mistake_in_the_configuration_is_seen_above_until_it_is_corrected(tmp_path: Path, broker: Mosquitto):
    with Subscriber(broker.port, TOPIC) as subscriber, site(tmp_path, broker) as runtime:
        above = Above(subscriber)
        above.wait_for(lambda report: report["lastDesiredStatus"]["code"] == 200)
        runtime.write_config("nonsense = 1\n")
        runtime.hangup()
        refused = above.wait_for(lambda report: report["lastDesiredStatus"]["code"] == 400)
        runtime.write_config("")
        runtime.hangup()
        good = above.wait_for(lambda report: report["lastDesiredStatus"]["code"] == 200)
        runtime.stop(signal.SIGINT)

    assert "nonsense" in refused["lastDesiredStatus"]["description"]
    assert (refused["lastDesiredVersion"], good["lastDesiredVersion"]) == (2, 3)
