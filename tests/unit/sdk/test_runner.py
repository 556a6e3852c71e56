"""From a START frame to the module's main, and from whatever that does to an exit code."""

from __future__ import annotations

import json
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.module_hub import start_document

from microedge import wire
from microedge.errors import RemoteProtocolError
from microedge.sdk.runner import load_entry, read_start, run_module

MAIN = "def main(client):\n    return 'main of ' + __name__\n"


@pytest.fixture(autouse=True)
def untouched_interpreter() -> Iterator[None]:
    """What a module's process may keep, this one must not."""
    modules, path = set(sys.modules), list(sys.path)
    handler = signal.getsignal(signal.SIGTERM)
    yield
    for name in set(sys.modules) - modules:
        del sys.modules[name]
    sys.path[:] = path
    signal.signal(signal.SIGTERM, handler)
    threading.stack_size(0)


def image(directory: Path, name: str = "probe_x", **files: str) -> dict[str, Any]:
    """Write an image and return its START document; the keys of `files` have __ for / and no .py."""
    home = directory / name
    home.mkdir()
    for file, text in {"__init__": MAIN, **files}.items():
        target = home / (file.replace("__", "/") + ".py" if file != "__init__" else "__init__.py")
        target.parent.mkdir(exist_ok=True)
        target.write_text(text)
    return start_document(image=name, image_dir=str(home), entry_module=name, entry_function="main")


# --- load_entry ---


def test_the_entry_is_the_function_that_the_manifest_names(tmp_path: Path):
    assert load_entry(image(tmp_path))(None) == "main of probe_x"


def test_an_entry_may_stand_in_a_module_of_the_package_and_import_relatively(tmp_path: Path):
    app = "from . import words\nfrom probe_x.words import hello\ndef go(client): return words.hello + hello\n"
    start = image(tmp_path, app=app, words="hello = 'hello'\n")
    start.update(entry_module="probe_x.app", entry_function="go")

    assert load_entry(start)(None) == "hellohello"


def test_a_module_that_is_called_like_a_library_harms_nobody(tmp_path: Path):
    start = image(
        tmp_path, "json", __init__="from .codec import name\ndef main(client): return name\n", codec="name = 1"
    )

    assert load_entry(start)(None) == 1
    assert sys.modules["json"] is json
    assert "json_module" in sys.modules


def test_a_module_that_is_called_like_a_library_that_is_not_loaded_harms_nobody(tmp_path: Path):
    sys.modules.pop("antigravity", None)
    load_entry(image(tmp_path, "antigravity"))

    assert "antigravity" not in sys.modules
    assert "antigravity_module" in sys.modules


def test_vendored_libraries_come_first(tmp_path: Path):
    start = image(
        tmp_path, lib__colorsys="value = 'vendored'", __init__="import colorsys\ndef main(c): return colorsys.value"
    )
    sys.modules.pop("colorsys", None)

    assert load_entry(start)(None) == "vendored"


@pytest.mark.parametrize(
    ("function", "module", "words"),
    [("start", "probe_x", "probe_x: no function 'start'"), ("__doc__", "probe_x", "no function '__doc__'")],
)
def test_a_missing_entry_says_which(tmp_path: Path, function: str, module: str, words: str):
    start = image(tmp_path)
    start.update(entry_module=module, entry_function=function)

    with pytest.raises(ImportError, match=words):
        load_entry(start)


def test_a_missing_module_of_the_package_is_an_import_error(tmp_path: Path):
    start = image(tmp_path)
    start["entry_module"] = "probe_x.app"

    with pytest.raises(ImportError, match=r"probe_x\.app"):
        load_entry(start)


# --- run_module ---


