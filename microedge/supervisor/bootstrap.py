"""What a module's process does before its code runs: one path for forked and exec'd modules.

The order matters: descriptors first, so that whatever goes wrong afterwards reaches the module's log; the parent-death
signal last, because changes of identity clear it. See prctl(2), setrlimit(2).
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib.util
import os
import resource
import signal
import socket
import sys
import time
import traceback
from importlib.machinery import SourceFileLoader

from microedge.errors import ProtocolError
from microedge.sdk.runner import read_start, run_module
from microedge.supervisor.prctl import NO_NEW_PRIVS, PDEATHSIG, become_subreaper, prctl, set_process_name

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is, without loading typing (0.6 MiB resident)
if TYPE_CHECKING:
    from typing import Any, TextIO

IPC_FD = 3
_ADOPTION_S = 2.0  # until the double fork has made the supervisor our parent
_OOM_SCORE_ADJ = 400  # the kernel should take a module before the supervisor
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TZ", "VIRTUAL_ENV")


def arrange_descriptors(ipc_fd: int, log_fd: int) -> None:
    """Make 0 /dev/null, 1 and 2 the log, 3 the hub, and close everything else."""
    null_fd = os.open(os.devnull, os.O_RDWR)
    high = [os.dup2(fd, 100 + index) for index, fd in enumerate((null_fd, log_fd, log_fd, ipc_fd))]
    for target, source in enumerate(high):
        os.dup2(source, target, inheritable=True)
    for fd in _open_descriptors():
        if fd > IPC_FD:
            with contextlib.suppress(OSError):  # the listing's own
                os.close(fd)


def run(supervisor_pid: int) -> int:
    """Become the module that the START frame on descriptor 3 describes; return its exit code. Never raises."""
    os.setsid()
    become_subreaper()  # what the module leaves behind is its own, so that the supervisor finds it below it
    prctl(NO_NEW_PRIVS, 1)
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(signum, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), _text(1), _text(2)
    faulthandler.enable()  # SIGABRT, SIGSEGV and the like leave the stacks of all threads in the log
    sock = socket.socket(fileno=IPC_FD)
    try:
        start = read_start(sock)
        _compile_apart(start["image_dir"])
        _apply(start)
        _die_with(supervisor_pid)
    except (OSError, ValueError, ProtocolError):  # the boundary of the bootstrap: the module's log is the place
        traceback.print_exc()
        return 1
    code = run_module(sock, start)
    with contextlib.suppress(OSError, ValueError, AttributeError):  # the module may have closed or replaced it
        sys.stderr.flush()
    return code


def main() -> None:
    """Entry of an exec'd module: `python -I -c '...' SUPERVISOR_PID PATH`, with the descriptors in place."""
    os._exit(run(int(sys.argv[1])))


def _open_descriptors() -> list[int]:
    """Return what is open; without /proc, every number that could be: that may be a thousand million calls."""
    try:
        return [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        return list(range(IPC_FD + 1, os.sysconf("SC_OPEN_MAX")))


def _compile_apart(directory: str) -> None:
    """Have a process of its own write the image's byte code where it is missing or old.

    The compiler leaves up to 2 MB behind in the process that it works in. Not in lib/: installers compile.
    """
    if sys.dont_write_bytecode or not os.access(directory, os.W_OK):
        return
    files = [os.path.join(directory, name) for name in os.listdir(directory) if name.endswith(".py")]
    files = [file for file in files if _is_to_compile(file)]
    if not files:
        return
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        return
    try:
        for file in files:
            SourceFileLoader("", file).get_code("")
    finally:
        os._exit(0)  # a mistake in the image is told by the module that imports it


def _is_to_compile(file: str) -> bool:
    try:
        return os.stat(importlib.util.cache_from_source(file)).st_mtime < os.stat(file).st_mtime
    except OSError:
        return True


def _text(fd: int) -> TextIO:
    """A log takes every text: no locale and no broken file name may make a print fail."""
    return os.fdopen(fd, "w", 1, encoding="utf-8", errors="backslashreplace")


def _apply(start: dict[str, Any]) -> None:
    set_process_name(start["module"])
    limits = start["limits"]
    _limit(resource.RLIMIT_CORE, 0)  # a core dump is as large as the process, and lands on the card
    _limit(resource.RLIMIT_DATA, limits["memory_mib"] * 1_048_576)
    _limit(resource.RLIMIT_NOFILE, limits["open_files"])
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    os.environ.clear()
    os.environ.update(kept)
    os.environ.update({"HOME": start["data_dir"], **start["env"], "MICROEDGE_MODULE": start["module"]})
    os.umask(0o077)
    os.chdir(start["data_dir"])
    try:
        with open("/proc/self/oom_score_adj", "w") as stream:
            stream.write(str(_OOM_SCORE_ADJ))
    except OSError:
        pass  # no /proc, or a container that forbids it: the limit above is the real protection


def _limit(kind: int, value: int) -> None:
    """Set a soft and hard limit, never above what this process may have."""
    _, hard = resource.getrlimit(kind)
    bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (bound, bound))


def _die_with(supervisor_pid: int) -> None:
    """Have the kernel kill this process when the supervisor dies, and check that it has not died already.

    Raises:
        OSError: the supervisor is not our parent.
    """
    deadline_s = time.monotonic() + _ADOPTION_S
    while os.getppid() != supervisor_pid and time.monotonic() < deadline_s:
        time.sleep(0.0005)
    prctl(PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor_pid:
        raise OSError(f"the supervisor (pid {supervisor_pid}) is not the parent of this process; it has died")
