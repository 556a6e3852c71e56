"""A module that has gone wrong: it prints without end."""

from microedge import ModuleClient


def main(client: ModuleClient) -> None:
    client.ready()
    line = "the same complaint again and again, " * 2
    while True:
        print(line)
