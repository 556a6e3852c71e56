"""A paho script that subscribes at QoS 1, counts, and reports when it has all messages."""

import time

from options import TOPIC, connect, options, report


def main() -> None:
    settings = options()
    wanted = int(settings["count"])
    seen: set[bytes] = set()
    latencies_s: list[float] = []

    def take(client, userdata, message) -> None:
        now_ns = time.monotonic_ns()
        number, taken_ns, _ = message.payload.split(b" ", 2)
        seen.add(number)
        latencies_s.append((now_ns - int(taken_ns)) / 1e9)
        if len(seen) == wanted:
            latencies_s.sort()
            report(settings["result"], {"count": len(seen), "p50_s": latencies_s[len(latencies_s) // 2]})

    connect(settings, lambda client: client.subscribe(TOPIC, qos=1)).on_message = take
    while True:
        time.sleep(60)


main()
