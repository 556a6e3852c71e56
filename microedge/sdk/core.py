"""What every client of the hub is, whichever way it waits: who the module is, what it handles, what frames mean."""

from __future__ import annotations

from microedge import wire
from microedge.errors import LocalProtocolError
from microedge.message import BATCHED
from microedge.sdk.inputs import InputBox
from microedge.sdk.job import is_async
from microedge.sdk.log import Log
from microedge.sdk.methods import MethodPort
from microedge.sdk.twin import TwinPort
from microedge.sdk.window import Window

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is, without loading typing (0.6 MiB resident)
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from microedge.message import Message
    from microedge.sdk.job import Job
    from microedge.sdk.link import Link

GRACE_S = 5.0  # the hub keeps the time of a call; this is for a hub that does not
FOREVER_S = 3_600.0  # one turn of run(); poll() takes milliseconds in an int


class ClientCore:
    """Never waits and reads no clock: that is what `ModuleClient` and `AsyncModuleClient` add, each in its way."""

    _takes_coroutines = False

    def __init__(self, link: Link, start: dict[str, Any]) -> None:
        """`link` is open; `start` is the decoded START frame. Does no I/O."""
        self._link = link
        self._start = start
        self._progress_s: float = start["progress_s"]
        self.device: str = start["device"]
        self.module: str = start["module"]
        self.data_dir: str = start["data_dir"]
        self.log = Log(start["env"].get("LOG_LEVEL", "info"))
        self._is_stopping = False
        durability = start.get("durability", BATCHED)
        self._window = Window(start["outputs"], start["window"], start["window_bytes"], durability=durability)
        self._twin = TwinPort(start)
        self._configure: Callable[[Any, dict[str, Any]], object] | None = None
        self._inputs = InputBox(start["inputs"], self.log)
        self._methods = MethodPort(self.module, self.log)

    @property
    def identity(self) -> str:
        """The module identity, `/devices/<device>/modules/<module>`."""
        return f"/devices/{self.device}/modules/{self.module}"

    @property
    def generation(self) -> str:
        """The generation id: another one after the module was deleted and made again; "" when it runs alone."""
        generation: str = self._start.get("generation", "")
        return generation

    @property
    def desired(self) -> dict[str, Any]:
        """The desired properties, without `$version`. Another dict after each change, which `on_desired` tells."""
        return self._twin.desired

    @property
    def desired_version(self) -> int:
        """The `$version` of `desired`; 0 when the module runs alone."""
        return self._twin.version

    @property
    def reported(self) -> dict[str, Any]:
        """What this module has reported so far, in earlier runs, too, without `$version`. See `report`."""
        return self._twin.reported

    @property
    def is_stopping(self) -> bool:
        """True once the supervisor has asked this module to return from `main`."""
        return self._is_stopping

    def ready(self) -> None:
        """Tell the supervisor that the module works now. From here on inputs are delivered and hanging is noticed.

        Raises:
            HubGoneError: the supervisor is gone.
        """
        self._put_now(wire.encode(wire.READY))

    def on_input(self, name: str, callback: Callable[[Message], object]) -> None:
        """Call `callback(message)` for each message that a route brings to input `name`.

        It is acknowledged after the callback returns; an exception is logged and means that it is delivered again.

        Raises:
            LocalProtocolError: the manifest has no such input.
        """
        self._inputs.handle(name, self._checked(callback))
        self._wake()

    def on_method(self, name: str, callback: Callable[[Any], object]) -> None:
        """Let others call `callback(payload)` as direct method `name` of this module, one call at a time.

        It returns a JSON value, which is answered with status 200, or a `MethodResponse`. An exception is logged and
        answered with 500 and its text.

        Raises:
            LocalProtocolError: the name is not 1 to 100 printable ASCII characters without space, /, + and #.
        """
        self._methods.handle(name, self._checked(callback))

    def request_stop(self) -> None:
        """Make `wait` and `run` return: what the supervisor's stop and SIGTERM do."""
        self._is_stopping = True
        self._wake()

    # --- For the clients ---

    def _wake(self) -> None:
        """Whoever waits has to look again."""
        raise NotImplementedError

    def _put(self, frame: bytes) -> None:
        """Send a frame soon."""
        self._link.put(frame)

    def _put_now(self, frame: bytes) -> None:
        """Send a frame, and what is gathered before it, without waiting for more."""
        self._put(frame)
        self._link.write()

    def _read(self) -> None:
        """Take what has arrived."""
        for kind, number, time_ms, head, body in self._link.read():
            if kind == wire.ACK:
                self._window.acknowledge(number)
            elif kind == wire.DELIVER:
                self._inputs.take(number, time_ms, head.decode(), body)
            elif kind == wire.SUSPECT:
                self._inputs.take(number, time_ms, head.decode(), body, is_suspect=True)
            elif kind == wire.METHOD:
                self._methods.take_call(number, head, body)
            elif kind == wire.INVOKED:
                self._methods.take_answer(number, head, body)
            elif kind == wire.DESIRED:
                self._twin.take_desired(number, head, body)
            elif kind == wire.REPORTED:
                self._twin.take_answer(number, head, body)
            elif kind == wire.STOP:
                self._is_stopping = True

    def _next_job(self) -> Job | None:
        """Return what is to be done next, None for nothing; the hub has been told where it wants to know."""
        job = self._inputs.next_job() or self._methods.next_job()
        if job is not None and job.beginning:
            self._put_now(job.beginning)
        return job

    def _answer(self, job: Job) -> None:
        say = self._put_now if job.beginning else self._put
        say(job.answer())

    def _checked(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        """Return `callback`; one whose coroutine nobody would await must not pass for one that has done its work."""
        if is_async(callback) and not self._takes_coroutines:
            raise LocalProtocolError(
                f"{callback!r} is a coroutine function: expected def, or main to be async def, too"
            )
        return callback
