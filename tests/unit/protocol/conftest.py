"""A client that speaks to the dispatcher in memory and checks every message it sees."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from kailash_mcp_prod.auth.principal import ANONYMOUS, Principal
from kailash_mcp_prod.protocol import Connection, Context, Dispatcher, Lifetime
from tests import wire_schema
from tests.sample_host import SampleContent, SampleHost

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}

CAPABILITIES = {
    "tools": {"listChanged": True},
    "logging": {},
    "prompts": {"listChanged": True},
    "resources": {"listChanged": True, "subscribe": True},
    "completions": {},
}


class Client:
    """One channel to a dispatcher. `notifications` holds what a running request emitted."""

    def __init__(self, host: SampleHost, principal: Principal = ANONYMOUS) -> None:
        self.host = host
        self.principal = principal
        self.content = SampleContent()
        self.dispatcher = Dispatcher(
            host,
            resources=self.content,
            prompts=self.content,
            completion=self.content,
            instructions="Echo what you hear.",
        )
        self.connection: Connection | None = Connection()
        self.lifetime = Lifetime()
        self.notifications: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.asked: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.meta = META
        self.next_id = 1

    def context(self, **changes: Any) -> Context:
        lifetime = self.connection.lifetime if self.connection else self.lifetime
        return Context(self.principal, self.emit, lifetime, self.connection, **changes)

    async def emit(self, message: bytes) -> None:
        decoded = json.loads(message)
        if "id" in decoded:
            wire_schema.check_request(wire_schema.LEGACY, decoded)
            await self.asked.put(decoded)
            return
        wire_schema.check_notification(wire_schema.MODERN, decoded)
        await self.notifications.put(decoded)

    async def raw(self, body: bytes) -> Any:
        reply = await self.dispatcher.receive(body, self.context())
        return None if reply is None else json.loads(reply.body)

    async def send(self, message: Any) -> Any:
        return await self.raw(json.dumps(message).encode())

    async def legacy(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a valid legacy request; the response."""
        message = self._request(method, params)
        wire_schema.check_request(wire_schema.LEGACY, message)
        return self._checked(wire_schema.LEGACY, method, await self.send(message))

    async def modern(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a valid modern request; the response."""
        message = self._request(method, {**(params or {}), "_meta": self.meta})
        wire_schema.check_request(wire_schema.MODERN, message)
        return self._checked(wire_schema.MODERN, method, await self.send(message))

    async def notify(self, method: str, params: dict[str, Any] | None = None) -> None:
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        if params is not None:
            message["params"] = params
        assert await self.send(message) is None

    async def initialize(
        self, version: str = "2025-11-25", capabilities: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Do the legacy handshake; the initialize result."""
        params = {
            "protocolVersion": version,
            "capabilities": capabilities or {},
            "clientInfo": {"name": "tests", "version": "1"},
        }
        response = await self.legacy("initialize", params)
        await self.notify("notifications/initialized")
        result: dict[str, Any] = response["result"]
        return result

    def declare(self, capabilities: dict[str, Any], **meta: Any) -> None:
        """Send these capabilities, and more, with each modern request from now on."""
        key = "io.modelcontextprotocol/clientCapabilities"
        self.meta = {**META, key: capabilities, **meta}

    async def answer(self, result: dict[str, Any] | None) -> dict[str, Any]:
        """Answer the next request of the server, with an error for `None`; the request."""
        request = await self.asked.get()
        message: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
        if result is None:
            message["error"] = {"code": -1, "message": "The user has gone."}
        else:
            message["result"] = result
        assert await self.send(message) is None
        return request

    def told(self) -> list[dict[str, Any]]:
        """The notifications that have come and were not looked at yet."""
        return [self.notifications.get_nowait() for _ in range(self.notifications.qsize())]

    def _request(self, method: str, params: dict[str, Any] | None) -> dict[str, Any]:
        message: dict[str, Any] = {"jsonrpc": "2.0", "id": self.next_id, "method": method}
        self.next_id += 1
        if params is not None:
            message["params"] = params
        return message

    def _checked(self, revision: str, method: str, response: Any) -> dict[str, Any]:
        assert isinstance(response, dict)
        wire_schema.check_response(revision, response, method)
        assert response["id"] == self.next_id - 1
        return response


@pytest.fixture
def host() -> SampleHost:
    return SampleHost()


@pytest.fixture
def client(host: SampleHost) -> Client:
    return Client(host)
