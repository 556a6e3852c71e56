"""AsyncModuleClient: the verbs of ModuleClient on asyncio, for a module whose `main` is `async def`.

One task takes what arrives, desired properties first, one thing at a time and in order, whatever else awaits: handlers
never run twice at the same moment, and a slow one holds back the next. `every` and `watch` have a task each. Whatever
such a task raises ends the module: `main` is cancelled, and what was raised comes out of `run`.

Progress is a timer of the event loop. So a module whose code blocks the loop is seen to hang.

asyncio costs a module 7 MiB; nothing else in the SDK imports it.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from contextlib import contextmanager

from microedge.errors import LocalProtocolError
from microedge.sdk.async_core import AsyncCore, end_of
from microedge.sdk.core import FOREVER_S, GRACE_S
from microedge.sdk.methods import no_answer

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is, without loading typing (0.6 MiB resident)
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from typing import Any

    from microedge.method import MethodResponse
    from microedge.sdk.client import ModuleClient
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
        await client._live(main(client))


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


class AsyncModuleClient(AsyncCore):
    """What an `async def main` gets as its argument. Callbacks may be functions or coroutine functions.

    Use it on its event loop only. What waits is to be awaited: `send`, `flush`, `report`, `invoke`, `wait`, `run` and
    `on_desired`.
    """

    # --- Sending ---

    async def send(
        self,
        output: str,
        body: object,
        *,
        properties: dict[str, str] | None = None,
        content_type: str | None = None,
        ttl_s: int | None = None,
        durability: str | None = None,
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
            await end_of(callback(self._twin.whole(), self.desired))
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
