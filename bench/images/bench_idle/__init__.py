"""A module that waits a minute at a time, and only asks whether it should end."""

from microedge import ModuleClient


def main(client: ModuleClient) -> None:
    client.ready()
    while client.wait(60):
        pass
