"""Virtual time with real descriptors: what is ready is called when the test says so."""

from __future__ import annotations

import select
from collections.abc import Callable

from support.virtual_reactor import VirtualReactor


class DescriptorReactor(VirtualReactor):
    """A VirtualReactor with descriptors. `settle` calls what is ready and due until nothing is."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: dict[int, Callable[[], None]] = {}
        self.writers: dict[int, Callable[[], None]] = {}

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        self.readers[fd] = callback

    def remove_reader(self, fd: int) -> None:
        self.readers.pop(fd, None)

    def add_writer(self, fd: int, callback: Callable[[], None]) -> None:
        self.writers[fd] = callback

    def remove_writer(self, fd: int) -> None:
        self.writers.pop(fd, None)

    def settle(self) -> None:
        while True:
            self.turn()
            readable, writable, _ = select.select(list(self.readers), list(self.writers), [], 0)
            if not readable and not writable:
                return
            for fd in readable:
                if fd in self.readers:
                    self.readers[fd]()
            for fd in writable:
                if fd in self.writers:
                    self.writers[fd]()

    def pass_time(self, seconds: float) -> None:
        """Let time pass and call what is ready then."""
        self.advance(seconds)
        self.settle()
