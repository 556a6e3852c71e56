from __future__ import annotations

import pytest
from support.reactor import TestReactor
from support.upstream_owner import Owner, make_message

from microedge.upstream import file
from microedge.upstream.file import FileConnector
from microedge.upstream.settings import UpstreamSettings


def test_half_a_module_s_window_is_flushed_without_waiting_for_the_interval(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(file, "SYNC_INTERVAL_S", 3600.0)
    settings = UpstreamSettings(type="file", path=str(tmp_path / "out.jsonl"))
    reactor = TestReactor()
    owner = Owner([make_message(n) for n in range(1, file.SYNC_MESSAGES + 1)])
    connector = FileConnector(settings, reactor)
    connector._synced_at = file.time.monotonic()  # as after a flush a moment ago
    owner.attach(connector)
    try:
        connector.open(owner)

        reactor.run_until(lambda: owner.is_idle)
    finally:
        connector.close(owner.close_done, 5.0)
        reactor.run_until(lambda: connector.status()["state"] == "closed")
        reactor.close()
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == file.SYNC_MESSAGES
