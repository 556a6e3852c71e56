"""The life of a module on asyncio: main, the tasks beside it, frames, and the end of all that. The verbs are in aio.py.

Failures have one way: `_fail` keeps the first, cancels `main`, and whoever waits for the hub then or later raises it.
"""

from __future__ import annotations

import asyncio
import inspect
import math

from microedge import wire
from microedge.errors import RemoteProtocolError
from microedge.sdk.core import ClientCore
from microedge.sdk.link import HubGoneError

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is, without loading typing (0.6 MiB resident)
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any

    from microedge.sdk.link import Link


class AsyncCore(ClientCore):
    """What `AsyncModuleClient` stands on."""

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

    # --- The life of the module ---

    async def _live(self, main: Coroutine[Any, Any, object]) -> None:
        """Run `main` and the tasks beside it, to the end of all of them."""
        self._main = asyncio.ensure_future(main)
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
                    await end_of(self._configure(change, self.desired))
                continue
            job = self._next_job()
            if job is None:
                await self._idly(self._turn())
                continue
            with job:
                job.result = await end_of(job.run())
            self._answer(job)
            await asyncio.sleep(0)  # a backlog of plain functions must not keep the loop from turning

    async def _repeat(self, seconds: float, callback: Callable[[], object]) -> None:
        due_s = self._loop.time() + seconds
        me = asyncio.current_task()
        while not self._is_over and not self._is_stopping and self._timers.get(callback) is me:
            await self._idly(asyncio.sleep(due_s - self._loop.time()))
            due_s += seconds * (1 + (self._loop.time() - due_s) // seconds)
            await end_of(callback())

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
            await end_of(callback())

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


async def end_of(result: object) -> object:
    """Return what a callback has returned; of a coroutine, what comes of it."""
    return await result if inspect.isawaitable(result) else result


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
