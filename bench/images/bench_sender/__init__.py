"""A module that sends numbered, time-stamped messages when it is told to go, and reports how long it took."""

import json
import os
import time

from microedge import ModuleClient


def main(client: ModuleClient) -> None:
    wanted = client.desired
    client.ready()
    while wanted["go"] and not os.path.exists(wanted["go"]):
        if not client.wait(0.05):
            return
    began_s = time.monotonic()
    send(client, wanted)
    sent_s = time.monotonic()
    client.flush(3_600)
    if wanted["report"]:
        report(client, {"sent_s": sent_s - began_s, "flushed_s": time.monotonic() - began_s})
    client.run()


def send(client: ModuleClient, wanted: dict) -> None:
    size, rate_hz, is_noisy = wanted["bytes"] - 29, wanted["rate_hz"], wanted["noise"]
    padding = b"x" * size
    due_s = time.monotonic()
    for number in range(wanted["count"]):
        if is_noisy:
            padding = os.urandom(size).hex().encode()[:size]
        client.send("readings", b"%08d %019d %b" % (number, time.monotonic_ns(), padding))
        if rate_hz:
            due_s += 1 / rate_hz
            client.wait(max(0.0, due_s - time.monotonic()))


def report(client: ModuleClient, facts: dict[str, float]) -> None:
    file = os.path.join(client.data_dir, "result.json")
    with open(file + ".new", "w") as stream:
        json.dump(facts, stream)
    os.rename(file + ".new", file)
