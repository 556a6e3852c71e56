"""The child's entry: from a START frame to the module's `main`, and from whatever that does to an exit code.

Exit codes: 0 main returned; 1 it raised; 78 (EX_CONFIG) the code cannot be loaded, so that starting it again helps
nobody until something changes; otherwise what the module passed to sys.exit.
"""

from __future__ import annotations

import _thread
import contextlib
import importlib.util
import json
import os
import signal
import sys
import traceback

from microedge import wire
from microedge.errors import RemoteProtocolError, printable
from microedge.sdk.client import ModuleClient
from microedge.sdk.job import is_async, own_trace
from microedge.sdk.link import HubGoneError, Link

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is, without loading typing (0.6 MiB resident)
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any

EXIT_CONFIG = 78
EXIT_HUB_GONE = 70  # EX_SOFTWARE: nobody is left to read it but a person with strace
_THREAD_STACK_BYTES = 512 * 1024  # the default 8 MiB count in full against RLIMIT_DATA
_LAST_WORDS_S = 5.0  # for what is still in the buffer when main has returned


def read_start(sock: socket.socket) -> dict[str, Any]:
    """Block until the START frame is here and return what it says.

    Raises:
        RemoteProtocolError: the hub went away, or sent something else first.
    """
    decoder = wire.Decoder(wire.FROM_HUB)
    while True:
        data = sock.recv(decoder.missing_bytes)
        if not data:
            raise RemoteProtocolError("the hub closed the connection before START")
        for kind, _, _, _, body in decoder.feed(data):
            if kind != wire.START:
                raise RemoteProtocolError(f"first frame has type={kind}: expected START")
            start: dict[str, Any] = json.loads(body)
            return start


def run_module(sock: socket.socket, start: dict[str, Any]) -> int:
    """Load the module that `start` describes, call its `main`, and return the exit code. Never raises."""
    _thread.stack_size(_THREAD_STACK_BYTES)
    link = Link(sock)
    link.open()
    client = ModuleClient(link, start)
    signal.signal(signal.SIGTERM, lambda signum, frame: client.request_stop())
    entry, code = _guard(lambda: load_entry(start), on_error=EXIT_CONFIG)
    if entry is not None:
        _, code = _guard(lambda: enter(entry, client), on_error=1)
    with contextlib.suppress(OSError, ValueError, AttributeError):  # the module may have closed or replaced it
        sys.stdout.flush()
    try:
        link.drain(_LAST_WORDS_S)
    except HubGoneError:
        return EXIT_HUB_GONE
    return code


def load_entry(start: dict[str, Any]) -> Callable[[ModuleClient], object]:
    """Import the module image and return its entry function.

    The package is loaded from its directory under its own name, unless that name already belongs to something else
    (a module called `json` must harm nobody): then under `<name>_module`. Relative imports work either way.

    Raises:
        ImportError, SyntaxError: the code cannot be loaded, or has no such entry.
    """
    directory, name = start["image_dir"], start["image"]
    lib = os.path.join(directory, "lib")
    if os.path.isdir(lib):
        sys.path.insert(0, lib)
    package = name if name not in sys.modules and importlib.util.find_spec(name) is None else f"{name}_module"
    spec = importlib.util.spec_from_file_location(
        package, os.path.join(directory, "__init__.py"), submodule_search_locations=[directory]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{directory}: not a package")
    module = importlib.util.module_from_spec(spec)
    sys.modules[package] = module
    spec.loader.exec_module(module)
    tail = start["entry_module"].partition(".")[2]
    home = importlib.import_module(f"{package}.{tail}") if tail else module
    entry = getattr(home, start["entry_function"], None)
    if not callable(entry):
        raise ImportError(f"{start['entry_module']}: no function {start['entry_function']!r}; see entry in module.toml")
    found: Callable[[ModuleClient], object] = entry
    return found


def enter(main: Callable[..., object], client: ModuleClient) -> None:
    """Call a module's `main`, and return when it has ended: an `async def` on an event loop, with the client for that.

    Raises whatever it raises.
    """
    if is_async(main):
        from microedge.sdk.aio import run  # asyncio costs 7 MiB: only for those who use it

        run(client, main)  # type: ignore[arg-type]  # is_async looked at it
    else:
        main(client)


def _guard(step: Callable[[], Any], *, on_error: int) -> tuple[Any, int]:
    """Run a step of the module's code; whatever it raises becomes a traceback in its log and an exit code."""
    try:
        return step(), 0
    except SystemExit as request:
        return None, _exit_code(request.code)
    except HubGoneError:
        return None, EXIT_HUB_GONE
    except (ImportError, SyntaxError) as error:
        _explain(error)
        return None, on_error
    except BaseException as error:  # the boundary of the module's process
        _explain(error)
        return None, 1


def _explain(error: BaseException) -> None:
    sys.stderr.write("".join(traceback.format_exception(type(error), error, own_trace(error))))
    sys.stderr.write(f"<3>{printable(f'{type(error).__name__}: {error}', 500)}\n")
    sys.stderr.flush()


def _exit_code(code: object) -> int:
    """What sys.exit's argument means, as the interpreter has it: None is 0, a text goes to stderr and is 1."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    sys.stderr.write(f"<3>{printable(code, 500)}\n")
    return 1
