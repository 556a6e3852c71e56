"""Can the upstream be reached from here?"""

from __future__ import annotations

import concurrent.futures
import os
import socket
import time

from microedge.cli.checks.outcome import FAILED, OK, SKIPPED, WARNING, Outcome, Surroundings, skipped_without_config
from microedge.config.model import FILE, MQTT, UpstreamConfig

NAME = "upstream"

TIMEOUT_S = 3.0  # for the name and the connection together; a person waits for it


def find(around: Surroundings) -> list[Outcome]:
    """One outcome for the upstream. Blocks for at most 3 seconds."""
    if around.config is None:
        return skipped_without_config(NAME)
    upstream = around.config.upstream
    if upstream.type == FILE:
        return [_file(upstream.path)]
    if upstream.type != MQTT:
        return [Outcome(NAME, OK, "none: what goes INTO $upstream ends on this device")]
    if around.is_offline:
        return [Outcome(NAME, SKIPPED, f"{upstream.url} (--offline)")]
    return [reach(upstream)]


def reach(upstream: UpstreamConfig, *, timeout_s: float = TIMEOUT_S) -> Outcome:
    """Look the name up and connect. Neither TLS nor the user name is tried. Blocks for at most `timeout_s`."""
    started_s = time.monotonic()
    try:
        addresses = _addresses(upstream.host, upstream.port, timeout_s)
    except (OSError, concurrent.futures.TimeoutError) as error:
        why = getattr(error, "strerror", None) or f"no answer within {timeout_s:.0f} s"
        cure = "check [upstream] url and the network: ping, resolvectl status"
        return Outcome(NAME, FAILED, f"the name {upstream.host} cannot be looked up: {why}", cure)
    try:
        left_s = max(timeout_s - (time.monotonic() - started_s), 0.2)
        with socket.create_connection(addresses[0][:2], left_s):
            taken_ms = (time.monotonic() - started_s) * 1000
            return Outcome(NAME, OK, f"{upstream.host}:{upstream.port} takes connections ({taken_ms:.0f} ms)")
    except OSError as error:
        why = error.strerror or f"no answer within {timeout_s:.0f} s"
        found = f"{upstream.host}:{upstream.port} takes no connection: {why}; messages wait on this device"
        return Outcome(NAME, FAILED, found, "is the broker running, is the port right, does a firewall block it?")


def _addresses(host: str, port: int, timeout_s: float) -> list[tuple[str, int]]:
    # getaddrinfo has no timeout of its own; its thread ends when the resolver gives up.
    pool = concurrent.futures.ThreadPoolExecutor(1)
    try:
        found = pool.submit(socket.getaddrinfo, host, port, 0, socket.SOCK_STREAM).result(timeout_s)
    finally:
        pool.shutdown(wait=False)
    return [(str(entry[4][0]), port) for entry in found]


def _file(path: str) -> Outcome:
    directory = os.path.dirname(path)
    if os.path.isdir(directory) and not os.access(directory, os.W_OK | os.X_OK):
        return Outcome(NAME, FAILED, f"{path} cannot be written by this user", f"sudo chown $USER {directory}")
    if not os.path.isdir(directory):
        return Outcome(NAME, WARNING, f"{directory} does not exist yet", f"mkdir -p {directory}")
    return Outcome(NAME, OK, f"JSON lines in {path}")
