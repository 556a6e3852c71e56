"""Direct methods through the whole runtime: from the command line, between modules, and from a real broker."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from support.mosquitto import Mosquitto
from support.runtime import Runtime, Source

PUMP = """
import time
from microedge import MethodResponse

def main(client):
    def boom(payload):
        raise RuntimeError("the tank is dry")

    client.on_method("echo", lambda payload: payload)
    client.on_method("boom", boom)
    client.on_method("teapot", lambda payload: MethodResponse(418, ["short", "stout"]))
    client.on_method("sleep", lambda payload: time.sleep(payload))
    client.on_method("exit", lambda payload: sys.exit(3))
    client.on_method("long", lambda payload: "x" * payload)
    client.on_method("version", lambda payload: "first")
    client.ready()
    client.run()
"""

ASKER = """
def main(client):
    def ask(payload):
        response = client.invoke(*payload)
        return [response.status, response.payload]

    client.on_method("ask", ask)
    client.on_method("echo", lambda payload: payload)
    client.ready()
    client.run()
"""

PATIENT = "[supervision]\nready_timeout_s = 5\nstop_timeout_s = 3\nhang_timeout_s = 20\n"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with Mosquitto(str(tmp_path_factory.mktemp("broker"))) as one:
        yield one


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory, broker: Mosquitto) -> Iterator[Runtime]:
    modules = {
        "pump": Source(f"import sys\n{PUMP}", tables=PATIENT),
        "asker": Source(ASKER, tables=PATIENT),
        "other": Source(ASKER, tables=PATIENT),
    }
    upstream = f'[upstream]\ntype = "mqtt"\nurl = "mqtt://127.0.0.1:{broker.port}"\n'
    with Runtime(tmp_path_factory.mktemp("run"), modules, upstream=upstream) as one:
        one.wait_running(*modules)
        one.wait_for(lambda: one.status()["upstream"]["state"] == "connected", "connection to the broker")
        yield one


def call(runtime: Runtime, module: str, method: str, payload: object = None, **times: float) -> tuple[int, Any]:
    answer = runtime.client().request(
        "call", module=module, method=method, payload=payload, timeout_s=sum(times.values()) + 35, **times
    )
    return answer["status"], answer["payload"]


# --- From the command line ---


@pytest.mark.parametrize(
    ("arguments", "code", "stdout", "stderr"),
    [
        (["pump", "echo", '{"a": [1, "ü"]}'], 0, '{"a": [1, "ü"]}\n', ""),
        (["pump", "echo"], 0, "null\n", ""),
        (["pump", "echo", "1", "--json"], 0, '{"status": 200, "payload": 1}\n', ""),
        (["pump", "boom"], 1, '{"message": "RuntimeError: the tank is dry"}\n', "with status 500"),
        (["pump", "teapot"], 1, '["short", "stout"]\n', "with status 418"),
        (["pump", "nothing"], 1, "has no method nothing", "with status 404"),
        (["nobody", "echo"], 1, "module nobody is not connected", "with status 404"),
        (["$edgeAgent", "ping"], 0, "null\n", ""),
        (["pump", "echo", "{"], 2, "", "not JSON"),
        (["pump", "echo", "--timeout", "4"], 2, "", "expected 5 to 300 seconds"),
        (["pump", "a/b"], 1, "", "method = 'a/b'"),
    ],
)
def test_a_call_prints_the_payload_and_exits_by_the_status(
    runtime: Runtime, arguments: list[str], code: int, stdout: str, stderr: str
):
    command = [sys.executable, "-m", "microedge", "--config", str(runtime.config_file), "call", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)

    assert (done.returncode, stdout in done.stdout, stderr in done.stderr) == (code, True, True), done


# --- What becomes of a call ---


def test_a_payload_of_128_kib_travels_both_ways_and_a_larger_one_does_not(runtime: Runtime):
    largest = "x" * 131_070

    assert call(runtime, "pump", "echo", largest) == (200, largest)
    assert call(runtime, "asker", "ask", ["pump", "long", 131_071])[1][0] == 500
    with pytest.raises(Exception, match="expected at most 131072"):
        call(runtime, "pump", "echo", largest + "x")


def test_no_answer_in_time_is_504_and_the_module_goes_on(runtime: Runtime):
    begin_s = time.monotonic()
    status, payload = call(runtime, "pump", "sleep", 6, response_timeout_s=5)

    assert status == 504
    assert "did not answer sleep in 5 s" in payload["message"]
    assert 4.9 < time.monotonic() - begin_s < 6
    assert call(runtime, "pump", "echo", 1) == (200, 1)
    assert runtime.module("pump")["restarts"] == 0


def test_two_modules_that_call_each_other_end_by_the_timeout(runtime: Runtime):
    status, (inner, _) = call(runtime, "asker", "ask", ["other", "ask", ["asker", "echo", 1, 5], 8])

    assert (status, inner) == (200, 200), "the one in the middle waited in vain, and said so"
    assert call(runtime, "asker", "ask", ["other", "echo", 1]) == (200, [200, 1])


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Runtime]:
    """A runtime for this test alone, whose modules may come and go."""
    with Runtime(tmp_path, {"pump": Source(f"import sys\n{PUMP}", tables=PATIENT)}) as one:
        one.wait_running("pump")
        yield one


def test_a_stopped_module_is_404_and_one_that_starts_in_time_is_called(own: Runtime):
    runtime = own
    runtime.request("stop", module="pump")
    assert call(runtime, "pump", "echo")[0] == 404

    runtime.request("start", module="pump")
    assert call(runtime, "pump", "echo", 7, connect_timeout_s=5) == (200, 7)


def test_the_agent_restarts_a_module_and_the_next_call_finds_its_new_process(own: Runtime):
    runtime = own
    pid = runtime.module("pump")["pid"]

    assert call(runtime, "$edgeAgent", "restartMODULE", {"schemaVersion": "1.0", "id": "pump"}) == (200, None)
    assert call(runtime, "pump", "echo", 7, connect_timeout_s=10) == (200, 7)
    assert runtime.module("pump")["pid"] != pid


@pytest.mark.parametrize(
    ("method", "payload", "status", "words"),
    [
        ("UploadModuleLogs", {}, 400, "expected one of ping, RestartModule, GetModuleLogs"),
        ("RestartModule", None, 400, "schemaVersion"),
        ("RestartModule", {"schemaVersion": "2.0", "id": "pump"}, 400, "schemaVersion = '2.0'"),
        ("RestartModule", {"schemaVersion": "1.0", "id": "nobody"}, 404, "expected one of asker, other, pump"),
        ("GetModuleLogs", {"schemaVersion": "1.0"}, 400, "items"),
    ],
)
def test_the_agent_says_what_it_expected(runtime: Runtime, method: str, payload: object, status: int, words: str):
    found, answer = call(runtime, "$edgeAgent", method, payload)

    assert (found, words in answer["message"]) == (status, True), answer


def test_the_agent_shows_logs(runtime: Runtime):
    call(runtime, "pump", "boom")
    items = [{"id": "^pump$", "filter": {"loglevel": 3, "regex": "tank", "tail": 1}}]

    status, (log,) = call(runtime, "$edgeAgent", "GetModuleLogs", {"schemaVersion": "1.0", "items": items})

    assert (status, log["id"]) == (200, "pump")
    assert log["payload"].startswith("<3> ")
    assert "[ERR] method boom failed" in log["payload"]


def test_a_call_during_a_reload_is_answered_by_one_of_both(own: Runtime):
    own.add("pump", Source(f"import sys\n{PUMP}".replace('"first"', '"second"')))
    seen = set()
    deadline_s = time.monotonic() + 10
    while "second" not in seen and time.monotonic() < deadline_s:
        status, payload = call(own, "pump", "version", connect_timeout_s=10)
        seen.add(payload if status == 200 else status)

    assert "second" in seen
    assert seen <= {"first", "second", 504}


def test_a_module_that_ends_in_a_method_leaves_nobody_waiting(own: Runtime):
    status, payload = call(own, "pump", "exit")

    assert status == 504
    assert "ended before it answered" in payload["message"]


# --- From above ---


class Desk:
    """Calls methods over MQTT; a context."""

    def __init__(self, port: int, topic: str, protocol: int = mqtt.MQTTv5, *, device: str = "bench") -> None:
        self._device = device
        self.answers: queue.Queue[tuple[bytes | None, Any]] = queue.Queue()
        self._subscribed: queue.Queue[None] = queue.Queue()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTProtocolVersion(protocol))
        self._client.on_subscribe = lambda *_: self._subscribed.put(None)
        self._client.on_message = self._on_message
        self._topic, self._port = topic, port

    def __enter__(self) -> Desk:
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        self._client.subscribe(self._topic, qos=1)
        self._subscribed.get(timeout=5)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        del self._client

    def call(
        self,
        method: str,
        payload: bytes,
        *,
        correlation: bytes = b"",
        answer_to: str = "",
        retain: bool = False,
        timeouts: tuple[tuple[str, str], ...] = (),
    ) -> None:
        properties = None
        if answer_to:
            properties = Properties(PacketTypes.PUBLISH)
            properties.ResponseTopic, properties.CorrelationData = answer_to, correlation
            if timeouts:
                properties.UserProperty = list(timeouts)
        self._client.publish(f"microedge/{self._device}/{method}", payload, qos=1, retain=retain, properties=properties)

    def _on_message(self, _client: object, _userdata: object, message: mqtt.MQTTMessage) -> None:
        correlation = getattr(message.properties, "CorrelationData", None)
        self.answers.put((correlation, json.loads(message.payload)))


def test_mqtt_5_answers_go_to_the_response_topic_with_the_correlation_data(runtime: Runtime, broker: Mosquitto):
    with Desk(broker.port, "desk/7/answers") as desk:
        for number, (method, payload) in enumerate(
            [
                ("pump/methods/echo", b'{"a":1}'),
                ("pump/methods/boom", b""),
                ("nobody/methods/echo", b"1"),
                ("pump/methods/echo", b"{"),
                ("pump/methods/echo", b'"%b"' % (b"x" * 131_071)),
                ("$edgeAgent/methods/ping", b""),
            ]
        ):
            desk.call(method, payload, correlation=b"c%d" % number, answer_to="desk/7/answers")
        answers = dict(desk.answers.get(timeout=10) for _ in range(6))

    assert answers[b"c0"] == {"status": 200, "payload": {"a": 1}}
    assert answers[b"c1"] == {"status": 500, "payload": {"message": "RuntimeError: the tank is dry"}}
    assert [answers[b"c%d" % number]["status"] for number in range(2, 6)] == [404, 400, 400, 200]


def test_a_call_over_mqtt_may_say_how_long_it_waits(tmp_path: Path, broker: Mosquitto):
    upstream = f'[upstream]\ntype = "mqtt"\nurl = "mqtt://127.0.0.1:{broker.port}"\nclient_id = "late"\n'
    late = '[modules.pump]\nimage = "pump"\nautostart = false\n'
    runtime = Runtime(tmp_path, {"pump": Source(f"import sys\n{PUMP}")}, upstream=upstream, config=late)
    runtime.config_file.write_text(runtime.config_file.read_text().replace('"bench"', '"late"'))
    with runtime, Desk(broker.port, "desk/9/answers", device="late") as desk:
        runtime.wait_for(lambda: runtime.status()["upstream"]["state"] == "connected", "connection to the broker")
        for payload, timeouts in {
            b"1": (("responseTimeoutInSeconds", "1"),),
            b"2": (("connectTimeoutInSeconds", "30"),),
            b"3": (),
        }.items():
            desk.call("pump/methods/echo", payload, answer_to="desk/9/answers", timeouts=timeouts)
        first = [desk.answers.get(timeout=10)[1] for _ in range(2)]
        runtime.request("start", module="pump")

        assert [answer["status"] for answer in first] == [400, 404]
        assert "expected 5 to 300 seconds" in first[0]["payload"]["message"]
        assert desk.answers.get(timeout=10)[1] == {"status": 200, "payload": 2}


def test_without_a_response_topic_it_is_carried_out_and_a_retained_one_is_not(runtime: Runtime, broker: Mosquitto):
    def failures() -> int:
        return sum("method boom failed" in line for line in runtime.logs("pump"))

    before = failures()
    with Desk(broker.port, "desk/8/answers") as desk:
        desk.call("pump/methods/boom", b"", retain=True, answer_to="desk/8/answers")
        desk.call("pump/methods/boom", b"")
        desk.call("pump/methods/echo", b"1", answer_to="desk/8/answers")
        assert desk.answers.get(timeout=10)[1] == {"status": 200, "payload": 1}
        desk.call("pump/methods/boom", b"", retain=True)  # forget it

    assert failures() == before + 1


def test_mqtt_311_answers_go_beside_the_request(tmp_path: Path, broker: Mosquitto):
    upstream = f'[upstream]\ntype = "mqtt"\nurl = "mqtt://127.0.0.1:{broker.port}"\nprotocol = 311\nclient_id = "old"\n'
    runtime = Runtime(tmp_path, {"pump": Source(f"import sys\n{PUMP}")}, upstream=upstream)
    runtime.config_file.write_text(runtime.config_file.read_text().replace('"bench"', '"old"'))
    with runtime:
        runtime.wait_running("pump")
        runtime.wait_for(lambda: runtime.status()["upstream"]["state"] == "connected", "connection to the broker")
        with Desk(broker.port, "microedge/old/+/methods/+/response", mqtt.MQTTv311, device="old") as desk:
            desk.call("pump/methods/echo", b"8")
            assert desk.answers.get(timeout=10) == (None, {"status": 200, "payload": 8})


def test_a_broker_that_refuses_the_subscription_stops_nothing_else(tmp_path: Path):
    rules = tmp_path / "acl"
    rules.write_text("topic write microedge/#\n")
    rules.chmod(0o644)
    with Mosquitto(str(tmp_path), lines=("allow_anonymous true", f"acl_file {rules}")) as broker:
        upstream = f'[upstream]\ntype = "mqtt"\nurl = "mqtt://127.0.0.1:{broker.port}"\n'
        with Runtime(tmp_path / "run", {"steady": Source()}, upstream=upstream) as runtime:
            runtime.wait_running("steady")
            runtime.wait_for(lambda: runtime.status()["upstream"]["delivered"] > 20, "deliveries")
            assert runtime.status()["upstream"]["reconnects"] == 0
