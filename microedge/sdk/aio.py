"""AsyncModuleClient: the verbs of ModuleClient on asyncio, for a module whose `main` is `async def`.

One task takes what arrives, desired properties first, one thing at a time and in order, whatever else awaits: handlers
never run twice at the same moment, and a slow one holds back the next. `every` and `watch` have a task each. Whatever
such a task raises ends the module: `main` is cancelled, and what was raised comes out of `run`.

Progress is a timer of the event loop. So a module whose code blocks the loop is seen to hang.

asyncio costs a module 7 MiB; nothing else in the SDK imports it.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import signal
import threading
from contextlib import contextmanager

from microedge import wire
from microedge.errors import LocalProtocolError, RemoteProtocolError
from microedge.message import BATCHED
from microedge.sdk.core import FOREVER_S, GRACE_S, ClientCore
from microedge.sdk.link import HubGoneError
from microedge.sdk.methods import no_answer

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is, without loading typing (0.6 MiB resident)
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator
    from typing import Any

    from microedge.method import MethodResponse
    from microedge.sdk.client import ModuleClient
    from microedge.sdk.link import Link
    from microedge.sdk.twin import DesiredPatch


def run(client: ModuleClient, main: Callable[[AsyncModuleClient], Coroutine[Any, Any, object]]) -> None:
    """Run `main` on an event loop of its own, with a client that takes the place of `client`; block until it returns.

    A handler that is at work by then comes to its end; the author's own tasks are cancelled. What `main` raised, or a
    callback outside of inputs and methods, comes out. SIGTERM asks the module to stop.

    Raises:
        LocalProtocolError: something was sent with `client` before.
        HubGoneError: the supervisor is gone.
    """
    if client._window.last:
        raise LocalProtocolError(f"{client._window.last} messages were sent already: expected a client of its own")
    asyncio.run(_live(client, main))


async def _live(former: ModuleClient, main: Callable[[AsyncModuleClient], Coroutine[Any, Any, object]]) -> None:
    client = AsyncModuleClient(former._link, former._start)
    with _stopped_by_sigterm(client):
        if former.is_stopping:
            client.request_stop()
        await client._live(main)


@contextmanager
def _stopped_by_sigterm(client: AsyncModuleClient) -> Iterator[None]:
    """Let SIGTERM ask for the stop, where signals are heard at all: on the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop, before = asyncio.get_running_loop(), signal.getsignal(signal.SIGTERM)
    loop.add_signal_handler(signal.SIGTERM, client.request_stop)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)  # leaves the default, which would kill while the last words go out
        signal.signal(signal.SIGTERM, before)


