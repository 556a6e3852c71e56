"""`microedge verify`: was anything lost, or did it come twice? From a recording, or from a broker as it comes."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import IO, TYPE_CHECKING, Any

from microedge.cli.failure import FAILED, OK, USAGE, CommandError
from microedge.cli.settings import client_of, config_of
from microedge.cli.terminal import clean, look_of, say
from microedge.cli.units import count, size
from microedge.cli.verify_analysis import Analysis, Sighting
from microedge.cli.verify_files import Recording, blocks_of, open_all
from microedge.cli.verify_parse import Topics, read_line, read_message
from microedge.cli.verify_view import MAX_NAMED, Findings, document_of, render
from microedge.config.model import FILE, MQTT, Config, UpstreamConfig
from microedge.errors import MicroedgeError
from microedge.names import UPSTREAM

if TYPE_CHECKING:
    from paho.mqtt.client import MQTTMessage

_PROGRESS_S = 0.2
_LIVE_OPTIONS = ("topic", "for_s", "idle_s")
_BROKER_OPTIONS = ("user", "password_file", "ca_file")


def show(args: Namespace) -> int:
    """Print what arrived and what is missing. Returns 1 when something is missing.

    Raises:
        CommandError: the arguments contradict each other, a source cannot be read, or it holds no message.
        MicroedgeError: the configuration is wrong, or the broker cannot be reached.
    """
    _check(args)
    config = None if args.source or args.broker else config_of(args)
    progress = Progress(sys.stderr)
    try:
        collector = _collect(args, config, progress)
    finally:
        progress.end()
    findings = collector.findings()
    if not findings.received:
        what = f"; {findings.unreadable:,} lines cannot be read: {findings.named[0]}" if findings.named else ""
        raise CommandError(f"no message of microedge found{what}", "see: microedge verify --help")
    if config is not None:
        findings.notes += own_notes(args, is_missing=bool(findings.missing))
    if args.json:
        say(json.dumps(document_of(findings), indent=2, ensure_ascii=False))
    else:
        say(render(findings, look_of(sys.stdout)))
    return FAILED if findings.missing else OK


class Collector:
    """Gathers what a source holds."""

    def __init__(self, topics: Topics) -> None:
        self.analysis = Analysis()
        self.notes: list[str] = []
        self._topics = topics
        self._unreadable = self._foreign = 0
        self._named: list[str] = []

    def take_file(self, recording: Recording, on_block: Callable[[int], None]) -> None:
        """Take every line of a file; `on_block` is called with the bytes of each block."""
        number = 0
        for lines, is_cut in blocks_of(recording):
            for line in lines:
                number += 1
                if line and not line.isspace():
                    self._take_line(line, recording.name, number, is_cut)
            on_block(sum(map(len, lines)) + len(lines))

    def take_message(self, message: MQTTMessage) -> None:
        """Take a message from a broker."""
        pairs: Any = getattr(message.properties, "UserProperty", ())
        try:
            self._take(read_message(message.topic, dict(pairs), message.payload, self._topics))
        except ValueError as error:
            self._note_unreadable(f"{clean(message.topic, 80)} ({clean(error)})")

    def findings(self) -> Findings:
        return Findings(self.analysis.runs, self._unreadable, self._named, self._foreign, self.notes)

    def _take_line(self, line: bytes, name: str, number: int, is_cut: bool) -> None:
        try:
            self._take(read_line(line, self._topics))
        except ValueError as error:
            if is_cut:
                self.notes.append(f"the last line of {clean(name)} is cut off, and not counted")
            else:
                self._note_unreadable(f"{clean(name)}:{number} ({clean(error)})")

    def _take(self, sighting: Sighting | None) -> None:
        if sighting is None:
            self._foreign += 1
        else:
            self.analysis.take(sighting)

    def _note_unreadable(self, where: str) -> None:
        self._unreadable += 1
        if len(self._named) < MAX_NAMED:
            self._named.append(where)


class Progress:
    """One line on a terminal that is drawn over; elsewhere nothing."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._next_s = 0.0

    def show(self, text: Callable[[], str]) -> None:
        """Show a text, unless another one came a moment ago; `text` is asked only if it is shown."""
        if self._is_terminal and time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + _PROGRESS_S
            self._stream.write(f"\r{text()}\x1b[K")
            self._stream.flush()

    def end(self) -> None:
        """Remove the line."""
        if self._next_s:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def own_notes(args: Namespace, *, is_missing: bool) -> list[str]:
    """Return what the supervisor of this device knows about messages that did not arrive; [] if none answers."""
    try:
        queue = client_of(args).request("queue")
    except MicroedgeError:
        return []
    endpoints = queue.get("endpoints") or []
    waiting = sum(each.get("messages") or 0 for each in endpoints if each.get("endpoint") == UPSTREAM)
    dropped = {reason: number for reason, number in (queue.get("dropped") or {}).items() if number}
    notes = [f"{count(waiting, 'message')} still to be delivered from this device"] if waiting else []
    if is_missing and dropped:
        counts = ", ".join(f"{clean(reason)} {number:,}" for reason, number in sorted(dropped.items()))
        notes.append(f"microedge itself has dropped, of all modules and since its queue was made: {counts}")
    return notes


