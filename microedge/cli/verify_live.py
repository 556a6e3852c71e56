"""A subscriber that misses nothing if it can be helped, and knows when it may have. Loads paho: import it late."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from microedge.cli.failure import CommandError
from microedge.cli.terminal import clean
from microedge.errors import UpstreamUnavailable
from microedge.upstream import reasons
from microedge.upstream.dial import dial

if TYPE_CHECKING:
    from paho.mqtt.client import SocketLike

    from microedge.upstream.settings import UpstreamSettings

DIAL_TIMEOUT_S = 10.0
SESSION_EXPIRY_S = 300  # how long the broker keeps what comes while this subscriber is away
_TICK_S = 0.1
_RETRY_S = 1.0
_READ_BYTES = 65_536


def client_id() -> str:
    """Return a client id of its own for each run, 23 characters at most as MQTT 3.1.1 promises to take."""
    return f"verify-{os.urandom(6).hex()}"


class Subscriber:
    """Everything happens in `run`, on the caller's thread."""

    def __init__(self, settings: UpstreamSettings, topic: str, take: Callable[[MQTTMessage], None]) -> None:
        """Store; `take` is called with each message."""
        self.interruptions = 0  # connections lost for which the broker has kept nothing
        self.last_s = 0.0  # monotonic: the last message, or the subscription
        self._settings, self._topic, self._take = settings, topic, take
        self._is_v5 = settings.protocol == 5
        self._is_subscribed = False
        self._problem = ""
        self._client = _client(settings)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message

    def run(self, is_done: Callable[[], bool], on_subscribed: Callable[[], None]) -> None:
        """Connect, subscribe, and take messages until `is_done()`, which is asked ten times a second or more.

        A connection that is lost is made again, until then. Blocks.

        Raises:
            UpstreamUnavailable: the first connection failed, or the broker refused it.
            CommandError: the broker refuses the subscription.
        """
        client = self._client
        options: dict[str, Any] = {"properties": _kept_session()} if self._is_v5 else {}
        try:
            client.connect(self._settings.host, self._settings.port, self._settings.keepalive_s, **options)
            self._wait_for_subscription()
            on_subscribed()
            while not is_done():
                if client.loop_all(_TICK_S) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                    self._come_back(is_done)
        finally:
            client.disconnect(properties=_ended_session() if self._is_v5 else None)
            client.loop_misc()
            self._client.close_socket()

    def _wait_for_subscription(self) -> None:
        deadline_s = time.monotonic() + DIAL_TIMEOUT_S
        while not self._is_subscribed:
            code = self._client.loop(_TICK_S)
            if self._problem:
                raise UpstreamUnavailable(self._problem)
            if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
                raise UpstreamUnavailable(reasons.closed_early(b"", self._settings))
            if time.monotonic() > deadline_s:
                raise UpstreamUnavailable(f"{self._settings.url}: no answer within {DIAL_TIMEOUT_S:.0f} s")

    def _come_back(self, is_done: Callable[[], bool]) -> None:
        while not is_done():
            try:
                self._client.reconnect()
            except (UpstreamUnavailable, OSError):
                time.sleep(_RETRY_S)
                continue
            return

    def _on_connect(self, client: Client, _userdata: object, flags: Any, code: Any, _properties: object) -> None:
        if code.value >= 0x80:
            self._problem = reasons.refused_connect(code.value, self._settings)
            return
        if self._is_subscribed and not flags.session_present:
            self.interruptions += 1
        if self._is_v5:
            client.subscribe(self._topic, options=SubscribeOptions(qos=1, retainHandling=2))
        else:
            client.subscribe(self._topic, 1)

    def _on_subscribe(self, _client: Client, _userdata: object, _packet_id: int, codes: list[Any], *_: object) -> None:
        if codes[0].value >= 0x80:
            raise CommandError(
                f"the broker refuses the subscription to {clean(self._topic)}: {codes[0]}",
                "use a user that may read it: --user NAME --password-file FILE",
            )
        self._is_subscribed = True
        self.last_s = time.monotonic()

    def _on_message(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        self.last_s = time.monotonic()
        if not message.retain:  # it is from before
            self._take(message)


class _DialledClient(Client):
    """A paho client that connects as the runtime does, with the same reasons when it fails.

    It reads many packets at a time. A broker keeps few messages for a slow subscriber (Mosquitto 1,000) and drops the
    others, and paho's own way takes four system calls for each.
    """

    settings: UpstreamSettings
    _received, _taken = b"", 0

    def loop_all(self, timeout_s: float) -> MQTTErrorCode:
        """Wait for packets and process all that came."""
        code = self.loop(timeout_s)
        while code == MQTTErrorCode.MQTT_ERR_SUCCESS and self._taken < len(self._received):
            code = self.loop_read()
        return code

    def close_socket(self) -> None:
        """Close the connection, if there is one."""
        self._sock_close()

    def _sock_recv(self, bufsize: int) -> bytes:
        if self._taken >= len(self._received):
            self._received, self._taken = super()._sock_recv(_READ_BYTES), 0
        start, self._taken = self._taken, self._taken + bufsize
        return self._received[start : self._taken]

    def _create_socket(self) -> SocketLike:
        self._received, self._taken = b"", 0
        return dial(self.settings, DIAL_TIMEOUT_S, socket.getaddrinfo)


def _client(settings: UpstreamSettings) -> _DialledClient:
    is_v5 = settings.protocol == 5
    client = _DialledClient(
        CallbackAPIVersion.VERSION2,
        settings.client_id,
        clean_session=None if is_v5 else True,
        protocol=MQTTProtocolVersion.MQTTv5 if is_v5 else MQTTProtocolVersion.MQTTv311,
    )
    client.settings = settings
    if settings.username:
        client.username_pw_set(settings.username, settings.password or None)
    return client


def _kept_session() -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho leaves it untyped
    properties.SessionExpiryInterval = SESSION_EXPIRY_S
    properties.ReceiveMaximum = 1_000
    return properties


def _ended_session() -> Properties:
    properties = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call]  # paho leaves it untyped
    properties.SessionExpiryInterval = 0
    return properties
