"""The [upstream] table: which type it is, and that only the keys of this type are set."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from microedge.config.document import Words
from microedge.config.model import DEFAULT_TOPIC, FILE, MQTT, NONE, UPSTREAM_TYPES, UpstreamConfig
from microedge.config.reader import Range, TableReader
from microedge.errors import printable

TLS_KEYS = ("ca_file", "cert_file", "key_file")
MQTT_KEYS = (
    "url",
    "username",
    "password",
    *TLS_KEYS,
    "client_id",
    "protocol",
    "keepalive_s",
    "topic",
    "envelope",
)
FILE_KEYS = ("path", "max_mib", "keep")
KEYS_OF_TYPE = {NONE: (), FILE: FILE_KEYS, MQTT: MQTT_KEYS}

# 5 s: below it an ordinary mobile link is declared dead for being slow. 1177 s: what AWS and Azure take at most.
KEEPALIVES = Range(5, 1_177, "seconds")
FILE_SIZES = Range(1, 65_536, "MiB")
KEPT_FILES = Range(1, 1_000)
MAX_TOPIC_CHARS = 512

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_URL_RULE = "mqtt://HOST[:PORT] or mqtts://HOST[:PORT]"
_URL = re.compile(r"(?P<scheme>[a-zA-Z0-9+.-]+)://(?P<host>\[[^\]]*\]|[^:/\[\]]*)(?P<rest>.*)")
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9_.])?|\[[0-9A-Fa-f:.]+(%[A-Za-z0-9_.-]+)?\]")
_REST = re.compile(r"(?::(?P<port>\d{1,5}))?/?")
_LOOPBACK = re.compile(r"localhost|127\.\d+\.\d+\.\d+|::1", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"\{(device|module|output)\}")


@dataclass(frozen=True)
class Surroundings:
    """What the values of a file are relative to: its own directory, the state directory, the environment."""

    base: str
    state: str
    environ: Mapping[str, str]


def read_upstream(table: TableReader, around: Surroundings) -> UpstreamConfig:
    """Return the upstream that `table` describes; no table at all is type "none". Reads the files that hold secrets.

    Raises:
        ConfigError: a key is unknown or of another type, a value is wrong, or a named file cannot be read.
    """
    table.only("type", *MQTT_KEYS, *FILE_KEYS)
    kind = table.choice("type", None if table.keys() else NONE, UPSTREAM_TYPES)
    _refuse_keys_of_other_types(table, kind)
    if kind == MQTT:
        return _mqtt(table, around)
    if kind == FILE:
        return UpstreamConfig(
            type=FILE,
            path=table.path_of("path", "upstream.jsonl", around.state),
            max_mib=table.integer("max_mib", 16, FILE_SIZES),
            keep=table.integer("keep", 4, KEPT_FILES),
        )
    return UpstreamConfig()


def clear_text_warning(upstream: UpstreamConfig) -> str:
    """Return the warning about a password that anyone on the way can read, or ""."""
    if not upstream.password or upstream.is_tls or _LOOPBACK.fullmatch(upstream.host):
        return ""
    return f"[upstream] sends its password unencrypted to {upstream.host}: use mqtts://"


def _refuse_keys_of_other_types(table: TableReader, kind: str) -> None:
    for key in table.keys():  # noqa: SIM118 (no mapping)
        owner = next((owner for owner, keys in KEYS_OF_TYPE.items() if key in keys), kind)
        if owner != kind:
            expected = f'no such key with type = "{kind}"'
            raise table.wrong(key, expected, f'{key} belongs to type = "{owner}"', got=Words("…"))


def _mqtt(table: TableReader, around: Surroundings) -> UpstreamConfig:
    address = _address(table)
    protocol = table.choice("protocol", 5, (5, 311))
    username = table.secret("username", around.base, around.environ)
    password = table.secret("password", around.base, around.environ)
    if password and not username and protocol == 311:
        raise table.wrong("username", "a user name: MQTT 3.1.1 allows no password without one")
    return UpstreamConfig(
        type=MQTT,
        username=username,
        password=password,
        client_id=table.string("client_id", max_chars=128),
        protocol=protocol,
        keepalive_s=table.integer("keepalive_s", 60, KEEPALIVES),
        topic=_topic(table),
        envelope=table.boolean("envelope", False),
        **address,
        **_tls_files(table, around.base, bool(address["is_tls"])),
    )


def _address(table: TableReader) -> dict[str, Any]:
    written = table.value("url")
    if isinstance(written, str) and "@" in written:  # before anything else: no other message may show this one
        hint = "put the user in the keys username and password"
        raise table.wrong("url", _URL_RULE, hint, got=Words(f"'…@{printable(written.rpartition('@')[2])}'"))
    url = table.string("url", None, rule=_URL_RULE)
    found = _URL.fullmatch(url)
    if found is None:
        raise table.wrong("url", _URL_RULE, f"write mqtt://{url}" if "://" not in url else "")
    scheme, rest = found["scheme"].lower(), _REST.fullmatch(found["rest"])
    if scheme not in _PORTS or rest is None:
        raise table.wrong("url", _URL_RULE, _url_hint(scheme))
    if not _HOST.fullmatch(found["host"]):
        raise table.wrong("url", _URL_RULE, "the host is missing or not the name or address of one")
    port = int(rest["port"] or _PORTS[scheme])
    if not 1 <= port <= 65_535:
        raise table.wrong("url", _URL_RULE, "a port is a number from 1 to 65535")
    return {"url": url, "host": found["host"].strip("[]"), "port": port, "is_tls": scheme == "mqtts"}


def _url_hint(scheme: str) -> str:
    known = {"tcp": "mqtt", "ssl": "mqtts", "tls": "mqtts", "mqtt+ssl": "mqtts", "mqttss": "mqtts"}
    if scheme in known:
        return f"write {known[scheme]}:// for {scheme}://"
    if scheme in ("ws", "wss", "http", "https"):
        return "use the port on which the broker speaks plain MQTT or MQTT over TLS"
    return "" if scheme not in _PORTS else "only a port may follow the host"


def _tls_files(table: TableReader, base: str, is_tls: bool) -> dict[str, Any]:
    for key in TLS_KEYS:
        if key in table and not is_tls:
            raise table.wrong(key, "no such key with mqtt://", "write mqtts:// in url to encrypt the connection")
    if "key_file" in table and "cert_file" not in table:
        raise table.wrong("cert_file", "the certificate that belongs to key_file", "add cert_file to [upstream]")
    return {key: table.readable_file(key, base) for key in TLS_KEYS}


def _topic(table: TableReader) -> str:
    topic = table.string("topic", DEFAULT_TOPIC, max_chars=MAX_TOPIC_CHARS)
    plain = _PLACEHOLDER.sub("x", topic)
    if not topic or "{" in plain or "}" in plain:
        raise table.wrong("topic", "a topic, in which only {device}, {module} and {output} are replaced")
    if "+" in topic or "#" in topic:
        raise table.wrong("topic", "a topic without the wildcards + and #")
    return topic
