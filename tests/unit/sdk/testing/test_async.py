"""Modules whose main is `async def`, in virtual time."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from microedge import Message, MethodResponse
from microedge.sdk.aio import AsyncModuleClient
from microedge.sdk.testing import Hub

PORTS: dict[str, Any] = {"inputs": ["commands"], "outputs": ["ticks"]}


def test_an_async_module_has_all_verbs_in_virtual_time() -> None:
    async def main(client: AsyncModuleClient) -> None:
        async def obey(message: Message) -> None:
            await asyncio.sleep(2)
            await client.send("ticks", {"done": message.json()})

        heard = []
        await client.on_desired(lambda patch, desired: heard.append(desired))
        client.on_input("commands", obey)
        client.on_method("heard", lambda payload: heard)
        client.every(10, lambda: client.report({"alive": True}))
        client.ready()
        while await client.wait(60):
            await client.send("ticks", {"after": 60})

    with Hub(main, **PORTS, desired={"limit": 1}) as hub:
        hub.send("commands", 7)
        assert hub.take_all("ticks") == []
        hub.advance(2)
        assert hub.take("ticks").json() == {"done": 7}
        hub.set_desired({"limit": 2})
        assert hub.call("heard") == MethodResponse(200, [{"limit": 1}, {"limit": 2}])
        hub.advance(3600 - 2)
        assert [message.json() for message in hub.take_all("ticks")] == [{"after": 60}] * 60
        assert hub.reported == {"alive": True}
    assert hub.exit_code == 0


def test_what_an_async_callback_raises_comes_out() -> None:
    async def main(client: AsyncModuleClient) -> None:
        async def obey(message: Message) -> None:
            await asyncio.sleep(0)
            raise RuntimeError("no pump")

        client.on_input("commands", obey)
        client.ready()
        await client.run()

    with Hub(main, **PORTS) as hub:
        with pytest.raises(RuntimeError, match="no pump"):
            hub.send("commands", 1)
        with pytest.raises(RuntimeError, match="no pump"):
            hub.advance(15)
        assert [dead.text for dead in hub.dead] == ["RuntimeError: no pump"]


def test_what_ends_an_async_module_comes_out() -> None:
    async def main(client: AsyncModuleClient) -> None:
        async def look() -> None:
            raise RuntimeError("no probe")

        client.every(5, look)
        await client.run()

    with Hub(main, **PORTS) as hub:
        hub.advance(4)
        with pytest.raises(RuntimeError, match="no probe"):
            hub.advance(1)
        assert hub.exit_code == 1


def test_an_async_module_leaves_nothing_behind_when_the_test_fails() -> None:
    async def main(client: AsyncModuleClient) -> None:
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(1)

    hub = Hub(main, **PORTS)
    with pytest.raises(KeyError), hub:
        raise KeyError
    assert not hub._site.instances[0].is_running
