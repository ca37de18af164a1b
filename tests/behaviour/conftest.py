"""One set of behaviours, over every transport and in both eras.

A test takes `connect` (and `host`, to look behind the scenes) and runs six times. What it asks of
the server has to hold everywhere; `client.modern` tells the eras apart where they differ.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from kailash_mcp_prod.auth.principal import Credentials
from kailash_mcp_prod.protocol import Dispatcher
from kailash_mcp_prod.transports import (
    BaseTransport,
    HttpTransport,
    StdioTransport,
    WebSocketTransport,
)
from kailash_mcp_prod.transports.listening import Listener
from kailash_mcp_prod.transports.routing import TransportRouter
from tests import wire_schema
from tests.behaviour.clients import Client
from tests.behaviour.wires import HttpClient, StdioClient, WebSocketClient
from tests.sample_host import KeyRing, SampleContent, SampleHost

TRANSPORTS = ("stdio", "http", "websocket")
ERAS = {"legacy": wire_schema.LEGACY, "modern": wire_schema.MODERN}
MAX_BYTES = 4 * 1024 * 1024

Connect = Callable[..., Awaitable[Client]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All behaviours share one event loop, and so one listener."""
    for item in items:
        if item.path.parent.name == "behaviour" and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


class Switch:
    """An ASGI application that is another one for each test."""

    app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


class Served:
    """A dispatcher over the sample host behind all transports, and clients of one kind.

    Args:
        transport: One of `TRANSPORTS`.
        era: The revision that its clients speak.
        port: Where the other transports are reached.
    """

    def __init__(self, transport: str, era: str, port: int) -> None:
        self.host = SampleHost()
        self.content = SampleContent()
        self.keys = KeyRing()
        self.dispatcher = Dispatcher(
            self.host,
            resources=self.content,
            prompts=self.content,
            completion=self.content,
            instructions="Echo what you hear.",
        )
        self.http = HttpTransport(self.dispatcher, self.keys, max_body_bytes=MAX_BYTES)
        self.websocket = WebSocketTransport(
            self.dispatcher,
            self.keys,
            max_message_bytes=MAX_BYTES,
            max_messages_per_second=100_000,
        )
        self._transport = transport
        self._era = era
        self._port = port
        self._running: list[BaseTransport] = []
        self._clients: list[Client] = []

    async def __aenter__(self) -> Served:
        for each in (self.http, self.websocket):
            await self._run(each)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        try:
            for client in self._clients:
                await client.close()
        finally:
            await self.stop()

    async def stop(self) -> None:
        """Stop all transports."""
        await asyncio.gather(*(each.stop() for each in self._running))

    async def _run(self, transport: BaseTransport) -> None:
        await transport.start()
        self._running.append(transport)

    async def connect(self, key: str | None = None, **capabilities: Any) -> Client:
        """A client that has introduced itself.

        Args:
            key: Its API key.
            capabilities: What it can do, such as `elicitation={}`.
        """
        common = (self._era, capabilities)
        client: Client
        if self._transport == "stdio":
            client = StdioClient(*await self._pipes(key), *common)
        else:
            headers = {} if key is None else {"x-api-key": key}
            address = f"127.0.0.1:{self._port}"
            if self._transport == "http":
                client = HttpClient(f"http://{address}/mcp", headers, *common)
            else:
                client = WebSocketClient(f"ws://{address}/ws", headers, *common)
        self._clients.append(client)
        await client.open()
        return client

    async def _pipes(self, key: str | None) -> tuple[int, int]:
        server_in, writer = os.pipe()
        reader, server_out = os.pipe()
        await self._run(
            StdioTransport(
                self.dispatcher,
                self.keys,
                Credentials(api_key=key),
                max_line_bytes=MAX_BYTES,
                descriptors=(server_in, server_out),
            )
        )
        for descriptor in (server_in, server_out):
            os.close(descriptor)
        return reader, writer


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def switch() -> AsyncIterator[tuple[Switch, int]]:
    app = Switch()
    listener = Listener(app, "127.0.0.1", 0, max_message_bytes=MAX_BYTES)
    await listener.start()
    yield app, listener.port
    await listener.stop()


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    """How the clients connect."""
    name: str = request.param
    return name


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    """The revision that the clients speak."""
    return ERAS[request.param]


@pytest_asyncio.fixture(loop_scope="session")
async def served(switch: tuple[Switch, int], transport: str, era: str) -> AsyncIterator[Served]:
    """What is served, for tests that look at more than `host`."""
    app, port = switch
    async with Served(transport, era, port) as served:
        app.app = TransportRouter(served.websocket, served.http)
        yield served


@pytest.fixture
def host(served: Served) -> SampleHost:
    """The tools that the clients reach."""
    return served.host


@pytest.fixture
def connect(served: Served) -> Connect:
    """Makes a client of the transport and the era in turn: see `Served.connect`."""
    return served.connect
