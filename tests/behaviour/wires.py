"""The client over each of the transports."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
from collections.abc import AsyncIterator
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from kailash_mcp_prod.transports.stdio_streams import open_source
from tests import wire_schema
from tests.behaviour.clients import SECONDS, ChannelClient, Client, JsonObject, Pending

_NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


class StdioClient(ChannelClient):
    """Speaks over a pair of pipes, of which it has the other ends.

    Args:
        reader: The descriptor to read from; closed at the end.
        writer: The descriptor to write to; closed at the end.
    """

    def __init__(self, reader: int, writer: int, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._reader = reader
        self._writer = writer
        self._buffer = b""

    async def _connect(self) -> None:
        self._source = await open_source(self._reader)
        self.background(self.receive_all())

    async def _disconnect(self) -> None:
        await self._source.close()
        os.close(self._reader)
        os.close(self._writer)

    async def _write(self, text: bytes) -> None:
        view = memoryview(text + b"\n")
        while view:
            # A pipe takes 64 KiB; the server reads on this very loop.
            view = view[os.write(self._writer, view[:16_384]) :]
            await asyncio.sleep(0)

    async def _read(self) -> bytes | None:
        while b"\n" not in self._buffer:
            chunk = await self._source.read()
            if not chunk:
                return None
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line


class WebSocketClient(ChannelClient):
    """Speaks over a WebSocket."""

    def __init__(self, url: str, headers: dict[str, str], *arguments: Any) -> None:
        super().__init__(*arguments)
        self._url = url
        self._headers = headers
        self.socket: ClientConnection

    async def _connect(self) -> None:
        self.socket = await connect(
            self._url,
            subprotocols=[Subprotocol("mcp")],
            additional_headers=self._headers,
            compression=None,
            max_size=None,
            proxy=None,
            open_timeout=SECONDS,
            close_timeout=1,
        )
        self.background(self.receive_all())

    async def _disconnect(self) -> None:
        await self.socket.close()

    async def _write(self, text: bytes) -> None:
        # A closed channel shows by the end of what is read.
        with contextlib.suppress(ConnectionClosed):
            await self.socket.send(text, text=True)

    async def _read(self) -> bytes | None:
        try:
            return await self.socket.recv(decode=False)
        except ConnectionClosed as closed:
            if closed.rcvd is None:
                raise
            return None


class HttpClient(Client):
    """Speaks streamable HTTP: a request is a POST, answered by JSON or by a stream of events."""

    def __init__(self, url: str, headers: dict[str, str], *arguments: Any) -> None:
        super().__init__(*arguments)
        self._url = url
        self._http = httpx.AsyncClient(
            headers={"accept": "application/json, text/event-stream", **headers},
            timeout=SECONDS,
            trust_env=False,
            limits=httpx.Limits(max_connections=None),
        )
        self._exchanges: dict[str | int, asyncio.Task[Any]] = {}

    async def cancel(self, pending: Pending) -> None:
        """Tell the server; in the new era by closing the connection."""
        if not self.modern:
            await super().cancel(pending)
            return
        pending.cancelled = True
        self._exchanges[pending.id].cancel()

    async def send_raw(self, text: bytes) -> JsonObject | None:
        """See `Client.send_raw`."""
        headers = {"content-type": "application/json"}
        if self.modern:
            headers["mcp-protocol-version"] = self.era
        try:
            response = await self._http.post(self._url, content=text, headers=headers)
        except httpx.TransportError:
            # Answered before all of the text was read, and closed.
            return None
        assert 400 <= response.status_code < 500, response.text
        message: JsonObject = response.json()
        wire_schema.check_response(self.era, message)
        return message

    async def _connect(self) -> None:
        """Nothing to do: each request connects."""

    async def _disconnect(self) -> None:
        if "mcp-session-id" in self._http.headers:
            # A server that has stopped does not answer, or refuses.
            with contextlib.suppress(httpx.TransportError):
                await self._http.delete(self._url)
        await self._http.aclose()

    async def _initialized(self) -> None:
        opened = asyncio.Event()
        self.background(self._listen(opened))
        async with asyncio.timeout(SECONDS):
            await opened.wait()

    async def _listen(self, opened: asyncio.Event) -> None:
        async with self._http.stream("GET", self._url, timeout=None) as response:
            assert response.status_code == 200
            async for message in _events(response, opened):
                await self.take(message)
        self.closed.set()

    async def _send(self, message: JsonObject) -> None:
        response = await self._http.post(self._url, json=message, headers=self._mirror(message))
        assert response.status_code == 202, response.text

    async def _send_request(self, message: JsonObject, pending: Pending) -> None:
        self._exchanges[pending.id] = self.background(self._exchange(message))

    async def _exchange(self, message: JsonObject) -> None:
        async with self._http.stream(
            "POST", self._url, json=message, headers=self._mirror(message), timeout=None
        ) as response:
            if session := response.headers.get("mcp-session-id"):
                self._http.headers["mcp-session-id"] = session
                self._http.headers["mcp-protocol-version"] = self.era
            if response.headers.get("content-type") == "text/event-stream":
                async for each in _events(response):
                    await self.take(each)
            elif response.status_code != 204:
                await self.take(json.loads(await response.aread()))

    def _mirror(self, message: JsonObject) -> dict[str, str]:
        """What the new era repeats of a message in headers."""
        if not self.modern or "method" not in message:
            return {}
        headers = {"mcp-protocol-version": self.era, "mcp-method": message["method"]}
        name = message.get("params", {}).get(_NAMED.get(message["method"], ""))
        if isinstance(name, str):
            encoded = base64.b64encode(name.encode()).decode()
            headers["mcp-name"] = name if name.isascii() else f"=?base64?{encoded}?="
        return headers


async def _events(
    response: httpx.Response, opened: asyncio.Event | None = None
) -> AsyncIterator[JsonObject]:
    async for line in response.aiter_lines():
        if opened is not None:
            opened.set()
        if line.startswith("data:") and (data := line.removeprefix("data:").strip()):
            yield json.loads(data)
