"""Direct methods from above, as MQTT carries them: the topic says whom and what, the properties where to answer.

With MQTT 5 the answer goes to the response topic of the request, with its correlation data; a request without one is
carried out and its answer dropped. MQTT 3.1.1 has neither, so there the answer goes to the topic of the request with
`/response` behind it. A retained request is ignored: it would be carried out again at every connection.

Two user properties of MQTT 5 say how long to wait, under the names that IoT Hub has for them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_ROOT, _METHODS = "microedge", "methods"
_TIMEOUTS = {"responseTimeoutInSeconds": "response_timeout_s", "connectTimeoutInSeconds": "connect_timeout_s"}


@dataclass(frozen=True)
class UpstreamRequest:
    """One request. `response_topic` is "" when nobody wants the answer; `timeouts` are unchecked."""

    module: str
    method: str
    payload: bytes
    response_topic: str = ""
    correlation: bytes | None = None
    timeouts: Mapping[str, object] = field(default_factory=dict)  # in seconds; text where it is no number


def request_filter(device: str) -> str:
    """Return the topic filter that takes in every request for the modules of a device."""
    return f"{_ROOT}/{device}/+/{_METHODS}/+"


def request_of(device: str, message: Any) -> UpstreamRequest | None:
    """Return the request that a message of paho's is, None when it is none for this device."""
    try:
        levels = message.topic.split("/")
    except UnicodeDecodeError:  # paho decodes it here; a broker should have refused it
        return None
    if message.retain or len(levels) != 5 or levels[:2] != [_ROOT, device] or levels[3] != _METHODS:
        return None
    module, method, payload = levels[2], levels[4], bytes(message.payload)
    if message.properties is None:  # MQTT 3.1.1
        return UpstreamRequest(module, method, payload, f"{message.topic}/response")
    response_topic = getattr(message.properties, "ResponseTopic", "")
    if set("+#\0") & set(response_topic):
        response_topic = ""
    correlation = getattr(message.properties, "CorrelationData", None)
    return UpstreamRequest(module, method, payload, response_topic, correlation, _timeouts(message.properties))


def _timeouts(properties: Any) -> dict[str, object]:
    pairs = getattr(properties, "UserProperty", ())
    return {_TIMEOUTS[name]: _seconds(text) for name, text in pairs if name in _TIMEOUTS}


def _seconds(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return text
