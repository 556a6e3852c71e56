"""One module under test: what goes in, what comes out, and what it says about itself."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Mapping
from typing import Any

from microedge.errors import LocalProtocolError
from microedge.hub.calls import Invocation
from microedge.message import MAX_MESSAGE_BYTES, Envelope, Message, encode_body
from microedge.method import DEFAULT_RESPONSE_TIMEOUT_S, MethodResponse, encode_payload
from microedge.names import input_endpoint
from microedge.sdk.testing.explain import why_nothing_came
from microedge.sdk.testing.instance import PlayedInstance
from microedge.sdk.testing.log import LogLine
from microedge.sdk.testing.site import Site

_OUTSIDE_S = 1.0  # for what comes through a real descriptor
_FROM_UPSTREAM = "upstream"
_SESSION = "test"


class Module:
    """Made by `Hub`. Whatever a verb sets off has happened when it returns, as far as no time has to pass for it.

    An exception that leaves the module's code, be it `main` or a callback, comes out of the verb during which it
    happened, after everything that follows from it: `pytest.raises` sees it. So does `SystemExit` with another code
    than 0.
    """

    def __init__(self, site: Site, instance: PlayedInstance, log: list[LogLine], data_dir: str) -> None:
        """`Hub.add` does this."""
        self.log = log
        self.data_dir = data_dir
        self._site = site
        self._instance = instance
        self._sequence = itertools.count(1)
        self._sent: dict[str, deque[Message]] = {name: deque() for name in instance.plan.image.outputs}
        site.exchange.listen(self._note)

    @property
    def name(self) -> str:
        """The instance's name."""
        return self._instance.name

    @property
    def desired(self) -> dict[str, Any]:
        """The desired properties, without `$version`."""
        return dict(self._instance.twin.desired)

    @property
    def reported(self) -> dict[str, Any]:
        """What the module has reported, without `$version`."""
        return dict(self._instance.twin.reported)

    @property
    def is_ready(self) -> bool:
        """True once the module has called `ready`."""
        return self._instance.is_ready

    @property
    def exit_code(self) -> int | None:
        """None while `main` runs; then 0, 1 after an exception, 78 if it cannot be loaded, or what it gave sys.exit."""
        return self._instance.exit_code

    def send(
        self,
        input_name: str,
        body: object,
        *,
        properties: dict[str, str] | None = None,
        content_type: str | None = None,
        sender: str = "test/out",
    ) -> None:
        """Send a message to one of its inputs, from output `sender` (MODULE/OUTPUT). `body` as in `ModuleClient.send`.

        A message that its callback fails on is delivered again after 1, 2, 4 and 8 s; see `Hub.advance`.

        Raises:
            LocalProtocolError: the manifest has no such input, or the message exceeds 256 KiB.
            ValueError: a property, the content type or the sender is not valid.
            TypeError: the body holds something that JSON cannot express.
        """
        __tracebackhide__ = True
        _check_port(input_name, "input", self._instance.plan.image.inputs)
        self._site.queue.append(
            self._message(body, properties or {}, content_type, sender),
            [(input_endpoint(self.name, input_name), 0, -1)],
        )
        self._site.work()

    def take(self, output: str) -> Message:
        """Return the oldest message of an output that was not taken yet.

        Waits for nothing, but for a module that watches descriptors of its own: those get up to a second of real time.

        Raises:
            AssertionError: there is none; the text says what was sent instead, what the module does, and its log.
            LocalProtocolError: the manifest has no such output.
        """
        __tracebackhide__ = True
        _check_port(output, "output", self._instance.plan.image.outputs)
        messages = self._sent[output]
        self._site.work(lambda: self._site.look_outside(_OUTSIDE_S, lambda: bool(messages)))
        if not messages:
            raise AssertionError(why_nothing_came(self._site, self._instance, output, self._sent, self.log))
        return messages.popleft()

    def take_all(self, output: str) -> list[Message]:
        """Return all messages of an output that were not taken yet, perhaps none.

        Raises:
            LocalProtocolError: the manifest has no such output.
        """
        _check_port(output, "output", self._instance.plan.image.outputs)
        messages = list(self._sent[output])
        self._sent[output].clear()
        return messages

    def call(
        self, method: str, payload: object = None, timeout_s: float = DEFAULT_RESPONSE_TIMEOUT_S
    ) -> MethodResponse:
        """Call a direct method and return the answer. As much virtual time passes as the method waits.

        Raises:
            TypeError: the payload holds something that JSON cannot express.
            ValueError: the payload exceeds 128 KiB.
        """
        __tracebackhide__ = True
        answers: list[MethodResponse] = []
        invocation = Invocation(self.name, method, encode_payload(payload), timeout_s)

        def ask() -> None:
            with self._site.clock.virtual():
                self._site.exchange.methods.call(invocation, answers.append)
            self._site.let_pass(2 * timeout_s, until=lambda: bool(answers))

        self._site.work(ask)
        return answers[0]

    def set_desired(self, patch: Mapping[str, Any]) -> None:
        """Change desired properties as somebody above does; None deletes a member.

        Raises:
            TwinError: it breaks a limit of twins. Nothing was changed.
        """
        __tracebackhide__ = True
        effect = self._instance.twin.patch_desired(dict(patch), _FROM_UPSTREAM, self._site.clock.wall_ms)
        self._instance.tell_desired(dict(patch), effect.version)
        self._site.work()

    def _start(self, patience_s: float) -> None:
        self._instance.start(self._site.clock, self.data_dir, patience_s)

    def _note(self, message: Message) -> None:
        if message.module == self.name:
            self._sent[message.output].append(message)

    def _message(self, body: object, properties: dict[str, str], content_type: str | None, sender: str) -> Message:
        data, guessed_type, encoding = encode_body(body)
        module, _, output = sender.partition("/")
        envelope = Envelope(
            output,
            content_type=guessed_type if content_type is None else content_type,
            content_encoding=encoding,
            properties=properties,
        )
        clock = self._site.clock
        taken_ms = clock.wall_ms - clock.offset_ms
        message = Message(envelope, data, module, f"{module}-{_SESSION}", next(self._sequence), taken_ms, clock.wall_ms)
        if message.size_bytes > MAX_MESSAGE_BYTES:
            raise LocalProtocolError(f"message of bytes={message.size_bytes}: expected at most {MAX_MESSAGE_BYTES}")
        return message


def _check_port(name: str, kind: str, known: tuple[str, ...]) -> None:
    if name not in known:
        listed = ", ".join(known) or "none"
        raise LocalProtocolError(f"{kind} {name!r}: expected one of [ports] {kind}s in module.toml: {listed}")
