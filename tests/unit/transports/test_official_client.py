"""The client of the official SDK, in its modes, against a served HTTP port and a process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import mcp_types
import pytest
import uvicorn
from mcp import Client, MCPError
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ToolsListChanged

from kailash_mcp_prod.protocol import Dispatcher
from kailash_mcp_prod.transports.http import HttpTransport
from tests.sample_host import KeyRing, SampleHost

ROOT = Path(__file__).parents[3]
MODES = ["legacy", "auto", "2026-07-28"]


class Server(uvicorn.Server):
    """Tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


class Served:
    """A host behind a uvicorn server of its own."""

    def __init__(self) -> None:
        self.host = SampleHost()
        self.keys = KeyRing()
        self.app = HttpTransport(Dispatcher(self.host, instructions="Echo."), self.keys)
        config = uvicorn.Config(self.app, port=0, lifespan="off", log_level="warning")
        self.server = Server(config)
        self.url = ""

    async def start(self) -> asyncio.Task[None]:
        task = asyncio.create_task(self.server.serve())
        await self.server.listening.wait()
        port = self.server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/mcp"
        return task


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    served = Served()
    task = await served.start()
    try:
        yield served
    finally:
        await served.app.stop()
        served.server.should_exit = True
        await asyncio.wait_for(task, 5)


@pytest.mark.parametrize("mode", MODES)
async def test_it_lists_and_calls_tools_over_http(served: Served, mode: str) -> None:
    async with Client(served.url, mode=mode) as client:
        tools = await client.list_tools()
        added = await client.call_tool("add", {"a": 2, "b": 3})
        failed = await client.call_tool("conflict", {})
        with pytest.raises(MCPError) as unknown:
            await client.call_tool("nothing", {})

    assert [tool.name for tool in tools.tools] == list(SampleHost.names)
    assert added.structured_content == {"sum": 5}
    assert failed.is_error
    assert unknown.value.error.code == -32602


@pytest.mark.parametrize("mode", MODES)
async def test_it_lists_and_calls_tools_over_stdio(mode: str) -> None:
    parameters = StdioServerParameters(
        command=sys.executable, args=["-m", "tests.sample_host"], cwd=ROOT
    )
    async with Client(parameters, mode=mode) as client:
        tools = await client.list_tools()
        printed = await client.call_tool("print", {})
        added = await client.call_tool("add", {"a": 2, "b": 3})

    assert len(tools.tools) == len(SampleHost.names)
    assert printed.structured_content == {"standard_input": ""}
    assert added.structured_content == {"sum": 5}


async def test_it_negotiates_the_modern_era_by_itself(served: Served) -> None:
    async with Client(served.url) as client:
        assert client.protocol_version == "2026-07-28"
        assert client.instructions == "Echo."
    assert len(served.app._sessions) == 0


async def test_it_ends_its_legacy_session(served: Served) -> None:
    async with Client(served.url, mode="legacy") as client:
        assert client.protocol_version == "2025-11-25"
        assert len(served.app._sessions) == 1
    assert len(served.app._sessions) == 0


@pytest.mark.parametrize("mode", MODES)
async def test_a_call_it_gives_up_is_cancelled_on_the_server(served: Served, mode: str) -> None:
    async with Client(served.url, mode=mode) as client:
        call = asyncio.create_task(client.call_tool("slow", {}))
        await served.host.slow_started.wait()
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call
        await asyncio.wait_for(served.host.slow_cancelled.wait(), 5)


async def test_its_subscription_is_told_of_changes_and_ends_gracefully(served: Served) -> None:
    async with (
        Client(served.url) as client,
        client.listen(tools_list_changed=True) as subscription,
    ):
        served.host.change()
        assert await anext(subscription) == ToolsListChanged()
        await served.app.stop()
        with pytest.raises(StopAsyncIteration):
            await anext(subscription)


async def test_its_legacy_stream_is_told_of_changes(served: Served) -> None:
    heard: asyncio.Queue[Any] = asyncio.Queue()

    async def hear(message: Any) -> None:
        await heard.put(message)

    async with Client(served.url, mode="legacy", message_handler=hear):
        await served.host.listening.wait()
        served.host.change()
        message = await asyncio.wait_for(heard.get(), 5)

    assert isinstance(message, mcp_types.ToolListChangedNotification)


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_it_calls_with_its_credential(served: Served, mode: str) -> None:
    served.keys.anonymous = False
    async with httpx2.AsyncClient(headers={"authorization": "Bearer bob-key"}) as http:
        transport = streamable_http_client(served.url, http_client=http)
        async with Client(transport, mode=mode) as client:
            tools = await client.list_tools()
            await client.call_tool("echo", {})

    assert [tool.name for tool in tools.tools] == ["echo"]
    assert served.host.calls[0][0].subject == "bob"


async def test_it_shows_why_it_was_refused(served: Served) -> None:
    served.keys.anonymous = False
    with pytest.raises(ExceptionGroup) as caught:
        async with Client(served.url, mode="legacy"):
            pass

    refused, _ = caught.value.split(MCPError)
    assert refused is not None
    while isinstance(refused, ExceptionGroup):
        refused = refused.exceptions[0]
    assert str(refused) == "The key is missing or wrong."


@pytest.mark.parametrize("mode", MODES)
async def test_the_server_can_exit_at_once_while_streams_are_open(
    served: Served, mode: str
) -> None:
    async with Client(served.url, mode=mode) as client, contextlib.AsyncExitStack() as stack:
        if mode != "legacy":
            await stack.enter_async_context(client.listen(tools_list_changed=True))
        began = asyncio.get_running_loop().time()
        await served.app.stop()
        assert asyncio.get_running_loop().time() - began < 2
