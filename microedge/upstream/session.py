"""One MQTT connection from CONNECT to its end, driven by the loop. Importing this loads paho (see microedge.postpone).

paho keeps the protocol: CONNECT, the will, keep-alive, DISCONNECT, the status topic, and whatever is subscribed to.
A client is made per connection, so nothing of an old connection is ever sent again by paho: re-sending is the
queue's business alone. Messages do not go through it (see packets.py); the seams are `_create_socket`, which paho
calls to get its socket, and `_mid_generate`, which gives it packet ids; both have had their names since 2.0.

What paho could block on, and why it does not: it connects in `_create_socket` only, which returns a finished
connection; it reconnects by itself after some CONNACKs unless reconnect_on_failure is off; its sends end in memory
(Link.send), its receives come from memory (Link.recv); its locks are taken by the loop's thread only.
"""

from __future__ import annotations

import contextlib
import json

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from microedge.upstream import reasons
from microedge.upstream.link import Link
from microedge.upstream.packets import FIRST_ID, MAX_INBOUND_BYTES, SkippedPublish, puback
from microedge.upstream.requests import UpstreamRequest, request_filter, request_of
from microedge.upstream.twins import desired_filter, desired_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from typing import Any, Protocol

    from paho.mqtt.client import ConnectFlags, DisconnectFlags, MQTTMessage, SocketLike
    from paho.mqtt.reasoncodes import ReasonCode

    from microedge.reactor import Reactor
    from microedge.upstream.settings import UpstreamSettings

    class SessionEvents(Protocol):
        def session_open(self, receive_maximum: int, max_packet_bytes: int) -> None:
            """The broker accepted the connection, and takes as many unacknowledged publications at a time."""

        def session_acked(self, acks: Sequence[tuple[int, int]]) -> None:
            """(packet id, reason code) of messages."""

        def session_published(self, packet_id: int, code: int) -> None:
            """What became of anything published here that is no message."""

        def session_ready(self) -> None:
            """The broker has answered SUBSCRIBE, or there is none: whatever closes the connection now is not that."""

        def session_over(self, reason: str, may_be_the_message: bool) -> None:
            """The connection is gone; said once, and not after `close`."""

    class DownlinkEvents(Protocol):
        def session_subscribed(self, answers: Sequence[str]) -> None:
            """For methods and desired documents: "" where the broker granted the subscription, else why not."""

        def session_requested(self, request: UpstreamRequest) -> None:
            """Somebody above calls a method."""

        def session_desired(self, module: str, topic: str, document: bytes) -> None:
            """Somebody above has set, or withdrawn (b""), the desired document of a module, now or before."""

        def session_skipped(self, packet: SkippedPublish) -> None:
            """Something that is too long came and was thrown away."""


_RECEIVE_MAXIMUM, _PACKET_MAXIMUM = 65_535, 268_435_455  # what MQTT 5 says where the broker says nothing


