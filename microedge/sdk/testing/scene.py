"""What a process would have of its own and a thread has not: streams, directory, environment, imported packages.

A module's is put in place for each of its turns and taken away afterwards, so that two instances of one image do not
share their variables, and the test keeps what is its own.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import TextIO

Take = Callable[[str], None]


class Scene:
    """The surroundings of one module's process; lines that it prints go to `take`, and to the test's stderr."""

    def __init__(self, image: str, directories: tuple[str, str], env: Mapping[str, str], take: Take) -> None:
        """`directories` are those of the image ("" for a module that is only a function) and of its data."""
        self._packages = (image, f"{image}_module")  # the names under which `load_entry` imports it
        self._image_dir, self._data_dir = directories
        self._lib = os.path.join(self._image_dir, "lib")
        self._env = dict(env)
        self._stream = LineStream(take)
        self._imported: dict[str, ModuleType] = {}
        self._hidden: dict[str, ModuleType] = {}  # what the test has under the same names
        self._size_within = self._size_without = -1  # of sys.modules: looked through only when it has changed
        self._has_lib = False

    @contextmanager
    def set_up(self) -> Iterator[None]:
        """Let everything that happens within the block happen in these surroundings."""
        streams, directory = (sys.stdout, sys.stderr), os.getcwd()
        variables = {name: os.environ.get(name) for name in self._env}
        self._enter_packages()
        self._stream.beyond = sys.stderr
        sys.stdout = sys.stderr = self._stream
        os.environ.update(self._env)
        os.chdir(self._data_dir)
        try:
            yield
        finally:
            os.chdir(directory)
            _restore(variables)
            sys.stdout, sys.stderr = streams
            self._stream.beyond = None
            self._leave_packages()

    def strike(self) -> None:
        """Forget what was imported from the image's directory, so that the next test imports it anew."""
        self._imported = {}
        inside = f"{self._image_dir}{os.sep}"
        for name, module in list(sys.modules.items()):
            if self._image_dir and str(getattr(module, "__file__", None)).startswith(inside):
                del sys.modules[name]

    def _enter_packages(self) -> None:
        if len(sys.modules) != self._size_without:
            self._hidden = self._packages_here()
        _exchange(self._hidden, self._imported)
        self._size_within = len(sys.modules)
        if self._has_lib:
            sys.path.insert(0, self._lib)

    def _leave_packages(self) -> None:
        if len(sys.modules) != self._size_within:
            self._imported = self._packages_here()
        _exchange(self._imported, self._hidden)
        self._size_without = len(sys.modules)
        self._has_lib = self._lib in sys.path
        if self._has_lib:
            sys.path.remove(self._lib)

    def _packages_here(self) -> dict[str, ModuleType]:
        return {name: each for name, each in sys.modules.items() if name.partition(".")[0] in self._packages}


class LineStream(io.TextIOBase):
    """A text stream that gives each complete line to `take`, and passes everything on to `beyond`."""

    encoding = "utf-8"

    def __init__(self, take: Take) -> None:
        self.beyond: TextIO | None = None
        self._take = take
        self._rest = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._take(line)
        if self.beyond is not None:
            self.beyond.write(text)
        return len(text)


def _exchange(old: Mapping[str, ModuleType], new: Mapping[str, ModuleType]) -> None:
    for name in old:
        sys.modules.pop(name, None)
    sys.modules.update(new)


def _restore(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
