"""Bytes that really reach a disk: a file system of its own on a loop device, read through its block statistics.

`write_bytes` of a process leaves out the journal, which is most of what a small commit costs.
"""

from __future__ import annotations

import os
import subprocess

from processes import write_bytes

_IMAGE_BYTES = 256 * 1024 * 1024
_SECTOR_BYTES = 512
_SECTORS_WRITTEN, _FLUSHES = 6, 15  # the seventh and the sixteenth field of /sys/block/<device>/stat
_OPTIONS = "lazy_itable_init=0,lazy_journal_init=0"  # otherwise ext4 writes on by itself after mounting


class Device:
    """An ext4 of its own where root and loop devices allow it, else the processes' own accounts; see `how`."""

    def __init__(self, directory: str) -> None:
        self.directory = os.path.join(directory, "device")
        self._image = os.path.join(directory, "device.img")
        self._name = ""
        self.how = "per process, without the file system's journal"

    def __enter__(self) -> Device:
        os.mkdir(self.directory)
        if os.getuid() == 0 and os.path.exists("/dev/loop-control"):
            self._mount()
        return self

    def __exit__(self, *_: object) -> None:
        if self._name:
            _run("umount", "--lazy", self.directory)
            _run("losetup", "--detach", f"/dev/{self._name}")

    def written(self, pids: list[int]) -> int:
        """Return the bytes written so far, after telling the file system to write everything; `pids` where needed."""
        if not self._name:
            return write_bytes(pids)
        _run("sync", "--file-system", self.directory)
        return self._counter(_SECTORS_WRITTEN) * _SECTOR_BYTES

    def flushes(self) -> int:
        """Return how often the device was told to flush its cache; 0 where there is no device of its own."""
        return self._counter(_FLUSHES) if self._name else 0

    def _counter(self, field: int) -> int:
        with open(f"/sys/block/{self._name}/stat") as stream:
            return int(stream.read().split()[field])

    def _mount(self) -> None:
        with open(self._image, "wb") as stream:
            stream.truncate(_IMAGE_BYTES)
        try:
            _run("mkfs.ext4", "-q", "-E", _OPTIONS, self._image)
            name = _run("losetup", "--find", "--show", self._image).strip()
            self._name = os.path.basename(name)
            _run("mount", "-o", "noatime", name, self.directory)
        except (OSError, subprocess.CalledProcessError):
            if self._name:
                subprocess.run(["losetup", "--detach", f"/dev/{self._name}"], check=False)
            self._name = ""
            return
        self.how = "ext4 on a loop device, by its block statistics"


def _run(*arguments: str) -> str:
    return subprocess.run(arguments, check=True, capture_output=True, text=True).stdout
