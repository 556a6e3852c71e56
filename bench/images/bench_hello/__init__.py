"""A module whose first message names its process."""

import os

from microedge import ModuleClient


def main(client: ModuleClient) -> None:
    client.ready()
    client.send("readings", b"%d " % os.getpid())
    client.run()
