"""Joins the judge to one client: messages in, what passes out, counters now and then."""

from __future__ import annotations

import time

from microedge.sdk.settings import follow_settings

from .facts import SOURCE_MODULE, SOURCE_OUTPUT, Facts, source_of  # noqa: TID252 (works under any package name)
from .judge import Judge  # noqa: TID252
from .settings import Settings  # noqa: TID252

TYPE_CHECKING = False
if TYPE_CHECKING:
    from microedge import Message, ModuleClient

    from .facts import Source  # noqa: TID252
    from .rules import Rule  # noqa: TID252

_JSON, _UTF8 = "application/json", "utf-8"
_MAX_MESSAGE_BYTES, _MAX_PROPERTIES = 262_144, 100  # of a message, see docs/limits.md
_MARK_BYTES = len(SOURCE_MODULE + SOURCE_OUTPUT) + 2 * 64


class Gate:
    """One filter at work. Single-threaded; `run` is all there is to call."""

    def __init__(self, client: ModuleClient, settings: Settings) -> None:
        self._client = client
        self._log = client.log
        self._sent_status: dict[str, object] = {}
        self._use(settings)

    def run(self) -> None:
        """Filter until the client is asked to stop.

        Raises:
            HubGoneError: the supervisor is gone.
        """
        follow_settings(self._client, Settings, self._change)
        self._client.on_input("in", self._on_message)
        self._client.ready()
        self._client.run()
        self._send_status()

    def _use(self, settings: Settings) -> None:
        self._settings = settings
        self._judge = Judge(settings)
        self._client.every(settings.status_interval_s, self._send_status)
        self._warned: set[str] = set()

    def _change(self, settings: Settings) -> None:
        """Take new settings and forget all sources."""
        if settings.written != self._settings.written:
            self._use(settings)
            self._log.info("settings changed; rules=%d", len(settings.rules))

    def _on_message(self, message: Message) -> None:
        source = source_of(message.module, message.output, message.properties)
        decision = self._judge.decide(Facts(source, message.properties, message.body), time.monotonic())
        for rule in decision.missed:
            self._warn_once(rule, source)
        if decision.passes:
            self._pass_on(message, source)

    def _pass_on(self, message: Message, source: Source) -> None:
        properties = message.properties
        if len(properties) <= _MAX_PROPERTIES - 2 and message.size_bytes <= _MAX_MESSAGE_BYTES - _MARK_BYTES:
            properties = {**properties, SOURCE_MODULE: source[0], SOURCE_OUTPUT: source[1]}
        self._client.send(
            "out",
            _body_of(message),
            properties=properties,
            content_type=message.content_type or None,
            ttl_s=message.envelope.ttl_s,
            durability=message.envelope.durability,
        )

    def _warn_once(self, rule: Rule, source: Source) -> None:
        """Say that a rule finds no field: a misspelt one would go unnoticed otherwise, because everything passes."""
        if rule.name in self._warned:
            return
        self._warned.add(rule.name)
        self._log.warning(
            "rule %s: nothing to judge at field=%s in a message of %s/%s; missing=%s, counted as field_missing",
            rule.name, ".".join(rule.path or ()) or "$body", *source, self._settings.missing,
        )  # fmt: skip

    def _send_status(self) -> None:
        status = self._judge.status()
        if status != self._sent_status:
            self._sent_status = status
            self._client.send("status", status)


def _body_of(message: Message) -> bytes | str:
    """Return the body as `send` keeps both its bytes and its encoding: it says utf-8 of text, and of JSON by itself."""
    if message.content_encoding == _UTF8 and message.content_type not in ("", _JSON):
        try:
            return message.body.decode()
        except UnicodeDecodeError:  # the sender was wrong about it; the bytes matter more
            return message.body
    return message.body