def _check(args: Namespace) -> None:
    wrong = [name for name in (*_LIVE_OPTIONS, *_BROKER_OPTIONS) if getattr(args, name) is not None]
    if args.source and (args.broker or wrong):
        raise CommandError("a file and a broker: expected one of them", "see: microedge verify --help", USAGE)
    if not args.broker and set(wrong) & set(_BROKER_OPTIONS):
        raise CommandError("--user, --password-file and --ca-file: expected with --broker", exit_code=USAGE)


def _collect(args: Namespace, config: Config | None, progress: Progress) -> Collector:
    if args.source:
        return _read_files(args.source, progress)
    upstream = _upstream_of(args, config)
    if upstream.type == FILE:
        if any(getattr(args, name) is not None for name in _LIVE_OPTIONS):
            raise CommandError("the upstream is a file: expected no --topic, --for or --idle", exit_code=USAGE)
        return _read_files([upstream.path], progress)
    return _listen(args, upstream, config.device.id if config else "", progress)


def _upstream_of(args: Namespace, config: Config | None) -> UpstreamConfig:
    if config is None:
        from microedge.cli.verify_broker import broker_of

        return broker_of(args)
    if config.upstream.type not in (FILE, MQTT):
        raise CommandError(
            "this device has no upstream: [upstream] type is none",
            "name a recording, or a broker: microedge verify --broker mqtt://HOST",
            USAGE,
        )
    return config.upstream


def _read_files(paths: Sequence[str], progress: Progress) -> Collector:
    collector = Collector(Topics())
    done_bytes = 0

    def step(block_bytes: int) -> None:
        nonlocal done_bytes
        done_bytes += block_bytes
        progress.show(lambda: f"{size(done_bytes)} of {size(total_bytes)}" if total_bytes else size(done_bytes))

    with contextlib.ExitStack() as stack:
        recordings = open_all(paths, stack)
        total_bytes = sum(recording.size_bytes for recording in recordings)
        for recording in recordings:
            collector.take_file(recording, step)
    return collector


def _listen(args: Namespace, upstream: UpstreamConfig, device: str, progress: Progress) -> Collector:
    from microedge.cli.verify_broker import settings_of, topic_of
    from microedge.cli.verify_live import Subscriber, client_id

    topic = topic_of(args, upstream.topic, device)
    collector = Collector(Topics(upstream.topic, device))
    subscriber = Subscriber(settings_of(upstream, device, client_id()), topic, collector.take_message)
    end_s = float("inf")

    def begin() -> None:
        nonlocal end_s
        end_s = time.monotonic() + (float("inf") if args.for_s is None else args.for_s)

    def is_done() -> bool:
        progress.show(lambda: f"{count(collector.analysis.received, 'message')} of {clean(topic)}; Ctrl-C ends it")
        now_s = time.monotonic()
        return now_s >= end_s or (args.idle_s is not None and now_s - subscriber.last_s >= args.idle_s)

    with contextlib.suppress(KeyboardInterrupt):  # the way to end it: what came is reported
        subscriber.run(is_done, begin)
    if subscriber.interruptions:
        lost = count(subscriber.interruptions, "time")
        collector.notes.append(f"this reader lost its connection {lost}: what came meanwhile looks missing here")
    return collector