class Session:
    """Everything happens on the loop's thread."""

    def __init__(
        self,
        connection: socket.socket,
        settings: UpstreamSettings,
        reactor: Reactor,
        events: SessionEvents,
        downlink: DownlinkEvents,
    ) -> None:
        self._settings = settings
        self._reactor = reactor
        self._events = events
        self._downlink = downlink
        self._link = Link(connection)
        self._fd = connection.fileno()  # kept, because paho closes the socket before it says so
        self._client = _client(self._link, settings)
        self._is_accepted = False
        self._is_over = False
        self._is_writing = False
        self._on_farewell: Callable[[], None] | None = None
        self._farewell_id = 0
        self._wants_downlink = False
        self._unacknowledged: set[int] = set()  # publications that are no messages
        self.is_subscribing = False  # the broker has not answered yet

    @property
    def keepalive_s(self) -> int:
        """What the broker asked for, or else what the settings say; 0 for none."""
        return self._client.keepalive

    @property
    def unacknowledged(self) -> int:
        """How many publications are under way beside the messages; the broker counts them in the same window."""
        return len(self._unacknowledged)

    def start(self, *, wants_downlink: bool = False) -> None:
        """Send CONNECT; session_open or session_over follows, unless the broker keeps silent.

        `wants_downlink`: once accepted, subscribe to the device's methods and desired documents.
        """
        self._wants_downlink = wants_downlink
        self._reactor.add_reader(self._fd, self._on_readable)
        client = self._client
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_socket_register_write = _nothing  # with it, paho queues and does not call its own loop_write
        options = _v5_options() if self._settings.protocol == 5 else {}
        client.connect(self._settings.host, self._settings.port, self._settings.keepalive_s, **options)
        self._pump()

    def send(self, packets: list[bytes]) -> None:
        """Send message packets, all in as few system calls as the socket takes."""
        self._link.send(b"".join(packets))
        self._pump()

    def answer(self, request: UpstreamRequest, document: bytes) -> None:
        """Publish the answer to a request where it wants it."""
        properties = None
        if self._settings.protocol == 5 and request.correlation is not None:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho leaves it untyped
            properties.CorrelationData = request.correlation
        self._publish(request.response_topic, document, properties=properties)
        self._pump()

    def publish_retained(self, topic: str, document: bytes) -> int:
        """Publish with QoS 1, to be kept by the broker; return the packet id for session_published."""
        packet_id = self._publish(topic, document, retain=True)
        self._pump()
        return packet_id

    def tick(self) -> None:
        """Let paho look at its keep-alive; call it several times per keep-alive interval."""
        self._client.loop_misc()
        self._pump()

    def say_goodbye(self, farewell: Callable[[], None]) -> None:
        """Publish offline behind everything sent so far; `farewell` is called when the broker has it."""
        self._on_farewell = farewell
        self._farewell_id = self._publish_status("offline")
        self._pump()

    def disconnect(self) -> None:
        """Send DISCONNECT, so that the broker forgets the will, and close."""
        self._end()
        with contextlib.suppress(OSError):
            self._client.disconnect()
            self._client.loop_write()
        self._link.close()

    def close(self) -> None:
        """Close without a word: the broker publishes the will. Harmless when it is closed."""
        self._end()
        self._link.close()

    def _pump(self) -> None:
        """Move paho's packets into the link and the link's bytes into the socket."""
        if self._is_over:
            return
        client = self._client
        while client.want_write() and client.socket() is not None:
            client.loop_write()
        try:
            is_sent = self._link.flush()
        except OSError as error:
            # Not at once: this may be inside publish(), and the owner of a queue expects no event in there.
            self._reactor.call_soon(lambda error=error: self._fail(error))  # type: ignore[misc]
            return
        if is_sent == self._is_writing:
            self._is_writing = not is_sent
            if is_sent:
                self._reactor.remove_writer(self._fd)
            else:
                self._reactor.add_writer(self._fd, self._on_writable)

    def _on_writable(self) -> None:
        self._pump()

    def _on_readable(self) -> None:
        try:
            acks = self._link.read()
        except OSError as error:
            self._fail(error)
            return
        except ValueError as error:
            self._over(self._odd(str(error)), False)
            return
        if acks:
            self._events.session_acked(acks)
        for packet in self._link.take_skipped():
            self._skip(packet)
        while self._link.has_packets and self._client.socket() is not None and not self._is_over:
            self._client.loop_read()
        if acks is None:
            self._ended()
        self._pump()

    def _on_connect(self, _client: Client, _userdata: object, _flags: ConnectFlags, *answer: Any) -> None:
        code, properties = answer
        number = code.value if getattr(properties, "MaximumQoS", 1) >= 1 else reasons.QOS_NOT_SUPPORTED
        if number >= 0x80:
            self._over(reasons.refused_connect(number, self._settings), False)
            return
        self._is_accepted = True
        self._client.obey_keepalive(properties)
        self._publish_status("online")
        if self._wants_downlink:
            self._subscribe()
        self._pump()  # before any message, so that a closing tells whether SUBSCRIBE or a message is to blame
        receive_maximum = getattr(properties, "ReceiveMaximum", _RECEIVE_MAXIMUM)
        self._events.session_open(receive_maximum, getattr(properties, "MaximumPacketSize", _PACKET_MAXIMUM))
        if not self.is_subscribing:
            self._events.session_ready()

    def _on_disconnect(
        self, _client: Client, _userdata: object, flags: DisconnectFlags, code: ReasonCode | None, _properties: object
    ) -> None:
        number = code.value if code is not None else 0
        if flags.is_disconnect_packet_from_server:
            self._over(reasons.broker_closed(number, self._settings), number in reasons.BLAMEABLE)
        elif number == 0x8D:
            self._over(f"the broker answers no ping within keepalive_s = {self._settings.keepalive_s}", False)
        else:
            self._over(self._odd(reasons.code_name(number)), False)

    def _on_publish(
        self, _client: Client, _userdata: object, packet_id: int, code: ReasonCode, _properties: object
    ) -> None:
        self._unacknowledged.discard(packet_id)
        if not self._is_over:
            self._events.session_published(packet_id, code.value)
        if packet_id == self._farewell_id and self._on_farewell:
            farewell, self._on_farewell = self._on_farewell, None
            self._reactor.call_soon(farewell)

    def _subscribe(self) -> None:
        self.is_subscribing = True
        methods, desired = request_filter(self._settings.device), desired_filter(self._settings.device)
        if self._settings.protocol == 5:
            # A live request that is retained shows that it is, and those of long ago stay where they are; desired
            # documents of long ago are what we come for.
            self._client.subscribe(
                [
                    (methods, SubscribeOptions(qos=1, retainAsPublished=True, retainHandling=2)),
                    (desired, SubscribeOptions(qos=1, retainHandling=0)),
                ]
            )
        else:
            self._client.subscribe([(methods, 1), (desired, 1)])

    def _on_subscribe(self, _client: Client, _userdata: object, _packet_id: int, codes: list[Any], *_: object) -> None:
        self.is_subscribing = False
        self._downlink.session_subscribed([str(code) if code.value >= 0x80 else "" for code in codes])
        if not self._is_over:
            self._events.session_ready()

    def _on_message(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        if self._is_over:
            return
        module = desired_module(self._settings.device, message)
        request = None if module else request_of(self._settings.device, message)
        if module:
            self._downlink.session_desired(module, message.topic, bytes(message.payload))
        elif request is not None:
            self._downlink.session_requested(request)

    def _skip(self, packet: SkippedPublish) -> None:
        if packet.packet_id:  # else the broker would count it as under way as long as the connection lasts
            self._link.send(puback(packet.packet_id))
        self._downlink.session_skipped(packet)

    def _publish_status(self, status: str) -> int:
        payload = status_payload(status, self._settings)
        return self._publish(self._settings.status_topic, payload, retain=True)

    def _publish(
        self, topic: str, payload: bytes, *, retain: bool = False, properties: Properties | None = None
    ) -> int:
        packet_id = self._client.publish(topic, payload, qos=1, retain=retain, properties=properties).mid
        self._unacknowledged.add(packet_id)
        return packet_id

    def _ended(self) -> None:
        if self._is_accepted:
            self._over(reasons.closed_silently(self._settings), True)
        else:
            self._over(reasons.closed_early(self._link.first_bytes, self._settings), False)

    def _fail(self, error: OSError) -> None:
        if self._is_accepted:
            self._over(reasons.socket_failed(error, self._settings), reasons.may_be_the_message(error))
        elif isinstance(error, ConnectionError):
            self._over(reasons.closed_early(self._link.first_bytes, self._settings), False)
        else:  # a TLS 1.3 broker refuses our certificate only now, behind the handshake
            self._over(reasons.tls_failed(error, self._settings), False)

    def _odd(self, what: str) -> str:
        if not self._is_accepted:
            return reasons.closed_early(self._link.first_bytes, self._settings)
        return f"{self._settings.host}:{self._settings.port} broke the MQTT protocol: {what}"

    def _over(self, reason: str, may_be_the_message: bool) -> None:
        if self._is_over:
            return
        self.close()
        self._events.session_over(reason, may_be_the_message)

    def _end(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._reactor.remove_reader(self._fd)
        if self._is_writing:
            self._reactor.remove_writer(self._fd)


def status_payload(status: str, settings: UpstreamSettings) -> bytes:
    """Return the retained document of the status topic; the will is the same with "offline"."""
    document = {"status": status, "version": settings.version, "boot_id": settings.boot_id}
    return json.dumps(document).encode()


def _client(link: Link, settings: UpstreamSettings) -> _LinkedClient:
    is_v5 = settings.protocol == 5
    client = _LinkedClient(
        CallbackAPIVersion.VERSION2,
        settings.mqtt_client_id,
        clean_session=None if is_v5 else True,
        protocol=MQTTProtocolVersion.MQTTv5 if is_v5 else MQTTProtocolVersion.MQTTv311,
        reconnect_on_failure=False,  # otherwise paho connects again inside loop_read, and blocks
    )
    client.link = link
    client.will_set(settings.status_topic, status_payload("offline", settings), qos=1, retain=True)
    if settings.username:
        client.username_pw_set(settings.username, settings.password or None)
    return client


def _v5_options() -> dict[str, Any]:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho leaves it untyped
    properties.SessionExpiryInterval = 0
    properties.MaximumPacketSize = MAX_INBOUND_BYTES
    return {"clean_start": True, "properties": properties}


class _LinkedClient(Client):
    """A paho client on a connection that exists already."""

    link: Link

    def _create_socket(self) -> SocketLike:
        return self.link

    def _sock_recv(self, bufsize: int) -> bytes:
        # As paho's, which asks ssl what "later" looks like, and so would load it (5 MB) where there is no TLS.
        return self.link.recv(bufsize)

    def _mid_generate(self) -> int:
        # As paho's, below the packet ids of messages: PUBACKs from FIRST_ID on never reach paho (PacketSplitter).
        with self._mid_generate_mutex:
            self._last_mid = self._last_mid % (FIRST_ID - 1) + 1
            return self._last_mid

    def obey_keepalive(self, connack: object) -> None:
        """Take over the broker's own keep-alive interval, as MQTT 5 demands; paho does so by itself since 2.2."""
        self._keepalive = getattr(connack, "ServerKeepAlive", self._keepalive)


def _nothing(*_: object) -> None:
    pass
