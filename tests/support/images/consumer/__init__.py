"""Appends the id, `run` and `n` of every message to the file `handled`, and dies by the plan."""

from __future__ import annotations

import os


def main(client) -> None:  # type: ignore[no-untyped-def]
    fd = os.open(os.path.join(client.data_dir, "handled"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    handled = 0

    def work(message) -> None:  # type: ignore[no-untyped-def]
        nonlocal handled
        if client.desired["crash_every"] and handled >= client.desired["crash_every"]:
            os._exit(3)
        body = message.json()
        os.write(fd, b"%b %d %d\n" % (message.message_id.encode(), body["run"], body["n"]))
        handled += 1

    client.on_input("work", work)
    client.ready()
    client.run()
