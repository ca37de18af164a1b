"""HTTP clients for the transport: one over httpx, one that shows every ASGI message."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from kailash_mcp_prod.protocol import Dispatcher
from kailash_mcp_prod.transports.http import HttpTransport
from tests import wire_schema
from tests.sample_host import KeyRing, SampleHost

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "tests", "version": "1"},
}
BOTH = "application/json, text/event-stream"


def rpc(method: str, rpc_id: Any = 1, **params: Any) -> dict[str, Any]:
    """A request; without parameters it has no params member."""
    message: dict[str, Any] = {"jsonrpc": "2.0", "id": rpc_id, "method": method}
    if params:
        message["params"] = params
    return message


def modern_headers(method: str, name: str | None = None) -> dict[str, str]:
    headers = {
        "accept": BOTH,
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": method,
    }
    if name is not None:
        headers["mcp-name"] = name
    return headers


class Web:
    """An httpx client of one transport."""

    def __init__(self, **options: Any) -> None:
        self.host = SampleHost()
        self.keys = KeyRing()
        self.dispatcher = Dispatcher(self.host, instructions="Echo what you hear.")
        self.app = HttpTransport(self.dispatcher, self.keys, **options)
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.app), base_url="http://localhost:3001"
        )

    async def post(
        self, message: Any, headers: dict[str, str] | None = None, path: str = "/mcp"
    ) -> httpx.Response:
        """Post a JSON body, or bytes as they are."""
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        merged = {"content-type": "application/json", "accept": BOTH, **(headers or {})}
        return await self.http.post(path, content=body, headers=merged)

    async def modern(
        self, method: str, headers: dict[str, str] | None = None, **params: Any
    ) -> httpx.Response:
        """Send a valid modern request and check its response."""
        message = rpc(method, **params, _meta=META)
        wire_schema.check_request(wire_schema.MODERN, message)
        mirrored = modern_headers(method, params.get("name"))
        response = await self.post(message, {**mirrored, **(headers or {})})
        if response.content:
            wire_schema.check_response(wire_schema.MODERN, response.json(), method)
        return response

    async def open_session(
        self, version: str = "2025-11-25", headers: dict[str, str] | None = None
    ) -> dict[str, str]:
        """Do the legacy handshake; the headers of the session."""
        message = rpc("initialize", **{**INITIALIZE, "protocolVersion": version})
        response = await self.post(message, headers)
        assert response.status_code == 200, response.text
        wire_schema.check_response(wire_schema.LEGACY, response.json(), "initialize")
        session = {
            **(headers or {}),
            "mcp-session-id": response.headers["mcp-session-id"],
            "mcp-protocol-version": version,
        }
        initialized = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        assert (await self.post(initialized, session)).status_code == 202
        return session

    async def legacy(
        self, session: dict[str, str], method: str, rpc_id: Any = 1, **params: Any
    ) -> httpx.Response:
        """Send a valid legacy request and check its response."""
        message = rpc(method, rpc_id, **params)
        wire_schema.check_request(wire_schema.LEGACY, message)
        response = await self.post(message, session)
        if response.headers.get("content-type") == "application/json":
            wire_schema.check_response(wire_schema.LEGACY, response.json(), method)
        return response

    def raw(
        self, method: str, headers: dict[str, str], message: Any = None, path: str = "/mcp"
    ) -> RawExchange:
        """Begin a request whose ASGI messages the test reads one by one."""
        return RawExchange(self.app, method, headers, message, path)


class RawExchange:
    """One running request. `status` and `headers` are there after `begin`."""

    def __init__(
        self, app: HttpTransport, method: str, headers: dict[str, str], message: Any, path: str
    ) -> None:
        body = b"" if message is None else json.dumps(message).encode()
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._incoming.put_nowait({"type": "http.request", "body": body, "more_body": False})
        self._outgoing: asyncio.Queue[Any] = asyncio.Queue()
        defaults = {"host": "localhost", "content-type": "application/json", "accept": BOTH}
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": [(k.encode(), v.encode()) for k, v in {**defaults, **headers}.items()],
        }
        self.task = asyncio.create_task(
            app(scope, self._incoming.get, self._outgoing.put)  # type: ignore[arg-type]
        )
        self._text = ""
        self.last_id = ""
        self.retry = ""

    async def begin(self) -> int:
        start = await self._outgoing.get()
        assert start["type"] == "http.response.start"
        self.headers = {k.decode(): v.decode() for k, v in start["headers"]}
        self.status: int = start["status"]
        return self.status

    async def block(self) -> str | None:
        """The next block of the event stream, or the whole body; `None` at its end."""
        while "\n\n" not in self._text:
            message = await self._outgoing.get()
            self._text += message["body"].decode()
            if not message.get("more_body", False):
                self._outgoing.put_nowait(message | {"body": b""})
                if not self._text:
                    return None
                if self.headers["content-type"] == "application/json":
                    break
        block, _, self._text = self._text.partition("\n\n")
        return block

    async def event(self) -> Any:
        """The next JSON-RPC message; `None` at the end of the stream."""
        while (block := await self.block()) is not None:
            if not block.startswith(":"):
                fields = dict(line.split(":", 1) for line in block.split("\n"))
                self.last_id = fields.get("id", self.last_id).strip()
                if not fields.get("data"):
                    # The one by which a client may come back before the first.
                    self.retry = fields.get("retry", self.retry)
                    continue
                assert fields["event"] == " message"
                return json.loads(fields["data"])
        return None

    def disconnect(self) -> None:
        self._incoming.put_nowait({"type": "http.disconnect"})

    async def aclose(self) -> None:
        self.disconnect()
        await self.task


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    """A client with the transport's own settings."""
    async with serving() as web:
        yield web


@contextlib.asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[Web]:
    """A client of a transport with these settings."""
    web = Web(**options)
    await web.app.start()
    try:
        async with web.http:
            yield web
    finally:
        await web.app.stop()
