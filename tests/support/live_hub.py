"""The hub's side of one module on a thread of its own: the real session and the real twin, over a socketpair.

What a test says to the module goes out at once; what the module says is collected, acknowledged and answered.
"""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from microedge import wire
from microedge.errors import TwinError
from microedge.hub.calls import Invocation, invoked_frame, method_frame
from microedge.hub.session import Received, Session
from microedge.hub.twin_frames import desired_frame, report_refused_frame, reported_frame
from microedge.message import Envelope, Message, pack
from microedge.method import MethodResponse, refusal
from microedge.sdk.client import ModuleClient
from microedge.sdk.link import Link
from microedge.sdk.runner import enter
from microedge.twin.state import TwinState
from microedge.twin.twin import Twin
from support.module_hub import start_document

_JSON = Envelope("orders", content_type="application/json", content_encoding="utf-8")


class LiveHub:
    """`start` runs a module; `client` may be used instead. Lists grow as things arrive; wait with `wait_until`."""

    def __init__(
        self,
        *,
        window: int = 256,
        desired: dict[str, Any] | None = None,
        is_acknowledging: bool = True,
        is_answering: bool = True,
        answer: Callable[[Invocation], MethodResponse | None] = lambda invocation: refusal(404, "nobody"),
        **start: Any,
    ) -> None:
        self.twin = Twin("greenhouse-7", "north", TwinState())
        self.twin.reconcile(desired if desired is not None else {"interval_s": 5, "unit": "C"}, {}, 0)
        self.session = Session("north", "s1")
        self.messages: list[Message] = []
        self.begun: list[int] = []
        self.done: list[tuple[int, str]] = []
        self.results: list[tuple[int, MethodResponse]] = []
        self.invocations: list[Invocation] = []
        self.answer = answer
        self.is_ready = False
        self.is_acknowledging = is_acknowledging
        self.is_answering = is_answering  # reports
        self.progress = 0
        self.outcome: BaseException | None = None
        self._numbers = itertools.count(1)
        self._socket, self._module_end = socket.socketpair()
        link = Link(self._module_end)
        link.open()
        document = start_document(
            window=window,
            desired=dict(self.twin.desired),
            desired_version=self.twin.state.desired.version,
            reported={},
            reported_version=self.twin.state.reported.version,
            **start,
        )
        self.client = ModuleClient(link, document)
        self._thread = threading.Thread(target=self._serve)
        self._module: threading.Thread | None = None

    def __enter__(self) -> LiveHub:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._module is not None:
            self.stop()
            self._module.join(10)
        self.close()
        self._thread.join()
        self._module_end.close()
        self._socket.close()
        assert self._module is None or not self._module.is_alive(), "the module did not end when it was asked to"

    # --- The module ---

    def start(self, main: Callable[[ModuleClient], object]) -> None:
        """Run `main(client)` on a thread. What it raises is `outcome` after its end."""
        self._module = threading.Thread(target=self._run, args=(main,))
        self._module.start()

    def join(self) -> None:
        """Wait for the end of the module; raise what it raised."""
        assert self._module is not None
        self._module.join(10)
        assert not self._module.is_alive(), "the module did not end"
        if self.outcome is not None:
            raise self.outcome

    # --- What the hub says ---

    def desire(self, patch: dict[str, Any]) -> int:
        """Change the desired properties; return their version."""
        effect = self.twin.patch_desired(patch, "cli", 0)
        assert effect.notification is not None
        told = {key: value for key, value in effect.notification.items() if key != "$version"}
        self._say(desired_frame(effect.version, told, is_whole=False))
        return effect.version

    def deliver(self, body: object, *, to: str = "commands", epoch: int = 0, kind: int = wire.DELIVER) -> int:
        """Send a message to an input; return the delivery id."""
        delivery = next(self._numbers)
        message = Message(_JSON, json.dumps(body).encode(), "desk", "s9", delivery, 1, 2)
        self._say(wire.encode(kind, delivery, time_ms=epoch, head=to.encode(), body=pack(message)))
        return delivery

    def call(self, method: str, payload: object = None) -> MethodResponse:
        """Call a method of the module and return its answer."""
        call = next(self._numbers)
        self._say(method_frame(call, method, json.dumps(payload).encode()))
        self.wait_until(lambda: call in dict(self.results))
        return dict(self.results)[call]

    def stop(self) -> None:
        """Ask the module to stop."""
        self._say(wire.encode(wire.STOP))

    def close(self) -> None:
        """Be gone."""
        with_error = self._socket.fileno() >= 0
        if with_error:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def acknowledge(self) -> None:
        """Acknowledge what was held back, and everything from now on."""
        self.is_acknowledging = True
        self._acknowledge()

    def wait_until(self, holds: Callable[[], object], timeout_s: float = 10.0) -> None:
        """Block until `holds()`."""
        deadline_s = time.monotonic() + timeout_s
        while not holds():
            assert time.monotonic() < deadline_s, f"not within {timeout_s} s"
            time.sleep(0.002)

    def bodies(self, output: str) -> list[Any]:
        """Return what was sent to `output`, as JSON."""
        return [message.json() for message in self.messages if message.output == output]

    # --- Private ---

    def _run(self, main: Callable[[ModuleClient], object]) -> None:
        try:
            enter(main, self.client)
            self.client._link.drain(5.0)
        except BaseException as error:
            self.outcome = error

    def _serve(self) -> None:
        while True:
            try:
                data = self._socket.recv(1 << 18)
            except OSError:
                return
            if not data:
                return
            self._take(self.session.receive(data, 0), data)

    def _take(self, received: Received, data: bytes) -> None:
        if data[4:5] == bytes([wire.PROGRESS]):  # a frame of its own: the session has no word for it
            self.progress += 1
        self.messages += received.messages
        self.begun += received.begun
        self.done += received.done
        self.results += received.results
        self.is_ready = self.is_ready or received.is_ready
        for message in received.messages:
            message.waiting = 0 if self.is_acknowledging else 1
        self._acknowledge()
        for request, patch in received.reports if self.is_answering else ():
            self._say(self._reported(request, patch))
        for request, invocation in received.invocations:
            self.invocations.append(invocation)
            answer = self.answer(invocation)
            if answer is not None:
                self._say(invoked_frame(request, answer))

    def _acknowledge(self) -> None:
        if self.is_acknowledging:
            for message in self.messages:
                message.waiting = 0
        frame = self.session.acknowledgement()
        if frame:
            self._say(frame)

    def _reported(self, request: int, patch: object) -> bytes:
        try:
            return reported_frame(request, self.twin.patch_reported(patch, 0).version)
        except TwinError as error:
            return report_refused_frame(request, error)

    def _say(self, frame: bytes) -> None:
        try:
            self._socket.sendall(frame)
        except OSError:
            return  # the module has ended; the test looks at how
