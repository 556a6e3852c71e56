"""A twin's file cut, garbled or half written: what is loaded afterwards is the twin as it was saved, last or last but
one."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time

import pytest

from microedge.errors import TwinError
from microedge.twin.store import TwinStore
from microedge.twin.stored import parse

T0 = 1_700_000_000_000

_WRITER = """
import sys
from microedge.twin.store import TwinStore

it = TwinStore(sys.argv[1], "greenhouse-7").open("north", {"text": "x" * 2000}, {}, now_ms=0)
for n in range(1_000_000):
    it.twin.patch_desired({"n": n, "copy": n}, "cli", n)
    snapshot = it.twin.snapshot()
    assert it.file.write(snapshot.render())
    it.twin.saved(snapshot)
    sys.stdout.write(f"{n}\\n")
    sys.stdout.flush()
"""


def saved_twice(directory: str) -> tuple[str, bytes]:
    """Save a twin with n = 1 and again with n = 2; return the path and the second content."""
    it = TwinStore(directory, "greenhouse-7").open("north", {"a": 1}, {}, now_ms=T0)
    for n in (1, 2):
        it.twin.patch_desired({"n": n}, "cli", T0)
        snapshot = it.twin.snapshot()
        assert it.file.write(snapshot.render())
        it.twin.saved(snapshot)
    return it.file.path, snapshot.render()


def put(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


def loaded_n(directory: str) -> int:
    it = TwinStore(directory, "greenhouse-7").open("north", {"a": 1}, {}, now_ms=T0)
    return it.twin.desired["n"]


def test_a_file_cut_at_any_byte_is_never_taken_for_whole(tmp_path):
    _, data = saved_twice(str(tmp_path))
    whole = data.rstrip()

    for length in range(len(whole)):
        with pytest.raises(TwinError):
            parse(data[:length])
    assert parse(whole).state.desired.properties["n"] == 2


@pytest.mark.parametrize("tenth", range(10))
def test_a_file_cut_short_gives_way_to_its_previous_copy(tmp_path, tenth):
    path, data = saved_twice(str(tmp_path))
    put(path, data[: len(data) * tenth // 10])

    it = TwinStore(str(tmp_path), "greenhouse-7").open("north", {"a": 1}, {}, now_ms=T0)

    assert it.twin.desired == {"a": 1, "n": 1}
    assert len(it.notes) == 2
    assert os.path.exists(f"{path}.damaged-1")


@pytest.mark.parametrize("seed", range(20))
def test_blocks_of_garbage_zeros_or_old_data_are_never_taken_for_a_twin(tmp_path, seed):
    path, data = saved_twice(str(tmp_path))
    dice = random.Random(seed)
    torn = bytearray(data)
    for start in range(0, len(torn), 512):
        kind = dice.choice(["new", "new", "garbage", "zeros"])
        length = len(torn[start : start + 512])
        if kind != "new":
            torn[start : start + 512] = dice.randbytes(length) if kind == "garbage" else bytes(length)
    put(path, bytes(torn))

    assert loaded_n(str(tmp_path)) == (2 if torn == data else 1)


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"null", b"{}", b"\xff\xfe", b"[" * 100_000])
def test_any_other_content_is_set_aside(tmp_path, content):
    path, _ = saved_twice(str(tmp_path))
    put(path, content)

    assert loaded_n(str(tmp_path)) == 1
    with open(f"{path}.damaged-1", "rb") as file:
        assert file.read() == content


def test_with_both_copies_gone_the_twin_starts_anew_and_says_so(tmp_path):
    path, data = saved_twice(str(tmp_path))
    put(path, data[:100])
    put(f"{path}.previous", b"")

    it = TwinStore(str(tmp_path), "greenhouse-7").open("north", {"a": 1}, {}, now_ms=T0)

    assert it.twin.desired == {"a": 1}
    assert "starts anew" in it.notes[-1]


class PowerCutError(Exception):
    """The process ends here."""


@pytest.mark.parametrize("call", ["open", "fsync", "link", "replace", "unlink", "stat"])
@pytest.mark.parametrize("at", range(4))
def test_a_write_that_ends_at_any_system_call_leaves_a_twin(tmp_path, monkeypatch, call, at):
    saved_twice(str(tmp_path))
    it = TwinStore(str(tmp_path), "greenhouse-7").open("north", {"a": 1}, {}, now_ms=T0)
    it.twin.patch_desired({"n": 3}, "cli", T0)
    newer = it.twin.snapshot().render()
    real, left = getattr(os, call), [at]

    def cut(*arguments, **options):
        if not left[0]:
            raise PowerCutError
        left[0] -= 1
        return real(*arguments, **options)

    monkeypatch.setattr(os, call, cut)
    with contextlib.suppress(PowerCutError):
        it.file.write(newer)
    monkeypatch.undo()

    again = TwinStore(str(tmp_path), "greenhouse-7").open("north", {"a": 1}, {}, now_ms=T0)
    assert again.twin.desired["n"] in (2, 3)
    assert again.notes == ()


@pytest.mark.parametrize("seed", range(8))
def test_a_kill_at_any_moment_of_saving_keeps_the_last_or_the_next(tmp_path, seed):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", _WRITER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as child:
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(random.Random(seed).uniform(0.0, 0.2))
        child.kill()
        lines = (first + child.stdout.read()).split("\n")
    last = int(lines[-2])

    it = TwinStore(str(tmp_path), "greenhouse-7").open("north", {"text": "x" * 2000}, {}, now_ms=T0)

    assert it.twin.desired["n"] in (last, last + 1)
    assert it.twin.desired["copy"] == it.twin.desired["n"]
    assert it.notes == ()
    assert it.twin.dirty.value == "nothing"
