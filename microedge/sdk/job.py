"""One call of a module's handler that somebody waits for: the boundary between the SDK and the code of handlers."""

from __future__ import annotations

import os
import traceback

from microedge.errors import printable

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is, without loading typing (0.6 MiB resident)
if TYPE_CHECKING:
    from types import TracebackType

    from microedge.sdk.log import Log

_ERROR_CHARS = 1_000


class Job:
    """Send `beginning` at once if there is one, then `with job: job.result = job.run()`, then send `answer()`.

    An exception inside ends there: it is logged with its traceback and becomes the answer. What is no `Exception`
    (the end of the process, the cancellation of a task) passes through, and there is nothing to answer.
    """

    __slots__ = ("_log", "beginning", "failure", "result")

    def __init__(self, log: Log) -> None:
        self._log = log
        self.beginning = b""  # a frame: the hub wants to know before the handler runs, and at once what came of it
        self.result: object = None
        self.failure = ""  # what was raised, as one line

    @property
    def title(self) -> str:
        """What is done, as the log calls it."""
        raise NotImplementedError

    def run(self) -> object:
        """Call the handler and return what it returns; a coroutine is for the caller to await."""
        raise NotImplementedError

    def answer(self) -> bytes:
        """Return the frame that says how it went."""
        raise NotImplementedError

    def __enter__(self) -> Job:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self._log.error("%s failed: %r", self.title, error)
        traceback.print_exception(kind, error, own_trace(error))
        self.failure = printable(f"{type(error).__name__}: {error}", _ERROR_CHARS)
        return True


def is_async(function: object) -> bool:
    """True for an `async def`, without loading inspect (0.8 MiB resident)."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    return bool(getattr(code, "co_flags", 0) & 0x80)  # inspect.CO_COROUTINE


def own_trace(error: BaseException) -> TracebackType | None:
    """Return the traceback from the module's own frames on: those above them say nothing to its author."""
    trace = error.__traceback__
    above = (os.path.dirname(__file__), os.path.join(os.path.dirname(os.__file__), "asyncio"), "<frozen")
    while trace is not None and trace.tb_next and trace.tb_frame.f_code.co_filename.startswith(above):
        trace = trace.tb_next
    return trace
