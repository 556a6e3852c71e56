"""A module that reports another value at a rate, and waits for each answer."""

import time

from microedge import ModuleClient


def main(client: ModuleClient) -> None:
    client.ready()
    number, due_s = 0, time.monotonic()
    while client.wait(max(0.0, due_s - time.monotonic())):
        number += 1
        client.report({"number": number, "celsius": 20 + number % 10 / 10})
        due_s += 1 / client.desired["rate_hz"]
