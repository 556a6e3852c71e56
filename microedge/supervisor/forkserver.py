"""The fork server: a small process that turns into modules.

It is forked from the supervisor before that loads configuration, keys or SQLite and before any thread starts, so that
a module inherits none of it. A module then costs what it writes itself: the interpreter, the SDK and the standard
library's pieces are shared pages. After loading them the collector is told to leave them alone (gc.freeze), which is
what keeps them shared.

It forks twice: the child in between exits, so that the module becomes the supervisor's own child (the supervisor is a
subreaper) and this server may die without harm. Requests and answers are JSON packets on a SOCK_SEQPACKET pair:

    {"spawn": 7, "launch": "fork"} + descriptors (hub, log)  ->  {"spawn": 7, "pid": 4711} or "error" for "pid"
    {"preload": ["decimal", ...]}                            ->  nothing
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import sys

from microedge.supervisor.prctl import set_process_name

PACKET_BYTES = 16_384
_PRELOAD = (  # what nearly every module meets sooner or later: shared if it is here, private to each if it is not
    "microedge.supervisor.bootstrap",  # first, so that what every module writes to lies close together
    "_strptime",
    "array",
    "datetime",
    "encodings.ascii",
    "encodings.idna",
    "encodings.latin_1",
    "encodings.utf_8_sig",
    "importlib.util",
    "linecache",
    "math",
    "microedge.message",
    "random",
    "re",
    "stat",
    "string",
    "termios",
    "traceback",
)
# Isolated (-I), so that nothing in the current directory or the environment decides what runs; with the supervisor's
# own search path, because microedge may be installed where -I does not look (pip install --user).
_FRESH_CODE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); from microedge.supervisor.{} import main; main()"
)


def fork() -> tuple[int, socket.socket]:
    """Fork the server; return its pid and the supervisor's end of the control socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    supervisor_pid = os.getpid()
    gc.freeze()  # both go on sharing what is loaded so far: the collector would write to each object of it
    pid = os.fork()
    if pid == 0:
        ours.close()
        try:
            serve(theirs, supervisor_pid)
        finally:
            os._exit(0)
    theirs.close()
    return pid, ours


def spawn_fresh() -> tuple[int, socket.socket]:
    """Start a server in a new interpreter, when the first one has died; return as `fork` does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    arguments = fresh_arguments("forkserver", os.getpid())
    actions = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), 3)]
    pid = os.posix_spawn(sys.executable, arguments, os.environ, file_actions=actions)
    theirs.close()
    return pid, ours


def fresh_arguments(entry: str, supervisor_pid: int) -> list[str]:
    """Return the command line of a new interpreter that calls `main` of supervisor/<entry>.py."""
    return [sys.executable, "-I", "-c", _FRESH_CODE.format(entry), str(supervisor_pid), json.dumps(sys.path)]


def main() -> None:
    """Entry of a server in a new interpreter: control socket on descriptor 3, supervisor's pid as the argument."""
    serve(socket.socket(fileno=3), int(sys.argv[1]))


def serve(control: socket.socket, supervisor_pid: int) -> None:
    """Answer requests until the supervisor closes its end."""
    os.setsid()  # a terminal's Ctrl-C is for the supervisor
    set_process_name("microedge-fork")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _preload(_PRELOAD)
    while True:
        packet, descriptors, _, _ = socket.recv_fds(control, PACKET_BYTES, 2)
        if not packet:
            return
        request = json.loads(packet)
        if "preload" in request:
            _preload(request["preload"])
        else:
            control.send(json.dumps(_spawn(request, descriptors, control, supervisor_pid)).encode())


def _spawn(
    request: dict[str, object], descriptors: list[int], control: socket.socket, supervisor_pid: int
) -> dict[str, object]:
    answer: dict[str, object] = {"spawn": request["spawn"]}
    read_end, write_end = os.pipe()
    try:
        middle = os.fork()
        if middle == 0:
            _fork_again(write_end, request, descriptors, supervisor_pid)
        os.close(write_end)
        write_end = -1
        text = os.read(read_end, 200).decode()
        os.waitpid(middle, 0)
        answer.update({"pid": int(text)} if text.isdigit() else {"error": text or "the fork failed"})
    except OSError as error:
        answer["error"] = f"fork: {error.strerror}"
    finally:
        for fd in (read_end, write_end, *descriptors):
            if fd >= 0:
                os.close(fd)
    return answer


def _fork_again(write_end: int, request: dict[str, object], descriptors: list[int], supervisor_pid: int) -> None:
    """In the middle process: fork the module, tell its pid, and go. Never returns."""
    pid = -1
    try:
        pid = os.fork()
        if pid:
            os.write(write_end, str(pid).encode())
    except OSError as error:
        os.write(write_end, f"fork: {error.strerror}".encode())
    finally:
        if pid:
            os._exit(0)
    _become_module(request, descriptors, supervisor_pid)


def _become_module(request: dict[str, object], descriptors: list[int], supervisor_pid: int) -> None:
    """In the module's process. Never returns."""
    code = 1
    try:
        from microedge.supervisor import bootstrap  # preloaded; with the SDK it is nothing for the supervisor

        bootstrap.arrange_descriptors(*descriptors)
        if request["launch"] == "exec":
            os.execv(sys.executable, fresh_arguments("bootstrap", supervisor_pid))
        code = bootstrap.run(supervisor_pid)
    except OSError as error:
        os.write(2, f"<3>cannot become a module: {error.filename or sys.executable}: {error.strerror}\n".encode())
    finally:
        os._exit(code)


def _preload(names: object) -> None:
    """Load what modules will want. What cannot be loaded here is the module's own trouble when it asks for it."""
    for name in names if isinstance(names, (list, tuple)) else ():
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    gc.collect()
    gc.freeze()
