"""Real cuts: ext4 on a loop device is shut down under a running queue, mounted again, and looked at. Needs root.

The file system is told to drop everything that is not on the device (EXT4_IOC_SHUTDOWN without a flush of its log),
so what comes back is what a device would find after its battery was pulled, directory entries and all.
"""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from support.queue_rig import QueueRig

from powercut.device import ENDPOINTS, drained, scratch

_SHUTDOWN, _NO_LOG_FLUSH = 0x8004587D, 2
_IMAGE_BYTES = 64 << 20
_PROGRAMS = ("mkfs.ext4", "mount", "umount")
_PATH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"

_WORK = """
import random, sys
from support.queue_rig import UPSTREAM, QueueRig, new_message
from powercut.promises import body_of
from powercut.weaker import synchronous

class Loud(QueueRig):
    def queue_settled(self, messages):
        say("settled", [message.sequence for message in messages])

def say(what, sequences):
    sys.stdout.write(f"{what} {' '.join(map(str, sequences))}\\n")
    sys.stdout.flush()

rig = Loud(sys.argv[1], max_bytes=1 << 20)
with synchronous(sys.argv[3]):
    rig.open()
say("open", [])
dice, sequence = random.Random(int(sys.argv[2])), 0
while True:
    for _ in range(dice.randint(1, 30)):
        sequence += 1
        rig.queue.append(new_message(sequence, body=body_of(sequence, dice.randint(10, 3000))), [(UPSTREAM, 9, -1)])
    rig.queue.set_live(UPSTREAM, True)
    rig.queue.set_live(UPSTREAM, False)
    rig.pump()
    leased = rig.lease(count=dice.randint(1, 40))
    say("acknowledged", [message.sequence for _, message in leased])
    rig.queue.ack([ticket for ticket, _ in leased])
    rig.pump()
"""


def why_not() -> str:
    """Return why no real cut is possible here, "" when it is."""
    missing = [name for name in _PROGRAMS if shutil.which(name, path=_PATH) is None]
    if os.geteuid() != 0:
        return "only root may mount"
    if missing:
        return f"not installed: {', '.join(missing)}"
    try:
        with _ext4():
            return ""
    except (OSError, subprocess.CalledProcessError) as error:
        return f"ext4 cannot be mounted from a file: {error}"


def cut_for_real(count: int, seed: int = 0, synchronous: str = "FULL") -> dict[str, Any]:
    """Cut the power `count` times and return the figures, for JSON; `synchronous` is what SQLite is told."""
    reason = why_not() if count else "none was asked for"
    if reason:
        return {"cuts": 0, "skipped": reason}
    settled, violations = 0, []
    with _ext4() as system:
        for number in range(count):
            dice = random.Random(f"cuts/{seed}/{number}")
            lines = _work_until_cut(system, dice, synchronous)
            said, text = _judge(system, lines)
            settled += said
            violations += [f"real cut {number} of seed {seed}: {text}"] if text else []
    return {"cuts": count, "settled_messages": settled, "violations": violations}


class _FileSystem:
    def __init__(self, image: str, directory: str) -> None:
        self.image = image
        self.directory = directory

    def mount(self) -> None:
        _run("mount", "-o", "loop,noatime", self.image, self.directory)

    def umount(self) -> None:
        _run("umount", self.directory)

    def shut_down(self) -> None:
        fd = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(fd)


@contextmanager
def _ext4() -> Iterator[_FileSystem]:
    with scratch() as root:
        system = _FileSystem(os.path.join(root, "image"), os.path.join(root, "mounted"))
        os.mkdir(system.directory)
        with open(system.image, "wb") as file:
            file.truncate(_IMAGE_BYTES)
        _run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", system.image)
        system.mount()
        try:
            yield system
        finally:
            system.umount()


def _work_until_cut(system: _FileSystem, dice: random.Random, synchronous: str) -> list[str]:
    """Have a process work on an empty directory, cut its power at some moment, and return what it had said by then."""
    directory = os.path.join(system.directory, "work")
    shutil.rmtree(directory, ignore_errors=True)
    os.mkdir(directory)
    os.sync()  # the directory is older than the queue
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", _WORK, directory, str(dice.getrandbits(32)), synchronous]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True
    ) as child:
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(dice.uniform(0.0, 0.3))
        system.shut_down()
        child.kill()
        lines = (first + child.stdout.read()).splitlines(keepends=True)
    system.umount()
    system.mount()
    return [line for line in lines if line.endswith("\n")]  # the last one may be cut in the middle of a number


def _judge(system: _FileSystem, lines: list[str]) -> tuple[int, str]:
    """Return how many messages had been settled, and what is wrong with what was found."""
    said: dict[str, list[int]] = {"open": [], "settled": [], "acknowledged": []}
    for line in lines:
        what, *sequences = line.split()
        said[what] += map(int, sequences)
    with scratch() as root:
        shutil.copytree(os.path.join(system.directory, "work", "0"), os.path.join(root, "found"))
        rig = QueueRig(root)
        os.rmdir(rig.directory)
        os.rename(os.path.join(root, "found"), rig.directory)
        try:
            rig.open()
            trouble = str(rig.queue.status()["reason"])
            got = [message.sequence for endpoint in ENDPOINTS for message in drained(rig, endpoint)]
        finally:
            rig.stop()
    missing = set(said["settled"]).difference(said["acknowledged"], got)
    if missing:
        return len(said["settled"]), f"{len(missing)} settled messages are missing: {sorted(missing)[:5]}"
    if said["settled"] and trouble:
        return len(said["settled"]), trouble
    return len(said["settled"]), "" if got == sorted(set(got)) else "messages came twice or out of order"


def _run(program: str, *arguments: str) -> None:
    subprocess.run([shutil.which(program, path=_PATH) or program, *arguments], check=True, capture_output=True)
