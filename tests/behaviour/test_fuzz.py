"""Damaged messages over every transport: each is answered, or the channel is closed properly.

The server runs in this process. It must go on, tell nothing of its inside, and not grow.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import random
import re
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest
from websockets.frames import Frame, Opcode

from tests import wire_schema
from tests.behaviour.clients import MODERN_META, SECONDS, ChannelClient
from tests.behaviour.conftest import Served, Switch
from tests.behaviour.mutator import SEEDS, assert_tells_nothing, damaged, replies_due

MESSAGES = 4000
CHUNK = 50
GROWTH = 8 * 1024 * 1024
MORE_OBJECTS = 1000
META = {**MODERN_META, "io.modelcontextprotocol/clientCapabilities": {}}

pytestmark = pytest.mark.parametrize("era", [wire_schema.LEGACY])


@pytest.fixture(autouse=True)
def _no_defect(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail if the server, or the event loop, has logged an error.

    uvicorn logs text that is no UTF-8 as one.
    """
    yield
    errors = [
        record.getMessage()
        for record in caplog.get_records("call")
        if record.levelno >= logging.ERROR and "UTF-8" not in record.getMessage()
    ]
    assert errors == []


class Memory:
    """What the process holds, from the moment on when it has warmed up."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._start: tuple[int, int] | None = None

    def warm(self) -> None:
        """Count from here; later calls do nothing."""
        if self._start is None:
            self._start = self._held()

    def assert_bounded(self) -> None:
        assert self._start is not None
        held = self._held()
        grown, more = held[0] - self._start[0], held[1] - self._start[1]
        assert grown < GROWTH, f"grew by {grown / 1e6:.1f} MB"
        assert more < MORE_OBJECTS, f"{more} more objects"

    def _held(self) -> tuple[int, int]:
        gc.collect()
        return self._process.memory_info().rss, len(gc.get_objects())


class Probe:
    """Counts what comes back on a channel, and asks whether the server is well."""

    def __init__(self, client: ChannelClient) -> None:
        self.client = client
        self.least = self.most = self.replies = 0
        self._asked = 0
        self._well = asyncio.Event()
        client.take = self._take  # type: ignore[method-assign]

    async def send(self, text: bytes, *, lines: bool) -> None:
        """Send one damaged text, and count the replies that are due."""
        parts = text.split(b"\n") if lines else [text]
        for part in parts:
            if part.strip() or not lines:
                least, most = replies_due(part.strip() if lines else part)
                self.least += least
                self.most += most
        await self.client._write(text)

    async def settle(self) -> None:
        """Wait until a good request and all damaged ones that are due are answered."""
        self._well.clear()
        self._asked += 1
        request = {"jsonrpc": "2.0", "id": f"probe-{self._asked}", "method": "tools/list"}
        await self.client._write(json.dumps({**request, "params": {"_meta": META}}).encode())
        async with asyncio.timeout(SECONDS):
            await self._well.wait()
            while self.replies < self.least:  # noqa: ASYNC110 - counted elsewhere
                await asyncio.sleep(0.001)
        assert self.replies <= self.most
        assert not self.client.closed.is_set()

    async def _take(self, message: Any) -> None:
        if isinstance(message, dict) and message.get("id") == f"probe-{self._asked}":
            assert message["result"]["tools"]
            self._well.set()
            return
        assert_tells_nothing(json.dumps(message).encode())
        for each in message if isinstance(message, list) else [message]:
            if "method" not in each:
                modern = "error" in each or "resultType" in each["result"]
                wire_schema.check_response(wire_schema.MODERN if modern else self.client.era, each)
        self.replies += isinstance(message, list) or "method" not in message


def is_text(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize("transport", ["stdio", "websocket"])
async def test_damaged_messages_on_a_channel_are_answered(served: Served, transport: str) -> None:
    client = await served.connect()
    assert isinstance(client, ChannelClient)
    probe, memory = Probe(client), Memory()
    lines = transport == "stdio"
    texts = [text for text in damaged(MESSAGES, seed=4) if lines or is_text(text)]
    for start in range(0, len(texts), CHUNK):
        for text in texts[start : start + CHUNK]:
            await probe.send(text, lines=lines)
        await probe.settle()
        if start > len(texts) // 3:
            memory.warm()

    memory.assert_bounded()
    assert probe.replies > MESSAGES // 2


@pytest.mark.parametrize("transport", ["websocket"])
async def test_damaged_text_closes_a_websocket_and_no_other(served: Served, transport: str) -> None:
    other = await served.connect()
    for text in [text for text in damaged(600, seed=5) if not is_text(text)][:30]:
        client = await served.connect()
        assert await client.send_raw(text) is None
        await client.close()

    assert (await other.request("tools/list")).result


def mirrored(text: bytes) -> dict[str, str]:
    """Headers of the new era, as far as a damaged message lets know."""
    headers = {"mcp-method": "tools/list", "mcp-protocol-version": wire_schema.MODERN}
    for header, member in (("mcp-method", b"method"), ("mcp-name", b"name")):
        if found := re.search(rb'"%s": "([\w/]+)"' % member, text):
            headers[header] = found[1].decode()
    return headers


@pytest.mark.parametrize("transport", ["http"])
async def test_damaged_messages_over_http_are_answered(
    served: Served, switch: tuple[Switch, int], transport: str
) -> None:
    client = await served.connect()
    session = dict(client._http.headers)  # type: ignore[attr-defined]
    url, memory = f"http://127.0.0.1:{switch[1]}/mcp", Memory()
    texts = iter(list(enumerate(damaged(1200, seed=6))))

    async def post(web: httpx.AsyncClient) -> None:
        for number, text in texts:
            headers = mirrored(text) if number % 2 else session
            headers = {**headers, "content-type": "application/json"}
            async with (
                asyncio.timeout(SECONDS),
                web.stream("POST", url, content=text, headers=headers) as response,
            ):
                assert response.status_code < 500, text
                if response.headers.get("content-type") == "text/event-stream":
                    # One that listens: it goes on until the client has heard enough.
                    answer = await anext(response.aiter_bytes())
                else:
                    answer = await response.aread()
                assert_tells_nothing(answer)
            if number > 400:
                memory.warm()

    accept = {"accept": "application/json, text/event-stream"}
    async with httpx.AsyncClient(headers=accept, trust_env=False, timeout=SECONDS) as web:
        await asyncio.gather(*(post(web) for _ in range(8)))

    memory.assert_bounded()
    assert (await client.request("tools/list")).result


def requests(chance: random.Random, path: str, *headers: str) -> bytes:
    body = chance.choice(SEEDS)
    head = [f"POST {path} HTTP/1.1", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(head).encode() + body


_UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: mcp\r\nOrigin: http://localhost\r\n\r\n"
)


def damaged_bytes(kind: str, count: int) -> Iterator[bytes]:
    """What a client of HTTP or WebSocket sends on its connection, with a few bytes changed."""
    chance = random.Random(7)
    for _ in range(count):
        if kind == "http":
            data = bytearray(
                requests(
                    chance,
                    "/mcp",
                    *("Host: localhost", "Content-Type: application/json"),
                    *("Accept: application/json", "X-API-Key: alice-key"),
                )
            )
            first = 0
        else:
            frames = [
                Frame(chance.choice(list(Opcode)), chance.choice(SEEDS)[:120]).serialize(mask=True)
                for _ in range(3)
            ]
            data = bytearray(_UPGRADE + b"".join(frames))
            # Most with a good handshake, so that the frames are looked at.
            first = len(_UPGRADE) if chance.random() < 0.8 else 0
        for _ in range(chance.choice((1, 3, 10))):
            position = chance.randrange(first, len(data))
            match chance.randrange(3):
                case 0:
                    data[position] = chance.randrange(256)
                case 1:
                    del data[position : position + chance.choice((1, 5))]
                    data += b"."
                case _:
                    data[position:position] = chance.randbytes(chance.choice((1, 5)))
        yield bytes(data)


@pytest.mark.parametrize("transport", ["http", "websocket"])
async def test_damaged_bytes_on_a_connection_do_no_harm(
    served: Served, switch: tuple[Switch, int], transport: str
) -> None:
    client, memory = await served.connect(), Memory()
    for number, data in enumerate(damaged_bytes(transport, 300)):
        reader, writer = await asyncio.open_connection("127.0.0.1", switch[1])
        try:
            writer.write(data)
            writer.write_eof()
            async with asyncio.timeout(SECONDS):
                answer = await reader.read()
        except ConnectionError:
            answer = b""
        finally:
            writer.transport.abort()
        assert_tells_nothing(answer)
        if number > 100:
            memory.warm()

    memory.assert_bounded()
    assert (await client.request("tools/list")).result
