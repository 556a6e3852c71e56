"""Every verb of the client, blocking and on asyncio, with the same outcomes. The real session and twin face it.

Each test's module is written once, as a coroutine. For the blocking client the coroutine is stepped by hand, and never
has to wait: `Stepped` makes its verbs awaitable. Handlers are plain functions, which both clients take.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support.live_hub import LiveHub

from microedge import DesiredPatch, Message, MethodResponse
from microedge.errors import LocalProtocolError, TwinError
from microedge.sdk.link import HubGoneError

Main = Callable[[Any], Any]
AWAITED = {"send", "flush", "report", "invoke", "wait", "run", "on_desired"}


class Stepped:
    """A blocking client whose verbs can be awaited."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if name not in AWAITED:
            return found

        async def verb(*arguments: Any, **options: Any) -> Any:
            return found(*arguments, **options)

        return verb


def stepped(main: Main) -> Main:
    """Return a blocking main that does what `main` does."""

    def blocking(client: Any) -> None:
        with pytest.raises(StopIteration):
            main(Stepped(client)).send(None)

    return blocking


@pytest.fixture(params=["blocking", "asyncio"])
def started(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Return a context manager that runs a main against a hub."""

    @contextmanager
    def start(main: Main, **options: Any) -> Iterator[LiveHub]:
        with LiveHub(**options) as hub:
            hub.start(stepped(main) if request.param == "blocking" else main)
            yield hub

    return start


Started = Callable[..., Any]


# --- Sending ---


def test_what_is_sent_arrives_in_order_with_all_that_was_said(started: Started) -> None:
    numbers: list[int] = []

    async def main(client: Any) -> None:
        for n in range(1_000):  # four windows
            numbers.append(await client.send("readings", {"n": n}, properties={"line": "a"}, ttl_s=60))

    with started(main) as hub:
        hub.join()
        hub.wait_until(lambda: len(hub.messages) == 1_000)

    assert numbers == list(range(1, 1_001))
    assert hub.bodies("readings") == [{"n": n} for n in range(1_000)]
    assert hub.messages[0].properties == {"line": "a"}
    assert hub.messages[0].envelope.ttl_s == 60


def test_a_full_window_holds_back_the_sender_until_there_is_room(started: Started) -> None:
    sent: list[int] = []

    async def main(client: Any) -> None:
        for _ in range(5):
            sent.append(await client.send("readings", 1))

    with started(main, window=3, is_acknowledging=False) as hub:
        hub.wait_until(lambda: len(hub.messages) == 3)
        assert sent == [1, 2, 3]
        hub.acknowledge()
        hub.join()

    assert sent == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("nowhere", 1), LocalProtocolError),
        (("readings", b"x" * 300_000), LocalProtocolError),
        (("readings", {1, 2}), TypeError),
        (("readings", float("nan")), ValueError),
    ],
)
def test_what_cannot_be_sent_is_refused_and_spends_no_number(
    started: Started, arguments: tuple[str, object], error: type[Exception]
) -> None:
    async def main(client: Any) -> None:
        with pytest.raises(error):
            await client.send(*arguments)
        assert await client.send("readings", 1) == 1

    with started(main) as hub:
        hub.join()


def test_flush_is_true_when_all_is_acknowledged_and_false_when_the_time_is_up(started: Started) -> None:
    flushed: list[bool] = []

    async def main(client: Any) -> None:
        flushed.append(await client.flush(0))
        await client.send("readings", 1)
        flushed.append(await client.flush(0.02))
        client.ready()
        flushed.append(await client.flush(10))

    with started(main, is_acknowledging=False) as hub:
        hub.wait_until(lambda: hub.is_ready)
        hub.acknowledge()
        hub.join()

    assert flushed == [True, False, True]


# --- Waiting and the end ---


def test_wait_is_true_when_the_time_is_up_and_false_when_the_module_should_end(started: Started) -> None:
    waited: list[bool] = []

    async def main(client: Any) -> None:
        waited.append(await client.wait(0))
        waited.append(await client.wait(0.02))
        client.ready()
        waited.append(await client.wait(60))
        waited.append(await client.wait(60))
        await client.run()

    with started(main) as hub:
        hub.wait_until(lambda: hub.is_ready)
        hub.stop()
        hub.join()

    assert waited == [True, True, False, False]


@pytest.mark.parametrize("verb", ["wait", "run", "flush", "report", "invoke", "send"])
def test_a_hub_that_is_gone_ends_whatever_waits(started: Started, verb: str) -> None:
    async def main(client: Any) -> None:
        await client.send("readings", 1)
        client.ready()
        arguments = {"wait": (60,), "flush": (60,), "report": ({"a": 1},), "invoke": ("south", "m"), "run": ()}
        if verb == "send":
            while True:
                await client.send("readings", 2)
        await getattr(client, verb)(*arguments[verb])

    silence = {"is_acknowledging": False, "is_answering": False, "answer": lambda invocation: None}
    with started(main, window=1 if verb == "send" else 256, **silence) as hub:
        hub.wait_until(lambda: hub.is_ready)
        hub.close()
        with pytest.raises(HubGoneError):
            hub.join()


def test_what_main_raises_comes_out(started: Started) -> None:
    async def main(client: Any) -> None:
        await client.wait(0)
        raise ZeroDivisionError("probe")

    with started(main) as hub, pytest.raises(ZeroDivisionError, match="probe"):
        hub.join()


def test_what_was_sent_before_main_returned_still_goes_out(started: Started) -> None:
    async def main(client: Any) -> None:
        for n in range(200):
            await client.send("readings", {"n": n})

    with started(main) as hub:
        hub.join()
        hub.wait_until(lambda: len(hub.messages) == 200)


# --- Inputs and methods ---


def test_messages_are_handled_in_order_and_acknowledged_one_by_one(started: Started) -> None:
    seen: list[object] = []

    async def main(client: Any) -> None:
        client.on_input("commands", lambda message: seen.append((message.json(), message.module, message.input)))
        client.ready()
        await client.run()

    with started(main) as hub:
        deliveries = [hub.deliver(n) for n in range(20)]
        hub.wait_until(lambda: len(hub.done) == 20)

    assert seen == [(n, "desk", "commands") for n in range(20)]
    assert hub.done == [(delivery, "") for delivery in deliveries]


def test_a_failed_message_says_why_and_what_was_sent_ahead_of_its_return_is_dropped(
    started: Started, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[object] = []
    is_all_sent = threading.Event()

    def obey(message: Message) -> None:
        assert is_all_sent.wait(10)
        if message.json() == "bad":
            raise ValueError("too\ncold")
        seen.append(message.json())

    async def main(client: Any) -> None:
        client.on_input("commands", obey)
        await client.run()

    with started(main) as hub:
        first, bad, _ = hub.deliver("a"), hub.deliver("bad"), hub.deliver("b")
        is_all_sent.set()
        hub.wait_until(lambda: len(hub.done) == 2)
        again = hub.deliver("b", epoch=1)
        hub.wait_until(lambda: len(hub.done) == 3)

    assert seen == ["a", "b"]
    assert hub.done == [(first, ""), (bad, "ValueError: too\\ncold"), (again, "")]
    written = capsys.readouterr().err
    assert "<3>input commands: message s9-2 failed: ValueError" in written
    first_frame = written.partition("Traceback (most recent call last):\n")[2].splitlines()[0]
    assert os.path.basename(__file__) in first_frame


def test_a_message_waits_until_its_input_has_a_handler(started: Started) -> None:
    seen: list[object] = []

    async def main(client: Any) -> None:
        await client.wait(0.05)
        client.on_input("commands", lambda message: seen.append(message.json()))
        await client.run()

    with started(main) as hub:
        hub.deliver("early")
        hub.wait_until(lambda: hub.done)

    assert seen == ["early"]


def test_after_the_stop_no_further_message_is_handled(started: Started) -> None:
    seen: list[object] = []
    is_all_sent = threading.Event()

    async def main(client: Any) -> None:
        def obey(message: Message) -> None:
            assert is_all_sent.wait(10)
            seen.append(message.json())
            client.request_stop()

        client.on_input("commands", obey)
        await client.run()

    with started(main) as hub:
        for n in range(4):
            hub.deliver(n)
        is_all_sent.set()
        hub.join()

    assert seen == [0]


def test_a_handler_may_end_the_module_and_its_message_is_not_answered(started: Started) -> None:
    async def main(client: Any) -> None:
        client.on_input("commands", lambda message: sys.exit(3))
        await client.run()

    with started(main) as hub:
        hub.deliver(1)
        with pytest.raises(SystemExit) as end:
            hub.join()

    assert end.value.code == 3
    assert hub.done == []


@pytest.mark.parametrize(
    ("callback", "expected"),
    [
        (lambda payload: {"got": payload}, MethodResponse(200, {"got": 7})),
        (lambda payload: MethodResponse(418, None), MethodResponse(418, None)),
        (lambda payload: payload / 0, MethodResponse(500, {"message": "ZeroDivisionError: division by zero"})),
    ],
)
def test_what_a_method_returns_or_raises_is_its_answer(
    started: Started, callback: Callable[[Any], object], expected: MethodResponse
) -> None:
    async def main(client: Any) -> None:
        client.on_method("calibrate", callback)
        await client.run()

    with started(main) as hub:
        hub.wait_until(lambda: hub.call("calibrate", 7).status != 404)

        assert hub.call("calibrate", 7) == expected
        assert hub.call("fly").status == 404


@pytest.mark.parametrize(("verb", "name"), [("on_input", "nowhere"), ("on_method", "a/b")])
def test_a_name_that_cannot_be_is_refused(started: Started, verb: str, name: str) -> None:
    async def main(client: Any) -> None:
        with pytest.raises(LocalProtocolError, match=name):
            getattr(client, verb)(name, lambda argument: None)

    with started(main) as hub:
        hub.join()


def test_invoke_returns_the_answer_whatever_it_is(started: Started) -> None:
    answers: list[MethodResponse] = []

    async def main(client: Any) -> None:
        answers.append(await client.invoke("south", "open", {"percent": 50}))

    with started(main, answer=lambda call: MethodResponse(409, [call.module, call.method])) as hub:
        hub.join()

    assert answers == [MethodResponse(409, ["south", "open"])]
    assert hub.invocations[0].payload == b'{"percent":50}'


def test_a_module_that_is_asked_to_stop_gets_504_for_what_it_waits_for(started: Started) -> None:
    answers: list[int] = []

    async def main(client: Any) -> None:
        answers.append((await client.invoke("south", "open")).status)

    with started(main, answer=lambda call: None) as hub:
        hub.wait_until(lambda: hub.invocations)
        hub.stop()
        hub.join()

    assert answers == [504]


@pytest.mark.parametrize(
    ("options", "error"),
    [({"timeout_s": 1}, ValueError), ({"payload": {1}}, TypeError), ({"payload": "x" * 140_000}, ValueError)],
)
def test_a_call_that_cannot_be_made_is_refused(started: Started, options: Any, error: type[Exception]) -> None:
    async def main(client: Any) -> None:
        with pytest.raises(error):
            await client.invoke("south", "open", **options)

    with started(main) as hub:
        hub.join()

    assert hub.invocations == []


# --- The twin ---


def test_desired_properties_are_told_at_once_and_at_every_change(started: Started) -> None:
    calls: list[tuple[Any, Any, bool]] = []

    async def main(client: Any) -> None:
        def configure(patch: DesiredPatch, desired: dict[str, Any]) -> None:
            assert client.desired is desired
            assert client.desired_version == patch.version
            calls.append((dict(patch), desired, patch.is_whole))

        await client.on_desired(configure)
        client.ready()
        await client.run()

    with started(main) as hub:
        hub.wait_until(lambda: hub.is_ready)
        hub.desire({"unit": None, "a": {"b": 1}})
        hub.wait_until(lambda: len(calls) == 2)
        hub.desire({"a": {"b": None}})
        hub.wait_until(lambda: len(calls) == 3)

    assert calls == [
        ({"interval_s": 5, "unit": "C", "$version": 2}, {"interval_s": 5, "unit": "C"}, True),
        ({"unit": None, "a": {"b": 1}, "$version": 3}, {"interval_s": 5, "a": {"b": 1}}, False),
        ({"a": {"b": None}, "$version": 4}, {"interval_s": 5, "a": {}}, False),
    ]


def test_what_a_callback_of_desired_properties_raises_ends_the_module(started: Started) -> None:
    async def main(client: Any) -> None:
        def configure(patch: DesiredPatch, desired: dict[str, Any]) -> None:
            if not patch.is_whole:
                raise ZeroDivisionError(desired["interval_s"])

        await client.on_desired(configure)
        client.ready()
        await client.run()

    with started(main) as hub:
        hub.wait_until(lambda: hub.is_ready)
        hub.desire({"interval_s": -1})
        with pytest.raises(ZeroDivisionError, match="-1"):
            hub.join()


def test_a_report_is_merged_and_a_refused_one_changes_nothing(started: Started) -> None:
    reported: list[Any] = []

    async def main(client: Any) -> None:
        reported.append(await client.report({"a": 1, "b": {"x": 1}}))
        reported.append(await client.report({"a": None, "b": {"y": 2}}))
        with pytest.raises(TwinError) as caught:
            await client.report({"c": 2**60})
        reported.append((caught.value.path, caught.value.got))
        with pytest.raises(ValueError, match="not JSON compliant"):
            await client.report({"d": float("inf")})
        reported.append(client.reported)

    with started(main) as hub:
        hub.join()

    assert reported == [2, 3, ("properties.reported.c", 2**60), {"b": {"x": 1, "y": 2}}]
    assert dict(hub.twin.reported) == {"b": {"x": 1, "y": 2}}


# --- Timers and descriptors ---


def test_timers_go_on_until_the_end_and_the_same_callback_may_get_another_interval(started: Started) -> None:
    calls: list[float] = []

    async def main(client: Any) -> None:
        def call() -> None:
            calls.append(time.monotonic())
            if len(calls) == 3:
                client.request_stop()

        client.every(3_600, call)
        client.every(0.01, call)
        await client.run()

    begun_s = time.monotonic()
    with started(main) as hub:
        hub.join()

    assert len(calls) == 3
    assert calls[0] - begun_s >= 0.01


def test_an_interval_is_above_zero(started: Started) -> None:
    async def main(client: Any) -> None:
        with pytest.raises(ValueError, match="expected more than 0 seconds"):
            client.every(0, lambda: None)

    with started(main) as hub:
        hub.join()


def test_what_a_timer_raises_ends_the_module(started: Started) -> None:
    async def main(client: Any) -> None:
        client.every(0.001, lambda: 1 / 0)
        await client.run()

    with started(main) as hub, pytest.raises(ZeroDivisionError):
        hub.join()


def test_a_watched_descriptor_calls_back_while_it_is_readable_and_until_the_watch_ends(started: Started) -> None:
    seen: list[bytes] = []
    read_end, write_end = os.pipe()

    async def main(client: Any) -> None:
        def read() -> None:
            seen.append(os.read(read_end, 1))
            if len(seen) == 2:
                client.watch(read_end, None)

        client.watch(read_end, read)
        os.write(write_end, b"abc")
        await client.wait(0.1)
        client.watch(read_end, None)  # twice is harmless
        client.watch(read_end, lambda: (seen.append(os.read(read_end, 1)), client.request_stop()))
        await client.run()

    with started(main) as hub:
        hub.join()
    os.close(read_end)
    os.close(write_end)

    assert seen == [b"a", b"b", b"c"]


# --- Who it is, and that it lives ---


def test_a_client_knows_who_it_is(started: Started) -> None:
    known: list[object] = []

    async def main(client: Any) -> None:
        known.extend([client.device, client.module, client.identity, client.generation, client.data_dir])
        client.log.info("here")

    with started(main, generation="g1") as hub:
        hub.join()

    assert known == ["greenhouse-7", "north", "/devices/greenhouse-7/modules/north", "g1", "/nowhere"]


def test_progress_is_said_while_it_waits(started: Started) -> None:
    async def main(client: Any) -> None:
        await client.run()

    with started(main, progress_s=0.005) as hub:
        hub.wait_until(lambda: hub.progress >= 3)


def test_a_module_that_blocks_says_no_progress(started: Started) -> None:
    is_over = threading.Event()

    async def main(client: Any) -> None:
        await client.wait(0.02)
        client.ready()
        is_over.wait(10)

    with started(main, progress_s=0.005) as hub:
        hub.wait_until(lambda: hub.is_ready)
        before = hub.progress
        time.sleep(0.05)
        assert hub.progress == before
        is_over.set()
        hub.join()
