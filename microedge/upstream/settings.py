"""The values that one upstream is built from, and the names of the topics."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

NONE, FILE, MQTT = "none", "file", "mqtt"
DEFAULT_TOPIC = "microedge/{device}/{module}/{output}"
STATUS_TOPIC = "microedge/{device}/status"
PROTOCOLS = (5, 311)

_PLACEHOLDER = re.compile(r"\{(device|module|output)\}")
_FORBIDDEN = re.compile(r"[{}+#\x00-\x1f\x7f]")  # braces left over, the two wildcards, control characters
_MAX_TOPIC_CHARS = 512  # the names put in are at most 128 + 64 + 64, so a topic stays far below MQTT's 65,535 bytes


@dataclass(frozen=True)
class UpstreamSettings:
    """Where messages go when they leave the device. What another `type` needs keeps its default.

    Raises:
        ValueError: the type, protocol or topic template is wrong; the text says what was expected.
    """

    type: str = NONE
    device: str = ""
    version: str = ""  # of microedge, shown in the status topic
    boot_id: str = ""  # shown in the status topic
    host: str = ""
    port: int = 1883
    tls: bool = False
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""  # empty: the certificate authorities of the system
    cert_file: str = ""
    key_file: str = ""  # empty: the key is in cert_file
    client_id: str = ""  # empty: microedge-<device>
    protocol: int = 5  # 5 or 311
    keepalive_s: int = 60  # 0: none
    topic: str = DEFAULT_TOPIC
    envelope: bool = False  # send a JSON envelope instead of the plain body
    path: str = ""  # type "file"
    max_bytes: int = 16 * 1024 * 1024  # of one file
    keep: int = 4  # files, the current one included

    def __post_init__(self) -> None:
        if self.type not in (NONE, FILE, MQTT):
            raise ValueError(f"type = {self.type!r}: expected none, file or mqtt")
        if self.protocol not in PROTOCOLS:
            raise ValueError(f"protocol = {self.protocol!r}: expected 5 or 311")
        check_topic(self.topic)

    @property
    def mqtt_client_id(self) -> str:
        return self.client_id or f"microedge-{self.device}"

    @property
    def status_topic(self) -> str:
        return STATUS_TOPIC.replace("{device}", self.device)

    @property
    def url(self) -> str:
        """Where it goes, for a person; never holds a secret."""
        if self.type == FILE:
            return f"file://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"

    def topic_of(self, module: str, output: str) -> str:
        """Return the topic for the messages of one output."""
        names = {"device": self.device, "module": module, "output": output}
        return _PLACEHOLDER.sub(lambda match: names[match[1]], self.topic)


def check_topic(template: str) -> None:
    """Accept a topic template.

    Raises:
        ValueError: it is empty or too long, or holds a wildcard or another placeholder than the three.
    """
    rest = _PLACEHOLDER.sub("x", template)
    if not rest or len(rest) > _MAX_TOPIC_CHARS or rest.startswith("$") or _FORBIDDEN.search(rest):
        raise ValueError(
            f"topic = {template!r}: expected a topic name without + and #, at most {_MAX_TOPIC_CHARS} characters, "
            "in which only {device}, {module} and {output} stand in braces"
        )
