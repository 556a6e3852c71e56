"""The MQTT connector against a real broker: protocols, passwords, TLS, outages, the status topic."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from paho.mqtt.client import CallbackAPIVersion, Client, MQTTMessage
from paho.mqtt.enums import MQTTProtocolVersion
from support.mosquitto import PASSWORD, USER, Certificates, Mosquitto, make_certificates
from support.reactor import TestReactor
from support.upstream_owner import Owner, make_message

from microedge.upstream.mqtt import MqttConnector, Timings
from microedge.upstream.settings import UpstreamSettings

QUICK = Timings(first_retry_s=0.02, max_retry_s=0.2)
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

CLIENT = """
import sys
sys.path[:0] = [{root!r}, {root!r} + "/tests"]
from support.reactor import TestReactor
from support.upstream_owner import Owner
from microedge.upstream.mqtt import MqttConnector
from microedge.upstream.settings import UpstreamSettings
reactor, owner = TestReactor(), Owner()
settings = UpstreamSettings(type="mqtt", device="d", version="0.1", boot_id="b1", host="127.0.0.1", port={port})
MqttConnector(settings, reactor).open(owner)
reactor.run_until(lambda: owner.is_connected)
print("connected", flush=True)
reactor.run_for(60)
"""


class Subscriber:
    """A paho client of its own that keeps everything published under microedge/."""

    def __init__(self, port: int) -> None:
        self.messages: list[MQTTMessage] = []
        self._is_subscribed = False
        self._client = Client(CallbackAPIVersion.VERSION2, "subscriber", protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_message = lambda client, userdata, message: self.messages.append(message)
        self._client.on_subscribe = self._on_subscribe
        self._client.connect("127.0.0.1", port)
        self._client.subscribe("microedge/#", 1)
        self.wait_until(lambda: self._is_subscribed)

    def wait_until(self, condition) -> None:
        deadline = time.monotonic() + 8
        while not condition():
            assert time.monotonic() < deadline
            self._client.loop(0.02)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop(0.1)
        del self._client  # it holds a pair of sockets until it is freed

    def _on_subscribe(self, *_: object) -> None:
        self._is_subscribed = True


class Device:
    """A connector with its owner and reactor."""

    def __init__(self, reactor: TestReactor, port: int, **settings: object) -> None:
        values = {"host": "127.0.0.1", "port": port, "device": "d", "version": "0.1", "boot_id": "b1", **settings}
        self.reactor = reactor
        self.owner = Owner()
        self.connector = MqttConnector(UpstreamSettings(type="mqtt", **values), reactor, timings=QUICK)  # type: ignore[arg-type]
        self.owner.attach(self.connector)
        self.connector.open(self.owner)

    def connect(self) -> None:
        self.reactor.run_until(lambda: self.owner.is_connected)

    def deliver(self, *messages) -> None:
        self.owner.add(*messages)
        self.reactor.run_until(lambda: self.owner.is_idle and self.owner.is_connected)

    def reason(self) -> str:
        """Run until an attempt has failed and return why."""
        self.reactor.run_until(lambda: self.connector.status()["state"] == "waiting")
        return str(self.connector.status()["reason"])

    def close(self) -> None:
        if not self.owner.is_closed:
            self.connector.close(self.owner.close_done, 3.0)
            self.reactor.run_until(lambda: self.owner.is_closed)


@pytest.fixture
def reactor() -> Iterator[TestReactor]:
    reactor = TestReactor()
    yield reactor
    reactor.close()


@pytest.fixture
def device(reactor):
    devices: list[Device] = []

    def make(port: int, **settings: object) -> Device:
        devices.append(Device(reactor, port, **settings))
        return devices[-1]

    yield make
    for one in devices:
        one.close()


@pytest.fixture
def broker(tmp_path) -> Iterator[Mosquitto]:
    with Mosquitto(str(tmp_path)) as broker:
        yield broker


@pytest.fixture
def subscriber(broker) -> Iterator[Subscriber]:
    subscriber = Subscriber(broker.port)
    yield subscriber
    subscriber.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Certificates:
    return make_certificates(str(tmp_path_factory.mktemp("certificates")))


@pytest.fixture
def tls_broker(tmp_path, certificates) -> Iterator[Mosquitto]:
    with Mosquitto.with_tls(str(tmp_path), certificates) as broker:
        yield broker


def of_topic(subscriber: Subscriber, topic: str) -> list[MQTTMessage]:
    return [message for message in subscriber.messages if message.topic == topic]


def test_a_message_arrives_with_its_properties_over_mqtt_5(device, broker, subscriber):
    one = device(broker.port)
    one.connect()

    message = make_message(7, content_type="application/json", properties={"unit": "°C"}, ttl_s=3600)
    message.taken_ms = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
    one.deliver(message)
    subscriber.wait_until(lambda: of_topic(subscriber, "microedge/d/probe/readings"))

    message = of_topic(subscriber, "microedge/d/probe/readings")[0]
    assert message.payload == b'{"n":7}'
    assert message.qos == 1
    assert message.properties.ContentType == "application/json"
    assert 3590 <= message.properties.MessageExpiryInterval <= 3600
    assert message.properties.UserProperty == [
        ("unit", "°C"),
        ("microedge-id", "s1-7"),
        ("microedge-sequence", "7"),
        ("microedge-created", "2024-05-17T09:30:00.250Z"),
        ("microedge-time-quality", "synced"),
    ]


def test_over_mqtt_311_the_body_arrives_as_it_is_or_in_an_envelope(device, broker, subscriber):
    plain = device(broker.port, protocol=311, client_id="plain")
    wrapped_topic = "microedge/wrapped"
    wrapped = device(broker.port, protocol=311, client_id="w", envelope=True, topic=wrapped_topic)
    plain.connect()
    wrapped.connect()

    plain.deliver(make_message(1, b"\x00\xff"))
    wrapped.deliver(make_message(2, content_type="application/json"))
    subscriber.wait_until(lambda: of_topic(subscriber, wrapped_topic))
    subscriber.wait_until(lambda: of_topic(subscriber, "microedge/d/probe/readings"))

    assert of_topic(subscriber, "microedge/d/probe/readings")[0].payload == b"\x00\xff"
    assert json.loads(of_topic(subscriber, wrapped_topic)[0].payload) == {
        "id": "s1-2",
        "sequence": 2,
        "created": "2024-05-17T09:30:00.250Z",
        "time_quality": "synced",
        "content_type": "application/json",
        "properties": {},
        "body": {"n": 2},
    }


def test_a_quarter_megabyte_and_an_empty_body_arrive(device, broker, subscriber):
    bodies = [b"x" * 262_144, b"x" * 70_000]
    one = device(broker.port)
    one.connect()

    empty = make_message(3)
    empty.body = b""
    one.deliver(make_message(1, bodies[0]), make_message(2, bodies[1]), empty)
    subscriber.wait_until(lambda: len(of_topic(subscriber, "microedge/d/probe/readings")) == 3)

    received = [message.payload for message in of_topic(subscriber, "microedge/d/probe/readings")]
    assert received == [*bodies, b""]


@pytest.mark.parametrize("protocol", [5, 311])
def test_only_the_right_password_connects(device, tmp_path, protocol):
    with Mosquitto.with_password(str(tmp_path)) as broker:
        wrong = device(broker.port, protocol=protocol, username=USER, password="wrong", client_id="a")
        nobody = device(broker.port, protocol=protocol, client_id="b")
        right = device(broker.port, protocol=protocol, username=USER, password=PASSWORD, client_id="c")

        right.connect()
        right.deliver(make_message(1))

        for refused in (wrong, nobody):
            assert "refused the connection: not authorized (0x87); check username, password" in refused.reason()
            assert refused.owner.events == []
        right.close()


def test_tls_with_a_ca_and_a_client_certificate_delivers(device, tls_broker, certificates):
    one = device(
        tls_broker.port,
        host="localhost",
        tls=True,
        ca_file=certificates.ca,
        cert_file=certificates.client_cert,
        key_file=certificates.client_key,
    )
    one.connect()

    one.deliver(*[make_message(number, b"y" * 5_000) for number in range(300)])

    assert len(one.owner.delivered) == 300
    assert one.connector.status()["url"] == f"mqtts://localhost:{tls_broker.port}"
    one.close()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"ca_file": "other_ca"}, "not signed by a certificate in ca_file"),
        ({}, "set ca_file to the certificate that signed it"),
        ({"ca_file": "ca"}, "check cert_file and key_file"),
        ({"ca_file": "ca", "host": "127.0.0.2"}, "refused: nothing listens"),
        ({"ca_file": "client_key"}, "ca_file = .* cannot be used"),
        ({"ca_file": "ca", "cert_file": "ca"}, "cert_file = .* cannot be used"),
        ({"tls": False}, "is it a TLS port|write mqtts://"),
    ],
    ids=["other-ca", "no-ca", "no-client-cert", "other-address", "no-pem", "no-key", "plain"],
)
def test_a_tls_failure_names_the_setting(device, tls_broker, certificates, settings, expected):
    files = {key: getattr(certificates, value) for key, value in settings.items() if key.endswith("_file")}

    one = device(tls_broker.port, **{"tls": True, **settings, **files})

    reason = one.reason()
    assert re.search(expected, reason), reason
    one.close()


def test_tls_to_a_plain_port_says_so(device, broker, certificates):
    one = device(broker.port, tls=True, ca_file=certificates.ca)

    assert "if it speaks plain MQTT, write mqtt://" in one.reason()


@pytest.mark.parametrize("protocol", [5, 311])
def test_a_broker_that_restarts_under_load_gets_every_message(device, tmp_path, reactor, protocol):
    with Mosquitto(str(tmp_path)) as broker:
        one = device(broker.port, protocol=protocol)
        one.connect()
        messages = [make_message(number) for number in range(1, 6001)]
        one.owner.add(*messages)
        for part in (1000, 3000):
            reactor.run_until(lambda part=part: len(one.owner.delivered) >= part)
            broker.stop()
            reactor.run_until(lambda: not one.owner.is_connected)
            broker.start()
        reactor.run_until(lambda: one.owner.is_idle)

        assert sorted(set(one.owner.delivered)) == sorted(message.message_id for message in messages)
        assert len(one.owner.losses) == 2
        one.close()


def test_status_is_online_then_offline_after_a_clean_close(device, broker, subscriber):
    one = device(broker.port)
    one.connect()
    subscriber.wait_until(lambda: len(of_topic(subscriber, "microedge/d/status")) == 1)
    one.close()
    subscriber.wait_until(lambda: len(of_topic(subscriber, "microedge/d/status")) == 2)

    documents = [json.loads(message.payload) for message in of_topic(subscriber, "microedge/d/status")]
    assert documents == [{"status": status, "version": "0.1", "boot_id": "b1"} for status in ("online", "offline")]
    late = Subscriber(broker.port)
    late.wait_until(lambda: bool(late.messages))
    assert late.messages[0].retain
    late.close()


def test_status_is_offline_after_the_client_is_killed(broker, subscriber):
    script = CLIENT.format(root=ROOT, port=broker.port)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    try:
        assert process.stdout
        assert process.stdout.readline() == b"connected\n"
        process.send_signal(signal.SIGKILL)
        subscriber.wait_until(lambda: len(of_topic(subscriber, "microedge/d/status")) == 2)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()

    last = json.loads(of_topic(subscriber, "microedge/d/status")[-1].payload)
    assert last == {"status": "offline", "version": "0.1", "boot_id": "b1"}


def test_two_devices_with_one_client_id_are_told_so(device, broker, reactor):
    one = device(broker.port, client_id="same")
    one.connect()
    two = device(broker.port, client_id="same")
    reactor.run_until(lambda: bool(one.owner.losses))

    assert "another client" in one.owner.losses[0]
    assert "client_id = 'same'" in one.owner.losses[0]
    two.close()
    one.close()
