"""Which broker `microedge verify` listens to: that of the command line, or this device's own upstream."""

from __future__ import annotations

import os
from argparse import Namespace
from dataclasses import replace

from microedge.cli.failure import USAGE, CommandError
from microedge.cli.terminal import clean
from microedge.cli.verify_parse import filter_of
from microedge.config.document import Document
from microedge.config.model import UpstreamConfig
from microedge.config.reader import TableReader
from microedge.config.upstream import Surroundings, read_upstream
from microedge.errors import ConfigError
from microedge.upstream.settings import DEFAULT_TOPIC, UpstreamSettings

_OPTIONS = {"url": "--broker", "username": "--user", "password": "--password-file", "ca_file": "--ca-file"}
_MAX_FILTER_BYTES = 65_535


def settings_of(upstream: UpstreamConfig, device: str, client_id: str) -> UpstreamSettings:
    """Return how to connect as a client of its own with what the configuration says."""
    return UpstreamSettings(
        type="mqtt",
        device=device,
        host=upstream.host,
        port=upstream.port,
        tls=upstream.is_tls,
        username=upstream.username,
        password=upstream.password,
        ca_file=upstream.ca_file,
        cert_file=upstream.cert_file,
        key_file=upstream.key_file,
        client_id=client_id,
        protocol=upstream.protocol,
        keepalive_s=upstream.keepalive_s,
        topic=upstream.topic,
    )


def broker_of(args: Namespace) -> UpstreamConfig:
    """Return the broker that the options describe. Reads the file with the password.

    Raises:
        CommandError: an option is wrong.
    """
    given = {"url": args.broker, "username": args.user, "ca_file": args.ca_file}
    table: dict[str, object] = {"type": "mqtt", **{key: value for key, value in given.items() if value}}
    if args.password_file:
        table["password"] = {"file": args.password_file}
    around = Surroundings(os.getcwd(), os.getcwd(), os.environ)
    try:
        upstream = read_upstream(TableReader(Document("", table, {})), around)
    except ConfigError as error:
        option = next(option for key, option in _OPTIONS.items() if key in error.key)
        text = f"{option} {clean(repr(error.got))}: expected {error.expected}"
        raise CommandError(text, error.hint or "see: microedge verify --help", USAGE) from error
    return replace(upstream, topic=DEFAULT_TOPIC)


def topic_of(args: Namespace, template: str, device: str) -> str:
    """Return the topic filter to subscribe to; `device` is the only one that is meant, "" for all.

    Raises:
        CommandError: --topic is no topic filter.
    """
    if args.topic is None:
        return filter_of(template, device)
    topic: str = args.topic
    levels = topic.split("/")
    is_good = 0 < len(topic.encode()) <= _MAX_FILTER_BYTES and topic.isprintable()
    is_good = is_good and all(level in ("+", "#") or not set("+#") & set(level) for level in levels)
    if not is_good or "#" in levels[:-1]:
        raise CommandError(
            f"--topic {clean(topic)!r}: expected a topic filter, in which + stands for one level and # for the rest",
            f"for example --topic '{filter_of(DEFAULT_TOPIC)}'",
            USAGE,
        )
    return topic
