"""How long a direct method takes, there and back: module to module, command line to module, through the broker.

The command line is measured twice: its request over the control socket, and the whole command with its interpreter.
The way through the broker as well: with Mosquitto as it comes, which holds back small packets until the other end has
acknowledged those before (40 ms each time), and with `set_tcp_nodelay true`. Beside it a message that the broker alone
sends back. Prints JSON; `--quick` takes rough figures.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from socket import IPPROTO_TCP, TCP_NODELAY
from typing import Any

import paho.mqtt.client as mqtt
from broker import Broker
from contestants import Microedge, script
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from processes import wait_for
from rows import Plan, Row, percentile, plan_of_arguments, print_rows

from microedge.cli.client import ControlClient

_PAYLOAD = {"celsius": 21.5}
_DEVICE = "microedge/bench"
_ANSWERS = "desk/answers"
_TIMEOUT_S = 10.0
_NODELAY = "set_tcp_nodelay true"


class Desk:
    """Somebody at the broker who asks one thing at a time."""

    def __init__(self, port: int) -> None:
        self._answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "desk", protocol=mqtt.MQTTv5)
        self._client.on_socket_open = lambda client, userdata, sock: sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        self._client.on_message = lambda client, userdata, message: self._answers.put(message.payload)
        self._port = port

    def __enter__(self) -> Desk:
        subscribed: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._client.on_subscribe = lambda *_: subscribed.put(None)
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        self._client.subscribe(_ANSWERS, qos=1)
        subscribed.get(timeout=_TIMEOUT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def ask(self, topic: str) -> bytes:
        """Publish the payload there and return what comes to the topic of answers."""
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic, properties.CorrelationData = _ANSWERS, b"1"
        self._client.publish(topic, json.dumps(_PAYLOAD), qos=1, properties=properties)
        return self._answers.get(timeout=_TIMEOUT_S)


def timed(count: int, ask: Callable[[], object]) -> list[float]:
    times_s = []
    for _ in range(count):
        began_s = time.perf_counter()
        ask()
        times_s.append(time.perf_counter() - began_s)
    return times_s


def measure(plan: Plan) -> dict[str, list[float]]:
    """Return the seconds of each call, by the way it took."""
    count, upstream_count = plan.of(2_000, 200), plan.of(500, 100)
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="microedge-bench-") as directory:
        for label, lines in (("", ()), (_NODELAY, (_NODELAY,))):
            with Broker(directory, lines=lines) as broker, Desk(broker.port) as desk:
                run = os.path.join(directory, "run")
                with Microedge(run, modules(0 if label else count), broker.port) as contestant:
                    if not label:
                        found.update(on_the_device(contestant, plan, count))
                    wait_for(lambda: is_running(contestant), 30, "modules")
                    wait_for(lambda: upstream_state(contestant) == "connected", 30, "connection to the broker")
                    ask = partial(desk.ask, f"{_DEVICE}/pump/methods/echo")
                    found[f"MQTT {label}".strip()] = timed(upstream_count, lambda ask=ask: check(ask()))
                    found[f"echo {label}".strip()] = timed(upstream_count, partial(desk.ask, _ANSWERS))
    return found


def modules(calls: int) -> dict[str, tuple[str, dict[str, object]]]:
    return {
        "pump": ("bench_caller", {}),
        "caller": ("bench_caller", {"callee": "pump" if calls else "", "count": calls}),
    }


def on_the_device(contestant: Microedge, plan: Plan, count: int) -> dict[str, list[float]]:
    """Measure one way after the other: two at a time would measure each other."""
    reported: Any = contestant.result("caller", 120)
    client = ControlClient(os.path.join(contestant.state_dir, "control.sock"))
    words = [script("microedge"), "--config", "microedge.toml", "call", "pump", "echo", json.dumps(_PAYLOAD)]
    return {
        "module to module": reported["times_s"],
        "control socket": timed(
            count, lambda: client.request("call", module="pump", method="echo", payload=_PAYLOAD, timeout_s=30)
        ),
        "microedge call": timed(
            plan.of(50, 10),
            lambda: subprocess.run(words, cwd=contestant.directory, check=True, stdout=subprocess.DEVNULL),
        ),
    }


def is_running(contestant: Microedge) -> bool:
    if not contestant.is_serving():
        return False
    status: Any = contestant.status()
    return all(module["state"] == "running" for module in status["modules"])


def upstream_state(contestant: Microedge) -> str:
    status: Any = contestant.status()
    return str(status["upstream"]["state"])


def check(answer: bytes) -> None:
    assert json.loads(answer) == {"status": 200, "payload": _PAYLOAD}, answer


def rows(plan: Plan) -> list[Row]:
    found = measure(plan)
    result = []
    for way, times_s in found.items():
        if way.startswith("echo"):
            continue
        p50_ms, p99_ms = (1000 * percentile(times_s, share) for share in (0.5, 0.99))
        echo = found.get(way.replace("MQTT", "echo"), []) if way.startswith("MQTT") else []
        peers = {"broker alone": 1000 * percentile(echo, 0.5)} if echo else {}
        detail: dict[str, object] = {"p50_ms": p50_ms, "p99_ms": p99_ms, "calls": len(times_s)}
        result.append(Row(f"method call and answer, {way}: p50", "ms", p50_ms, peers=peers, detail=detail))
    return result


def main() -> None:
    print_rows("methods", rows(plan_of_arguments(__doc__ or "")))


if __name__ == "__main__":
    main()
