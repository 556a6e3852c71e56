"""The checks that need a network or a supervisor."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from microedge.cli.checks.outcome import FAILED, OK
from microedge.cli.checks.upstream import reach
from microedge.config.model import UpstreamConfig


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def upstream(host: str, port: int) -> UpstreamConfig:
    return UpstreamConfig(type="mqtt", url=f"mqtt://{host}:{port}", host=host, port=port)


def test_a_broker_that_takes_connections_is_well(listener):
    port = listener.getsockname()[1]

    assert reach(upstream("127.0.0.1", port)).outcome == OK


def test_a_refused_connection_says_so(listener):
    port = listener.getsockname()[1]
    listener.close()

    found = reach(upstream("127.0.0.1", port))

    assert found.outcome == FAILED
    assert f"127.0.0.1:{port} takes no connection: Connection refused" in found.found


def test_a_name_that_does_not_exist_says_so():
    found = reach(upstream("no-such-host.invalid", 1883))

    assert found.outcome == FAILED
    assert "the name no-such-host.invalid cannot be looked up" in found.found
