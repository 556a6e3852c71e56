from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from microedge.upstream.packets import FIRST_ID
from microedge.upstream.session import _client
from microedge.upstream.settings import UpstreamSettings


def test_the_packet_ids_of_paho_never_reach_those_of_messages():
    """Else, after 32,767 publications on one connection, an acknowledgement of one would pass for a message's."""
    link: Any = SimpleNamespace()
    client = _client(link, UpstreamSettings(type="mqtt", device="d"))
    client._last_mid = FIRST_ID - 2

    assert [client.publish("a", b"", qos=1).mid for _ in range(3)] == [FIRST_ID - 1, 1, 2]
