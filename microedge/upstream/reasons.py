"""What a broker's codes and a failed connection mean, in words that say what to do. Pure.

MQTT 5 numbers are used throughout; paho translates those of 3.1.1.
"""

from __future__ import annotations

import errno
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from microedge.upstream.settings import UpstreamSettings

REFUSED, OVERSIZE, POISON = "refused", "oversize", "poison"

NAMES = {
    0x80: "unspecified error",
    0x81: "malformed packet",
    0x82: "protocol error",
    0x83: "implementation specific error",
    0x84: "unsupported protocol version",
    0x85: "client identifier not valid",
    0x86: "bad user name or password",
    0x87: "not authorized",
    0x88: "server unavailable",
    0x89: "server busy",
    0x8A: "banned",
    0x8B: "server shutting down",
    0x8D: "keep alive timeout",
    0x8E: "session taken over",
    0x90: "topic name invalid",
    0x91: "packet identifier in use",
    0x93: "receive maximum exceeded",
    0x95: "packet too large",
    0x96: "message rate too high",
    0x97: "quota exceeded",
    0x98: "administrative action",
    0x99: "payload format invalid",
    0x9A: "retain not supported",
    0x9B: "QoS not supported",
    0x9C: "use another server",
    0x9D: "server moved",
    0x9F: "connection rate exceeded",
}

QOS_NOT_SUPPORTED = 0x9B

# An acknowledgement that says no for ever. All other failures pass: the message is kept and sent again later.
REFUSALS = {0x87: REFUSED, 0x90: REFUSED, 0x95: OVERSIZE, 0x99: REFUSED}

# A broker that closes with one of these may mean the last message; with any other code it certainly means itself.
BLAMEABLE = frozenset({0x80, 0x81, 0x82, 0x83, 0x87, 0x90, 0x95, 0x99})

_DEAD_NETWORK = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.ETIMEDOUT}


def code_name(code: int) -> str:
    """Return the name of a reason code with its number."""
    return f"{NAMES.get(code, 'unknown reason')} (0x{code:02x})"


def refused_connect(code: int, settings: UpstreamSettings) -> str:
    """Say why the broker answered CONNECT with a failure."""
    hints = {
        0x84: "set protocol = 311" if settings.protocol == 5 else "the broker speaks no MQTT 3.1.1",
        0x82: "set protocol = 311 if the broker knows no MQTT 5" if settings.protocol == 5 else "",
        0x85: f"client_id = {settings.mqtt_client_id!r} is not accepted; set another client_id",
        0x86: "check username and password",
        0x87: _not_authorised(settings),
        QOS_NOT_SUPPORTED: "the broker takes no QoS 1, without which nothing is sure to arrive",
        0x9A: "the broker keeps no retained messages, which the status topic needs",
    }
    return _with_hint(f"the broker refused the connection: {code_name(code)}", hints.get(code, ""))


def broker_closed(code: int, settings: UpstreamSettings) -> str:
    """Say why the broker sent DISCONNECT."""
    hint = ""
    if code == 0x8E:
        hint = f"another client connects with client_id = {settings.mqtt_client_id!r}; every device needs its own"
    return _with_hint(f"the broker closed the connection: {code_name(code)}", hint)


def closed_silently(settings: UpstreamSettings) -> str:
    """Say what it may mean that the broker closes without DISCONNECT; Mosquitto 2.0 does on a session take-over."""
    name = settings.mqtt_client_id
    return f"{_where(settings)} closed the connection: it restarts, or another client uses client_id = {name!r}"


def closed_early(first_bytes: bytes, settings: UpstreamSettings) -> str:
    """Say what to do when the connection ends before the broker has answered CONNECT."""
    if first_bytes == b"\x20\x02\x00\x01":  # CONNACK of 3.1.1 with code 1, which paho swallows
        return refused_connect(0x84, settings)
    if first_bytes[:2] == b"\x15\x03":  # a TLS alert
        return f"{_where(settings)} answers with TLS: write mqtts:// in the url"
    if first_bytes[:4] == b"HTTP":
        return f"{_where(settings)} is a web server, no MQTT broker: check the port in the url"
    hint = "is it a TLS port (write mqtts://)" if not settings.tls else "does it want a client certificate (cert_file)"
    if settings.protocol == 5:
        hint += ", or a broker without MQTT 5 (set protocol = 311)"
    return f"{_where(settings)} closed the connection without an answer to CONNECT: {hint}?"


def socket_failed(error: OSError, settings: UpstreamSettings) -> str:
    """Say why a connection could not be made, or broke."""
    where = _where(settings)
    if isinstance(error, socket.gaierror):
        return f"name not found: {settings.host} ({error.strerror}); check the url and this device's DNS"
    if isinstance(error, ConnectionRefusedError):
        return f"refused: nothing listens at {where}; check the port, and whether the broker runs"
    if isinstance(error, TimeoutError):
        return f"timeout: no answer from {where}; is it reachable from here?"
    if isinstance(error, ConnectionError):
        return f"{where} reset the connection"
    return f"{where}: {error.strerror or error}"


def tls_failed(error: OSError, settings: UpstreamSettings) -> str:
    """Say why a TLS handshake failed, and which setting to look at. `error` is an ssl.SSLError or a plain one."""
    where = _where(settings)
    if isinstance(error, TimeoutError):
        return f"timeout: {where} accepts the connection but does not answer the TLS handshake; is it a TLS port?"
    message = getattr(error, "verify_message", "")
    if message:
        return f"the certificate of {where} failed verification: {message}; {_verification_hint(error, settings)}"
    name = (getattr(error, "reason", "") or "").lower().replace("_", " ")
    if "certificate" in name or "unknown ca" in name or "handshake failure" in name:
        return f"{where} refused this device's certificate: {name}; check cert_file and key_file"
    if "wrong version number" in name or "record layer" in name or not name or "eof" in name:
        return f"{where} does not answer the TLS handshake; if it speaks plain MQTT, write mqtt:// in the url"
    return f"TLS with {where} failed: {name}"


def may_be_the_message(error: OSError) -> bool:
    """True if a broker that dislikes a message can have caused this: it closed, the network is alive."""
    return error.errno not in _DEAD_NETWORK and not isinstance(error, TimeoutError)


def _verification_hint(error: OSError, settings: UpstreamSettings) -> str:
    code = getattr(error, "verify_code", 0)
    if code in (9, 10):  # not yet valid, expired
        return "check the clock of this device, then the broker's certificate"
    if code in (62, 64):  # host name, IP address mismatch
        return f"the certificate is for another name than {settings.host}; check the url"
    if settings.ca_file:
        return f"it is not signed by a certificate in ca_file = {settings.ca_file!r}"
    return "set ca_file to the certificate that signed it"


def _not_authorised(settings: UpstreamSettings) -> str:
    who = f"user {settings.username!r}" if settings.username else "no username is set"
    return f"check username, password and the broker's access list ({who})"


def _where(settings: UpstreamSettings) -> str:
    return f"{settings.host}:{settings.port}"


def _with_hint(text: str, hint: str) -> str:
    return f"{text}; {hint}" if hint else text