def run(start: dict[str, Any]) -> tuple[int, list[int]]:
    """Return the exit code and the types of the frames that the hub received."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        code = run_module(theirs, start)
        theirs.shutdown(socket.SHUT_WR)
        decoder, kinds = wire.Decoder(wire.FROM_MODULE), []
        while data := ours.recv(1 << 16):
            kinds += [frame[0] for frame in decoder.feed(data)]
    return code, kinds


@pytest.mark.parametrize(
    ("code", "expected", "words"),
    [
        ("def main(client): pass", 0, ""),
        ("def main(client): return 5", 0, ""),
        ("import sys\ndef main(client): sys.exit()", 0, ""),
        ("import sys\ndef main(client): sys.exit(7)", 7, ""),
        ("import sys\ndef main(client): sys.exit(256 + 3)", 3, ""),
        ("import sys\ndef main(client): sys.exit('no probe')", 1, "<3>no probe"),
        ("def main(client): raise OSError('no probe')", 1, "<3>OSError: no probe"),
        ("def main(client): import no_such_thing", 1, "<3>ModuleNotFoundError: No module named 'no_such_thing'"),
        ("def main(client): raise KeyboardInterrupt", 1, "KeyboardInterrupt"),
        ("import no_such_thing", 78, "<3>ModuleNotFoundError: No module named 'no_such_thing'"),
        ("def main(client) pass", 78, "<3>SyntaxError"),
        ("x = 1", 78, "no function 'main'; see entry in module.toml"),
        ("raise OSError('the bus is not there yet')", 1, "<3>OSError: the bus is not there yet"),
        ("import sys\nsys.exit(78)", 78, ""),
        ("import sys\ndef main(client): sys.stdout.close()", 0, ""),
        ("async def main(client): return 5", 0, ""),
        ("import sys\nasync def main(client): sys.exit(7)", 7, ""),
        (
            "import sys\nasync def main(client):\n  client.every(0.001, lambda: sys.exit(7))\n  await client.run()",
            7,
            "",
        ),
        ("async def main(client): raise OSError('no probe')", 1, "<3>OSError: no probe"),
        ("async def main(client): raise KeyboardInterrupt", 1, "KeyboardInterrupt"),
        ("import sys\ndef main(client): sys.stdout = None", 0, ""),
    ],
)
def test_every_end_of_a_module_has_its_exit_code(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    code: str,
    expected: int,
    words: str,
):
    with open("/dev/null", "w") as null:
        monkeypatch.setattr(sys, "stdout", null)
        assert run(image(tmp_path, __init__=code))[0] == expected

    assert words in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["", "async "])
def test_the_traceback_begins_in_the_modules_own_code(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str):
    run(image(tmp_path, __init__=f"{kind}def main(client):\n    read()\ndef read():\n    raise OSError('no probe')\n"))

    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].endswith("in main")
    assert not any("runner.py" in line for line in lines)


@pytest.mark.parametrize(("kind", "wait"), [("", ""), ("async ", "await ")])
def test_what_was_sent_before_main_returned_reaches_the_hub(tmp_path: Path, kind: str, wait: str):
    code = f"{kind}def main(client):\n    for n in range(50): {wait}client.send('readings', n)\n"

    code, kinds = run(image(tmp_path, __init__=code))
    assert (code, kinds.count(wire.SEND)) == (0, 50)


@pytest.mark.parametrize(("kind", "wait"), [("", ""), ("async ", "await ")])
def test_a_module_whose_hub_is_gone_ends_with_70(tmp_path: Path, kind: str, wait: str):
    code = f"{kind}def main(client):\n    while True: {wait}client.send('readings', 1)\n"
    start = image(tmp_path, __init__=code)
    ours, theirs = socket.socketpair()
    ours.close()
    with theirs:
        assert run_module(theirs, start) == 70


@pytest.mark.parametrize(("kind", "wait"), [("", ""), ("async ", "await ")])
def test_sigterm_asks_a_module_to_return(tmp_path: Path, kind: str, wait: str):
    code = f"{kind}def main(client):\n    os.kill(os.getpid(), signal.SIGTERM)\n    {wait}client.run()\n"
    code = f"import os, signal\n{code}"

    assert run(image(tmp_path, __init__=code))[0] == 0


def test_sigterm_during_the_wait_wakes_an_event_loop(tmp_path: Path):
    code = (
        "import asyncio, os, signal\n"
        "async def main(client):\n"
        "    asyncio.get_running_loop().call_later(0.02, os.kill, os.getpid(), signal.SIGTERM)\n"
        "    await client.run()\n"
    )

    assert run(image(tmp_path, __init__=code))[0] == 0
    assert callable(signal.getsignal(signal.SIGTERM)), "a second one must not kill while the last words go out"


# --- read_start ---


def read(stream: bytes, *, then_close: bool = True) -> tuple[dict[str, Any], bytes]:
    """Return what read_start made of `stream`, and what it left in the socket."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(stream)
        if then_close:
            ours.shutdown(socket.SHUT_WR)
        return read_start(theirs), theirs.recv(1 << 16)


def test_start_is_read_and_what_follows_it_is_left_for_the_client():
    start = wire.encode(wire.START, body=b'{"module":"north"}')
    stop = wire.encode(wire.STOP)

    assert read(start + stop) == ({"module": "north"}, stop)


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (b"", "closed the connection before START"),
        (wire.encode(wire.START, body=b"{}")[:-1], "closed the connection before START"),
        (wire.encode(wire.STOP), "type=68: expected START"),
        (b"x" * 24, "frame header"),
    ],
)
def test_anything_else_first_is_a_protocol_error(stream: bytes, words: str):
    with pytest.raises(RemoteProtocolError, match=words):
        read(stream)