class AsyncModuleClient(ClientCore):
    """What an `async def main` gets as its argument. Callbacks may be functions or coroutine functions.

    Use it on its event loop only. What waits is to be awaited: `send`, `flush`, `report`, `invoke`, `wait`, `run` and
    `on_desired`.
    """

    _takes_coroutines = True

    def __init__(self, link: Link, start: dict[str, Any]) -> None:
        """`link` is open; `start` is the decoded START frame. To be built on a running event loop. Does no I/O."""
        super().__init__(link, start)
        self._loop = asyncio.get_running_loop()
        self._news: asyncio.Future[None] = self._loop.create_future()  # done when whoever waits has to look again
        self._failure: BaseException | None = None
        self._is_over = False  # main has returned: nothing new begins
        self._is_configuring = False  # in the first call of on_desired, which no change may overtake
        self._main: asyncio.Task[object] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle: set[asyncio.Task[Any]] = set()  # those that may be cancelled without breaking off anything
        self._timers: dict[Callable[[], object], asyncio.Task[None]] = {}
        self._watched: dict[int, asyncio.Task[None]] = {}
        self._is_writing = False

    # --- Sending ---

    async def send(
        self,
        output: str,
        body: object,
        *,
        properties: dict[str, str] | None = None,
        content_type: str | None = None,
        ttl_s: int | None = None,
        durability: str = BATCHED,
    ) -> int:
        """Send one message, as `ModuleClient.send`; with a full window, wait until the hub has acknowledged some.

        Cancelled while it waits, it has sent nothing.

        Raises:
            LocalProtocolError, ValueError, TypeError: as `ModuleClient.send`.
            HubGoneError: the supervisor is gone.
        """
        window = self._window
        head, data, size_bytes = window.message(
            output, body, properties, content_type, ttl_s=ttl_s, durability=durability
        )
        frame = window.frame(head, data, size_bytes)
        while not frame:
            await self._turn()
            frame = window.frame(head, data, size_bytes)
        sequence = window.last
        self._put(frame)
        return sequence

    async def flush(self, timeout_s: float) -> bool:
        """Wait until everything sent so far is acknowledged; return False when `timeout_s` is up before that.

        Raises:
            HubGoneError: the supervisor is gone.
        """
        last, deadline_s = self._window.last, self._loop.time() + timeout_s
        is_time_up = False
        while not self._window.is_acknowledged(last):
            if is_time_up:
                return False
            is_time_up = self._loop.time() >= deadline_s  # even then it looks at what has arrived
            await self._turn(deadline_s)
        return True

    async def report(self, patch: dict[str, Any]) -> int:
        """Change the reported properties and return their new version, as `ModuleClient.report`.

        Cancelled while it waits, it may have reported.

        Raises:
            TwinError, TypeError, ValueError: as `ModuleClient.report`.
            HubGoneError: the supervisor is gone.
        """
        request, frame = self._twin.ask(patch)
        self._put(frame)
        try:
            while not self._twin.answer(request):
                await self._turn()
            return self._twin.answer(request)
        finally:
            self._twin.forget(request)

    async def invoke(
        self, module: str, method: str, payload: object = None, timeout_s: float = 30.0, *, connect_timeout_s: float = 0
    ) -> MethodResponse:
        """Call a direct method of another module and return its answer, as `ModuleClient.invoke`.

        Cancelled while it waits, the method may run nevertheless.

        Raises:
            TypeError, ValueError: as `ModuleClient.invoke`.
            HubGoneError: the supervisor is gone.
        """
        times = {"timeout_s": timeout_s, "connect_timeout_s": connect_timeout_s}
        request, frame = self._methods.ask(module, method, payload, **times)
        self._put(frame)
        deadline_s = self._loop.time() + timeout_s + connect_timeout_s + GRACE_S
        was_stopping, answer = self._is_stopping, None
        try:
            while answer is None and self._loop.time() < deadline_s and self._is_stopping <= was_stopping:
                await self._turn(deadline_s)
                answer = self._methods.answer(request)
        finally:
            self._methods.forget(request)
        return answer or no_answer(module)

    # --- Receiving and waiting ---

    async def on_desired(self, callback: Callable[[DesiredPatch, dict[str, Any]], object]) -> None:
        """Call `callback(patch, desired)` with the whole document, then at each change; see `ModuleClient.on_desired`.

        Returns when the first call has come to its end.
        """
        self._is_configuring = True
        try:
            await _end_of(callback(self._twin.whole(), self.desired))
        finally:
            self._is_configuring = False
        self._configure = callback
        self._wake()

    def every(self, seconds: float, callback: Callable[[], object]) -> None:
        """Call `callback()` each `seconds`, as `ModuleClient.every`.

        Raises:
            ValueError: `seconds` is not above 0.
        """
        if seconds <= 0:
            raise ValueError(f"every({seconds!r}): expected more than 0 seconds")
        former = self._timers.pop(callback, None)
        if former is not None and former in self._idle:
            former.cancel()
        self._timers[callback] = self._begin(self._repeat(seconds, callback))

    def watch(self, fd: int, callback: Callable[[], object] | None) -> None:
        """Call `callback()` while descriptor `fd` is readable or its other end is gone; None ends the watch."""
        former = self._watched.pop(fd, None)
        if former is not None:
            self._loop.remove_reader(fd)
            if former in self._idle:
                former.cancel()
        if callback is not None:
            self._watched[fd] = self._begin(self._look_at(fd, callback))

    async def wait(self, seconds: float) -> bool:
        """Return True when `seconds` are over, False as soon as the module should end.

        Raises:
            HubGoneError: the supervisor is gone.
        """
        deadline_s = self._loop.time() + seconds
        while not self._is_stopping:
            await self._turn(deadline_s)
            if self._loop.time() >= deadline_s:
                return not self._is_stopping
        return False

    async def run(self) -> None:
        """Wait until the supervisor asks the module to end.

        Raises:
            HubGoneError: the supervisor is gone.
        """
        while await self.wait(FOREVER_S):
            pass

    # --- The life of the module ---

    async def _live(self, main: Callable[[AsyncModuleClient], Coroutine[Any, Any, object]]) -> None:
        """Run `main` and the tasks beside it, to the end of all of them."""
        self._main = asyncio.ensure_future(main(self))
        self._loop.add_reader(self._link.fileno(), self._safely, self._take)
        self._safely(self._say_progress)
        self._begin(self._obey())
        try:
            await asyncio.wait([self._main])
            if self._failure is None and not self._main.cancelled() and self._main.exception() is None:
                await self._wind_down()
        finally:
            self._loop.remove_reader(self._link.fileno())
            self._loop.remove_writer(self._link.fileno())
        if self._failure is not None:
            raise self._failure
        self._main.result()

    async def _wind_down(self) -> None:
        """Let the tasks at work come to their end, and end those that wait for something to do."""
        self._is_over = True
        for task in self._tasks & self._idle:
            task.cancel()
        while self._tasks and self._failure is None:
            await asyncio.wait(set(self._tasks))

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            error = task.exception()
            if error is not None:
                self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """The module cannot go on."""
        if self._failure is None:
            self._failure = error
            self._loop.remove_reader(self._link.fileno())
            if self._main is not None:
                self._main.cancel()
            self._wake()

    # --- Tasks beside main ---

    async def _obey(self) -> None:
        """Do what arrives, one thing after the other, until the module should end."""
        while not self._is_stopping and not self._is_over:
            change = None if self._is_configuring else self._twin.next_change()
            if change is not None:
                if self._configure is not None:
                    await _end_of(self._configure(change, self.desired))
                continue
            job = self._next_job()
            if job is None:
                await self._idly(self._turn())
                continue
            with job:
                job.result = await _end_of(job.run())
            self._answer(job)

    async def _repeat(self, seconds: float, callback: Callable[[], object]) -> None:
        due_s = self._loop.time() + seconds
        me = asyncio.current_task()
        while not self._is_over and not self._is_stopping and self._timers.get(callback) is me:
            await self._idly(asyncio.sleep(due_s - self._loop.time()))
            due_s += seconds * (1 + (self._loop.time() - due_s) // seconds)
            await _end_of(callback())

    async def _look_at(self, fd: int, callback: Callable[[], object]) -> None:
        me = asyncio.current_task()
        while not self._is_over and not self._is_stopping and self._watched.get(fd) is me:
            readable: asyncio.Future[None] = self._loop.create_future()
            self._loop.add_reader(fd, _settle, readable)
            try:
                await self._idly(readable)
            finally:
                if self._watched.get(fd) is me:
                    self._loop.remove_reader(fd)
            await _end_of(callback())

    async def _idly(self, something: Awaitable[object]) -> None:
        """Await what may be broken off when main has returned."""
        task = asyncio.current_task()
        assert task is not None
        self._idle.add(task)
        try:
            await something
        finally:
            self._idle.discard(task)

    # --- Frames ---

    async def _turn(self, until_s: float = math.inf) -> None:
        """Let the loop turn until there is news from the hub, at most until `until_s`."""
        if self._failure is None:
            timeout_s = None if until_s == math.inf else max(0.0, until_s - self._loop.time())
            await asyncio.wait([self._news], timeout=timeout_s)
        if self._failure is not None:
            raise self._failure

    def _wake(self) -> None:
        news, self._news = self._news, self._loop.create_future()
        _settle(news)

    def _put(self, frame: bytes) -> None:
        self._link.put(frame)
        if self._link.wants_to_write and not self._is_writing:
            self._is_writing = True
            self._loop.call_soon(self._safely, self._write)  # with all that is sent in this turn

    def _write(self) -> None:
        self._link.write()
        self._is_writing = self._link.wants_to_write
        if self._is_writing:
            self._loop.add_writer(self._link.fileno(), self._safely, self._write)
        else:
            self._loop.remove_writer(self._link.fileno())

    def _take(self) -> None:
        self._read()
        self._wake()

    def _say_progress(self) -> None:
        self._put_now(wire.encode(wire.PROGRESS))
        self._loop.call_later(self._progress_s, self._safely, self._say_progress)

    def _safely(self, step: Callable[[], None]) -> None:
        """Do a step of the loop's own: nobody stands above it whom its errors could reach."""
        try:
            step()
        except (HubGoneError, RemoteProtocolError) as error:
            self._fail(error)


async def _end_of(result: object) -> object:
    """Return what a callback has returned; of a coroutine, what comes of it."""
    return await result if inspect.isawaitable(result) else result


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
