"""A module that answers a method, or calls another module's again and again and reports how long each call took."""

import json
import os
import time

from microedge import ModuleClient


def main(client: ModuleClient) -> None:
    client.on_method("echo", lambda payload: payload)
    wanted = client.desired
    client.ready()
    if wanted["callee"]:
        report(client, [call(client, wanted["callee"]) for _ in range(wanted["count"])])
    client.run()


def call(client: ModuleClient, callee: str) -> float:
    began_s = time.perf_counter()
    answer = client.invoke(callee, "echo", {"celsius": 21.5}, connect_timeout_s=30)
    assert answer.status == 200, answer.status
    return time.perf_counter() - began_s


def report(client: ModuleClient, times_s: list[float]) -> None:
    file = os.path.join(client.data_dir, "result.json")
    with open(file + ".new", "w") as stream:
        json.dump({"times_s": times_s}, stream)
    os.rename(file + ".new", file)
