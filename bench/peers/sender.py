"""A paho script that publishes numbered, time-stamped messages at QoS 1 with a window, flat out or at a rate."""

import os
import threading
import time

from options import TOPIC, connect, options, report


def main() -> None:
    settings = options()
    client = connect(settings)
    window = int(settings["window"])
    room = threading.Semaphore(window)
    client.on_publish = lambda *_: room.release()
    while settings["go"] and not os.path.exists(settings["go"]):
        time.sleep(0.05)
    began_s = due_s = time.monotonic()
    size, is_noisy = int(settings["bytes"]) - 29, settings.get("noise") == "True"
    padding = b"x" * size
    rate_hz = float(settings["rate_hz"])
    for number in range(int(settings["count"])):
        room.acquire()
        if is_noisy:
            padding = os.urandom(size).hex().encode()[:size]
        client.publish(TOPIC, b"%08d %019d %b" % (number, time.monotonic_ns(), padding), qos=1)
        if rate_hz:
            due_s += 1 / rate_hz
            time.sleep(max(0.0, due_s - time.monotonic()))
    sent_s = time.monotonic()
    for _ in range(window):
        room.acquire()
    if settings["report"] == "True":
        report(settings["result"], {"sent_s": sent_s - began_s, "flushed_s": time.monotonic() - began_s})
    while True:
        time.sleep(60)


main()
