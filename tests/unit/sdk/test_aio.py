"""What asyncio adds to the client: coroutines as handlers, cancellation, tasks beside main, and their end."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from typing import Any

import pytest
from support.live_hub import LiveHub

from microedge import AsyncModuleClient, DesiredPatch, Message, MethodResponse, wire
from microedge.errors import LocalProtocolError
from microedge.sdk.aio import run
from microedge.sdk.link import HubGoneError


def test_handlers_may_be_coroutines_and_never_run_at_the_same_time() -> None:
    log: list[str] = []

    async def main(client: AsyncModuleClient) -> None:
        async def obey(message: Message) -> None:
            log.append(f"begin {message.json()}")
            await asyncio.sleep(0.01)
            log.append(f"end {message.json()}")

        async def calibrate(payload: Any) -> MethodResponse:
            log.append("begin method")
            await asyncio.sleep(0.01)
            log.append("end method")
            return MethodResponse(201, payload)

        client.on_input("commands", obey)
        client.on_method("calibrate", calibrate)
        client.ready()
        await client.run()

    with LiveHub() as hub:
        hub.start(main)
        hub.wait_until(lambda: hub.is_ready)
        hub.deliver(1)
        hub.deliver(2)
        assert hub.call("calibrate", 3) == MethodResponse(201, 3)
        hub.wait_until(lambda: len(hub.done) == 2)

    assert log == ["begin 1", "end 1", "begin 2", "end 2", "begin method", "end method"]


def test_main_goes_on_while_a_handler_waits() -> None:
    async def main(client: AsyncModuleClient) -> None:
        may_go = asyncio.Event()

        async def obey(message: Message) -> None:
            await may_go.wait()

        client.on_input("commands", obey)
        client.ready()
        await client.wait(0.02)
        await client.send("readings", 1)
        may_go.set()
        await client.run()

    with LiveHub() as hub:
        hub.start(main)
        hub.deliver(1)
        hub.wait_until(lambda: hub.messages)
        hub.wait_until(lambda: hub.done)


def test_a_backlog_of_plain_handlers_lets_other_tasks_have_their_turn() -> None:
    log: list[str] = []

    async def main(client: AsyncModuleClient) -> None:
        client.on_input("commands", lambda message: log.append("handled"))
        while log.count("handled") < 5:
            log.append("turn")
            await asyncio.sleep(0)

    with LiveHub() as hub:
        for n in range(5):
            hub.deliver(n)
        hub.start(main)
        hub.join()

    first = log.index("handled")
    assert "turn" in log[first : first + 5]


def test_what_a_coroutine_raises_is_the_failure_of_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    async def obey(message: Message) -> None:
        await asyncio.sleep(0)
        raise ValueError("cold")

    async def main(client: AsyncModuleClient) -> None:
        client.on_input("commands", obey)
        await client.run()

    with LiveHub() as hub:
        hub.start(main)
        delivery = hub.deliver(1)
        hub.wait_until(lambda: hub.done)

    assert hub.done == [(delivery, "ValueError: cold")]
    assert "raise ValueError" in capsys.readouterr().err


def test_a_handler_may_invoke_report_and_send() -> None:
    async def main(client: AsyncModuleClient) -> None:
        async def obey(message: Message) -> None:
            answer = await client.invoke("south", "open")
            version = await client.report({"answer": answer.status})
            await client.send("readings", {"version": version})

        client.on_input("commands", obey)
        await client.run()

    with LiveHub(answer=lambda call: MethodResponse(202)) as hub:
        hub.start(main)
        hub.deliver(1)
        hub.wait_until(lambda: hub.done)

    assert hub.bodies("readings") == [{"version": 2}]
    assert dict(hub.twin.reported) == {"answer": 202}


def test_several_tasks_may_send_wait_and_report_at_once() -> None:
    async def main(client: AsyncModuleClient) -> None:
        async def work(name: str) -> None:
            for n in range(50):
                await client.send("readings", {"name": name, "n": n})
            await client.report({name: 50})
            assert await client.wait(0.01)
            assert await client.flush(10)

        await asyncio.gather(*(work(name) for name in "abc"))

    with LiveHub(window=5) as hub:
        hub.start(main)
        hub.join()

    assert dict(hub.twin.reported) == {"a": 50, "b": 50, "c": 50}
    for name in "abc":
        assert [body["n"] for body in hub.bodies("readings") if body["name"] == name] == list(range(50))


def test_a_send_that_is_cancelled_while_it_waits_for_room_has_sent_nothing() -> None:
    sequences: list[int] = []

    async def main(client: AsyncModuleClient) -> None:
        await client.send("readings", "first")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.send("readings", "cancelled"), 0.02)
        client.ready()
        sequences.append(await client.send("readings", "second"))

    with LiveHub(window=1, is_acknowledging=False) as hub:
        hub.start(main)
        hub.wait_until(lambda: hub.is_ready)
        hub.acknowledge()
        hub.join()
        hub.wait_until(lambda: len(hub.messages) == 2)

    assert sequences == [2]
    assert [message.body for message in hub.messages] == [b"first", b"second"]


def test_a_report_that_is_cancelled_counts_as_reported_once_the_hub_has_taken_it() -> None:
    async def main(client: AsyncModuleClient) -> None:
        task = asyncio.ensure_future(client.report({"a": 1}))
        await asyncio.sleep(0)
        task.cancel()
        assert await client.report({"b": 2}) == 3
        assert client.reported == {"a": 1, "b": 2}

    with LiveHub() as hub:
        hub.start(main)
        hub.join()


def test_timers_and_watches_take_coroutines_one_call_at_a_time() -> None:
    log: list[str] = []
    read_end, write_end = os.pipe()

    async def main(client: AsyncModuleClient) -> None:
        async def tick() -> None:
            log.append("tick")
            await asyncio.sleep(0.02)
            log.append("tock")
            if log.count("tock") == 2:
                client.request_stop()

        async def read() -> None:
            log.append("read")
            await asyncio.sleep(0.001)
            os.read(read_end, 1)
            client.watch(read_end, None)

        client.every(0.005, tick)
        client.watch(read_end, read)
        os.write(write_end, b"xy")
        await client.run()

    with LiveHub() as hub:
        hub.start(main)
        hub.join()
    os.close(read_end)
    os.close(write_end)

    assert log.count("read") == 1
    assert [word for word in log if word != "read"] == ["tick", "tock"] * 2


def test_no_change_is_lost_or_overtakes_the_first_call_of_a_slow_callback() -> None:
    log: list[str] = []

    async def main(client: AsyncModuleClient) -> None:
        async def configure(patch: DesiredPatch, desired: dict[str, Any]) -> None:
            client.ready()
            log.append(f"begin {patch.version}")
            await asyncio.sleep(0.05)
            log.append(f"end {patch.version}")

        await client.on_desired(configure)
        log.append("configured")
        await client.run()

    with LiveHub() as hub:
        hub.start(main)
        hub.wait_until(lambda: hub.is_ready)
        hub.desire({"a": 1})
        hub.wait_until(lambda: "end 3" in log)

    assert log == ["begin 2", "end 2", "configured", "begin 3", "end 3"] or log == [
        "begin 2", "end 2", "begin 3", "configured", "end 3",
    ]  # fmt: skip


def test_a_handler_at_work_comes_to_its_end_when_main_has_returned() -> None:
    async def main(client: AsyncModuleClient) -> None:
        async def obey(message: Message) -> None:
            client.request_stop()
            await asyncio.sleep(0.03)
            await client.send("readings", "done")

        client.on_input("commands", obey)
        client.every(3_600, lambda: None)
        await client.run()

    with LiveHub() as hub:
        hub.start(main)
        delivery = hub.deliver(1)
        hub.join()
        hub.wait_until(lambda: hub.done == [(delivery, "")])

    assert hub.messages[0].body == b"done"


def test_tasks_of_the_authors_own_are_cancelled_when_main_has_returned() -> None:
    log: list[str] = []

    async def main(client: AsyncModuleClient) -> None:
        async def forever() -> None:
            try:
                await asyncio.sleep(3_600)
            except asyncio.CancelledError:
                log.append("cancelled")
                raise

        task = asyncio.ensure_future(forever())
        await asyncio.sleep(0)
        log.append(f"returns {task.done()}")

    with LiveHub() as hub:
        hub.start(main)
        hub.join()

    assert log == ["returns False", "cancelled"]


def test_a_callback_that_fails_cancels_main_wherever_it_waits() -> None:
    log: list[str] = []

    async def main(client: AsyncModuleClient) -> None:
        client.every(0.001, lambda: 1 / 0)
        try:
            await asyncio.sleep(3_600)
        finally:
            log.append("cleaned up")

    with LiveHub() as hub:
        hub.start(main)
        with pytest.raises(ZeroDivisionError):
            hub.join()

    assert log == ["cleaned up"]


def test_a_hub_that_is_gone_ends_a_main_that_waits_for_something_else() -> None:
    async def main(client: AsyncModuleClient) -> None:
        client.ready()
        await asyncio.sleep(3_600)

    with LiveHub() as hub:
        hub.start(main)
        hub.wait_until(lambda: hub.is_ready)
        hub.close()
        with pytest.raises(HubGoneError):
            hub.join()


def test_a_cleanup_that_talks_to_a_hub_that_is_gone_does_not_hang() -> None:
    async def main(client: AsyncModuleClient) -> None:
        client.ready()
        try:
            await client.run()
        finally:
            await client.flush(3_600)
            await client.wait(3_600)

    with LiveHub() as hub:
        hub.start(main)
        hub.wait_until(lambda: hub.is_ready)
        hub.close()
        with pytest.raises(HubGoneError):
            hub.join()


def test_a_module_that_wants_to_end_in_a_callback_ends_with_its_code() -> None:
    async def main(client: AsyncModuleClient) -> None:
        client.every(0.001, lambda: sys.exit(78))
        await client.run()

    with LiveHub() as hub:
        hub.start(main)
        with pytest.raises(SystemExit) as end:
            hub.join()

    assert end.value.code == 78


def test_a_suspect_is_told_to_have_begun_before_its_coroutine_runs() -> None:
    began: list[list[int]] = []

    async def main(client: AsyncModuleClient) -> None:
        async def obey(message: Message) -> None:
            await asyncio.sleep(0.02)
            began.append(list(hub.begun))

        client.on_input("commands", obey)
        await client.run()

    with LiveHub() as hub:
        hub.start(main)
        delivery = hub.deliver(1, kind=wire.SUSPECT)
        hub.wait_until(lambda: hub.done)

    assert began == [[delivery]]


def test_a_client_that_has_sent_something_cannot_be_replaced() -> None:
    async def main(client: AsyncModuleClient) -> None:
        """Never called."""

    with LiveHub() as hub:
        hub.client.send("readings", 1)
        with pytest.raises(LocalProtocolError, match="1 messages were sent already"):
            run(hub.client, main)


def test_a_stop_that_came_before_the_loop_is_not_lost() -> None:
    async def main(client: AsyncModuleClient) -> None:
        assert client.is_stopping
        await client.run()

    with LiveHub() as hub:
        hub.client.request_stop()
        hub.start(main)
        hub.join()


@pytest.mark.parametrize("name", ["runner", "run", "client", "settings"])
def test_nobody_pays_for_asyncio_who_does_not_use_it(name: str) -> None:
    script = f"import sys, microedge.sdk.{name}; sys.exit('asyncio' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_no_thread_is_left() -> None:
    async def main(client: AsyncModuleClient) -> None:
        await client.wait(0)

    before = threading.active_count()
    with LiveHub() as hub:
        hub.start(main)
        hub.join()

    assert threading.active_count() == before
