"""A WebSocket transport that listens on a real port, and clients of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.typing import Subprotocol

from kailash_mcp_prod.protocol import Dispatcher
from kailash_mcp_prod.transports.listening import Listener
from kailash_mcp_prod.transports.websocket import WebSocketTransport
from tests import wire_schema
from tests.sample_host import KeyRing, SampleHost

SECONDS = 5
MCP = Subprotocol("mcp")


class Socket:
    """One open WebSocket, as a client sees it."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, *messages: Any) -> None:
        """Send messages as JSON, or bytes and texts as they are, each as one text message."""
        for message in messages:
            text = message if isinstance(message, str | bytes) else json.dumps(message)
            await self.connection.send(text, text=True)

    async def receive(self) -> Any:
        """The next message; the code and reason of the closing, if that comes first."""
        try:
            async with asyncio.timeout(SECONDS):
                return json.loads(await self.connection.recv())
        except ConnectionClosed as closed:
            if closed.rcvd is None:
                raise
            return closed.rcvd.code, closed.rcvd.reason

    async def ask(self, message: dict[str, Any], revision: str = wire_schema.MODERN) -> Any:
        """Send a request and check its response."""
        wire_schema.check_request(revision, message)
        await self.send(message)
        response = await self.receive()
        wire_schema.check_response(revision, response, message["method"])
        assert response["id"] == message["id"]
        return response


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop go on until the condition holds."""
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 - it is about any part of the server
            await asyncio.sleep(0)


_HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: mcp\r\n\r\n"
)


class RawSocket:
    """One open WebSocket that sends frames as told, and reads and answers nothing by itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> Self:
        """Do the handshake."""
        client_end = socket.socket()
        client_end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client_end.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client_end, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=client_end, limit=4096)
        writer.write(_HANDSHAKE)
        async with asyncio.timeout(SECONDS):
            assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        return cls(reader, writer)

    async def send_text(self, text: str) -> None:
        """Send a text message."""
        await self.send_bytes(Frame(Opcode.TEXT, text.encode()).serialize(mask=True))

    async def send_pings(self, count: int) -> None:
        """Send pings, each as long as a ping may be."""
        await self.send_bytes(Frame(Opcode.PING, b"p" * 125).serialize(mask=True) * count)

    async def send_bytes(self, data: bytes) -> None:
        """Send bytes, for at most half a second if nobody takes them."""
        self._writer.write(data)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await self._writer.drain()

    async def rest(self) -> bytes:
        """Everything until the server closes the connection."""
        async with asyncio.timeout(SECONDS):
            return await self._reader.read()

    def close(self) -> None:
        """Drop the connection."""
        self._writer.transport.abort()


class Site:
    """A served transport."""

    def __init__(self, ping_seconds: float, **options: Any) -> None:
        self.host = SampleHost()
        self.keys = KeyRing()
        self.transport = WebSocketTransport(
            Dispatcher(self.host, instructions="Echo what you hear."), self.keys, **options
        )
        self.listener = Listener(
            self.transport,
            "127.0.0.1",
            0,
            max_message_bytes=options.get("max_message_bytes", 4 * 1024 * 1024),
            ping_seconds=ping_seconds,
        )
        self.port = self.listener.port

    @contextlib.asynccontextmanager
    async def client(
        self, path: str = "/ws", key: str | None = None, **options: Any
    ) -> AsyncIterator[Socket]:
        """An open WebSocket."""
        defaults: dict[str, Any] = {
            "subprotocols": [MCP],
            "compression": None,
            "proxy": None,
            "max_size": None,
        }
        options = {**defaults, **options}
        if key is not None:
            options["additional_headers"] = {"X-API-Key": key}
        url = f"ws://127.0.0.1:{self.port}{path}"
        async with connect(url, open_timeout=SECONDS, close_timeout=1, **options) as connection:
            yield Socket(connection)

    async def refusal(self, path: str = "/ws", **options: Any) -> InvalidStatus:
        """What the upgrade is refused with."""
        try:
            async with self.client(path, **options):
                pass
        except InvalidStatus as refused:
            return refused
        raise AssertionError("the upgrade was accepted")


@contextlib.asynccontextmanager
async def site(ping_seconds: float = 20.0, **options: Any) -> AsyncIterator[Site]:
    """A transport with these settings, on a port of its own."""
    served = Site(ping_seconds, **options)
    try:
        await served.transport.start()
        await served.listener.start()
        yield served
    finally:
        await served.transport.stop()
        await served.listener.stop()
