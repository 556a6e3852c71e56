"""A module that counts the messages of its input and reports when it has them all."""

import json
import os
import time

from microedge import Message, ModuleClient


def main(client: ModuleClient) -> None:
    wanted = client.desired["count"]
    seen: set[bytes] = set()
    latencies_s: list[float] = []

    def take(message: Message) -> None:
        now_ns = time.monotonic_ns()
        number, taken_ns, _ = message.body.split(b" ", 2)
        seen.add(number)
        latencies_s.append((now_ns - int(taken_ns)) / 1e9)
        if len(seen) == wanted:
            latencies_s.sort()
            report(client, {"count": len(seen), "p50_s": latencies_s[len(latencies_s) // 2]})

    client.on_input("readings", take)
    client.ready()
    client.run()


def report(client: ModuleClient, facts: dict[str, float]) -> None:
    file = os.path.join(client.data_dir, "result.json")
    with open(file + ".new", "w") as stream:
        json.dump(facts, stream)
    os.rename(file + ".new", file)
