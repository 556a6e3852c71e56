"""While the broker is there, the card is left alone."""

from __future__ import annotations

from pathlib import Path

from support.mosquitto import Mosquitto
from support.runtime import Runtime, Source

COUNT = 1_000
SENDER = Source(f"""
def main(client):
    client.ready()
    client.wait(1)
    for number in range({COUNT}):
        client.send("readings", {{"count": number}})
    client.flush(15)
    client.run()
""")


def database(state: Path) -> dict[str, bytes]:
    return {name: (state / name).read_bytes() for name in ("queue.db", "queue.db-wal") if (state / name).exists()}


def written_by(pid: int) -> int:
    with open(f"/proc/{pid}/io") as stream:
        return next(int(line.split()[1]) for line in stream if line.startswith("write_bytes"))


def test_messages_write_nothing_while_the_broker_is_there(tmp_path, mosquitto_program):
    (tmp_path / "broker").mkdir()
    with Mosquitto(str(tmp_path / "broker")) as broker:
        upstream = f'[upstream]\ntype = "mqtt"\nurl = "mqtt://127.0.0.1:{broker.port}"\n'
        with Runtime(tmp_path / "device", {"sender": SENDER}, upstream=upstream) as runtime:
            runtime.wait_for(lambda: runtime.status()["upstream"]["state"] == "connected", "connection")
            twins = [runtime.state_dir / "twins" / f"{name}.json" for name in ("sender", "$edgeAgent")]
            runtime.wait_for(lambda: all(twin.exists() for twin in twins), "twins, which a start writes once")
            before, written = database(runtime.state_dir), written_by(runtime.pid)
            runtime.wait_for(lambda: runtime.status()["upstream"]["delivered"] >= COUNT, "delivery", 15)
            after, written_after = database(runtime.state_dir), written_by(runtime.pid)

    assert before == after
    assert before
    assert written_after == written
