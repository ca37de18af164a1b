"""What uvicorn leaves open over HTTP: clients that never finish, or do not read."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket as sockets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kailash_mcp_prod.transports.connection_limit import ConnectionLimit
from kailash_mcp_prod.transports.http_wire import BoundedHttpProtocol
from kailash_mcp_prod.transports.listening import Listener
from tests.unit.transports.sockets import until

SECONDS = 10
HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"
MEGABYTE = 1024 * 1024


class App:
    """Answers with the length of the body and the number of headers, or as its path says."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.gone = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        match scope["path"]:
            case "/wait":
                await self._wait(receive, send)
            case "/unread":
                await self._answer(send, b"unread")
            case "/large":
                await self._answer(send, b"x" * 30 * MEGABYTE)
            case "/stream":
                await self._stream(send)
            case _:
                await self._count(scope, receive, send)

    async def _wait(self, receive: Any, send: Any) -> None:
        await receive()
        self.begun.set()
        leaving, waiting = asyncio.create_task(receive()), asyncio.create_task(self.go_on.wait())
        await asyncio.wait({leaving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            await self._answer(send, b"waited")
        else:
            self.gone.set()
        for task in (leaving, waiting):
            task.cancel()

    async def _count(self, scope: Any, receive: Any, send: Any) -> None:
        length, more = 0, True
        while more:
            message = await receive()
            length += len(message["body"])
            more = message["more_body"]
        await self._answer(send, b"%d bytes, %d headers;" % (length, len(scope["headers"])))

    async def _answer(self, send: Any, body: bytes) -> None:
        length = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": body})

    async def _stream(self, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(400):
            await send({"type": "http.response.body", "body": b"x" * 20_000, "more_body": True})
        await send({"type": "http.response.body", "body": b"the end"})


class Client:
    """A raw connection that reads only when told to."""

    def __init__(self, port: int, read_buffer: int | None = None) -> None:
        self._socket = sockets.socket()
        if read_buffer is not None:
            self._socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, read_buffer)
        self._socket.setblocking(False)
        self._port = port
        self._loop = asyncio.get_running_loop()

    async def __aenter__(self) -> Client:
        await self._loop.sock_connect(self._socket, ("127.0.0.1", self._port))
        return self

    async def __aexit__(self, *_failure: object) -> None:
        self._socket.close()

    async def send(self, data: bytes) -> None:
        """Send all, as far as the server takes it."""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(SECONDS):
                await self._loop.sock_sendall(self._socket, data)

    async def some(self, most: int = 65536) -> bytes:
        """What comes next; nothing at the end."""
        async with asyncio.timeout(SECONDS):
            try:
                return await self._loop.sock_recv(self._socket, most)
            except ConnectionError:
                return b""

    async def rest(self) -> bytes:
        """Everything until the server closes the connection."""
        parts = []
        while part := await self.some():
            parts.append(part)
        return b"".join(parts)

    async def until(self, end: bytes) -> bytes:
        """Everything up to these bytes."""
        data = b""
        while not data.endswith(end):
            part = await self.some()
            assert part, data[:200]
            data += part
        return data


class Site:
    """A served application."""

    def __init__(self, listener: Listener, app: App) -> None:
        self.listener = listener
        self.app = app

    def client(self, read_buffer: int | None = None) -> Client:
        return Client(self.listener.port, read_buffer)

    @property
    def connections(self) -> set[Any]:
        return self.listener._server.server_state.connections

    async def all_closed(self) -> None:
        await until(lambda: not self.connections)


@pytest.fixture
async def here() -> AsyncIterator[Site]:
    app = App()
    listener = Listener(app, "127.0.0.1", 0, max_message_bytes=1000)
    try:
        await listener.start()
        yield Site(listener, app)
    finally:
        await listener.stop()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedHttpProtocol, "head_seconds", 0.2)


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedHttpProtocol, "write_seconds", 0.2)


def whole(size: int, fill: bytes = b"") -> bytes:
    return HEAD + b"Content-Length: %d\r\n" % size + fill + b"\r\n" + b"x" * size


ENDLESS = {
    "url": b"GET /" + b"a" * MEGABYTE,
    "header": HEAD + b"X-A: " + b"a" * MEGABYTE,
    "name": HEAD + b"a" * MEGABYTE,
    "headers": HEAD + b"X-B: c\r\n" * 100_000,
    "blank lines": b"\r\n" * 500_000,
}


@pytest.mark.parametrize("before", [b"", whole(5), whole(100_000)], ids=len)
async def test_an_endless_head_is_refused(here: Site, before: bytes) -> None:
    for endless in ENDLESS.values():
        async with here.client() as client:
            await client.send(before)
            if before:
                await client.until(b"headers;")
            await client.send(endless)
            await client.rest()


async def test_a_head_over_the_limit_is_answered_with_431(here: Site) -> None:
    async with here.client() as client:
        await client.send(HEAD + b"X-A: " + b"a" * (64 * 1024 - len(HEAD) - 5))
        answer = await client.rest()

    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"connection: close" in answer
    assert answer.endswith(b"65536 bytes and 100 headers.")


async def test_more_than_a_hundred_headers_are_refused(here: Site) -> None:
    async with here.client() as client:
        await client.send(whole(3, b"X-B: c\r\n" * 98))
        assert b"3 bytes, 100 headers;" in await client.until(b"headers;")
        await client.send(whole(3, b"X-B: c\r\n" * 99))
        assert (await client.rest()).startswith(b"HTTP/1.1 431 ")


async def test_a_long_head_within_the_limit_and_a_longer_body_are_taken(here: Site) -> None:
    async with here.client() as client:
        for _ in range(3):
            await client.send(whole(MEGABYTE, b"X-A: " + b"a" * 60_000 + b"\r\n"))
            assert b"1048576 bytes, 3 headers;" in await client.until(b"headers;")


async def test_a_head_in_small_pieces_before_a_body_is_taken_once(here: Site) -> None:
    async with here.client() as client:
        request = whole(50_000, b"X-A: " + b"a" * 62_000 + b"\r\n")
        await client.send(request[:62_000])
        await until(lambda: [each._counted for each in here.connections] == [62_000])
        await client.send(request[62_000:])
        assert b"50000 bytes, 3 headers;" in await client.until(b"headers;")


async def test_many_requests_in_one_piece_are_all_answered(here: Site) -> None:
    async with here.client() as client:
        await client.send(whole(1_000) * 200)
        answers = b""
        while answers.count(b"1000 bytes") < 200:
            answers += await client.some()


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"


async def test_what_is_neither_head_nor_body_has_the_same_limit(here: Site) -> None:
    trailers, trailer = b"0\r\n" + b"X-B: c\r\n" * 100_000, b"0\r\nX-A: " + b"a" * MEGABYTE
    extension = b"3;" + b"a" * MEGABYTE
    for endless in (trailers, trailer, extension):
        async with here.client() as client:
            await client.send(CHUNKED + endless)
            await client.rest()


async def test_trailers_are_left_out(here: Site) -> None:
    async with here.client() as client:
        await client.send(CHUNKED + b"0\r\nX-API-Key: other\r\n\r\n")
        assert b"3 bytes, 2 headers;" in await client.until(b"headers;")


@pytest.mark.usefixtures("impatient")
async def test_a_head_that_does_not_come_to_its_end_is_not_waited_for(here: Site) -> None:
    async def first(sent: bytes) -> bytes:
        async with here.client() as client:
            await client.send(sent)
            return await client.rest()

    async def second(sent: bytes) -> bytes:
        async with here.client() as client:
            await client.send(whole(5))
            await client.until(b"headers;")
            await client.send(sent)
            return await client.rest()

    begun = [b"\r\n", b"GET", HEAD]
    assert set(await asyncio.gather(first(b""), *map(first, begun), *map(second, begun))) == {b""}


@pytest.mark.usefixtures("impatient")
async def test_the_rest_of_a_body_that_nobody_reads_is_not_waited_for(here: Site) -> None:
    async with here.client() as client:
        await client.send(b"POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n")
        await client.until(b"unread")
        await client.send(b"x")
        assert await client.rest() == b""


@pytest.mark.usefixtures("impatient")
async def test_a_request_that_takes_long_keeps_its_connection(here: Site) -> None:
    async with here.client() as client:
        await client.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\nGET / HT")
        await here.app.begun.wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.4):
                await client.some()
        here.app.go_on.set()
        await client.until(b"waited")
        await client.send(b"TP/1.1\r\nHost: a\r\n\r\n")
        await client.until(b"headers;")


async def test_an_oversized_head_behind_a_running_request_is_no_part_of_its_answer(
    here: Site,
) -> None:
    async with here.client() as client:
        await client.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n" + ENDLESS["header"])
        assert await client.rest() == b""
        async with asyncio.timeout(SECONDS):
            await here.app.gone.wait()


@pytest.mark.parametrize("path", [b"/large", b"/stream"])
@pytest.mark.parametrize("ending", [b"", b"Connection: close\r\n"])
@pytest.mark.usefixtures("unread")
async def test_a_client_that_does_not_read_is_dropped(
    here: Site, path: bytes, ending: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with here.client(4096) as client:
        await client.send(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n" + ending + b"\r\n")
        await client.some(1)
        await here.all_closed()

    assert caplog.text == ""


@pytest.mark.usefixtures("unread")
async def test_a_little_that_is_not_read_does_not_keep_a_closing_connection(here: Site) -> None:
    async with here.client(4096) as client:
        await client.send(b"GET /wait HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        await here.app.begun.wait()
        [protocol] = here.connections
        server_end = protocol.transport.get_extra_info("socket")
        server_end.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, 4096)
        protocol.transport.write(b"x" * 60_000)
        here.app.go_on.set()
        await here.all_closed()


@pytest.mark.usefixtures("unread")
async def test_a_slow_client_that_reads_gets_all(here: Site) -> None:
    async with here.client(65536) as client:
        await client.send(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        received, begin = 0, asyncio.get_running_loop().time()
        # Slow enough to pass the limit several times.
        while part := await client.some(300_000):
            received += len(part)
            await asyncio.sleep(0.004)
        took = asyncio.get_running_loop().time() - begin

    assert received > 30 * MEGABYTE
    assert took > 3 * BoundedHttpProtocol.write_seconds


async def test_a_request_is_told_that_its_client_left_with_another_one_behind(
    here: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with here.client() as client:
        await client.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n" + whole(5))
        await here.app.begun.wait()
    async with asyncio.timeout(SECONDS):
        await here.app.gone.wait()

    assert caplog.text == ""


async def test_an_upgrade_behind_a_running_request_ends_the_connection(here: Site) -> None:
    upgrade = (
        b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    async with here.client() as client:
        await client.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n" + upgrade)
        assert await client.rest() == b""
        async with asyncio.timeout(SECONDS):
            await here.app.gone.wait()


async def test_every_listener_speaks_the_bounded_protocol(here: Site) -> None:
    async with here.client() as client:
        await client.send(whole(1))
        await client.until(b"headers;")
        assert all(isinstance(each, BoundedHttpProtocol) for each in here.connections)


async def test_connections_beyond_the_limit_are_refused_and_the_others_served() -> None:
    limit = ConnectionLimit(2)
    listeners = [Listener(App(), "127.0.0.1", 0, connections=limit) for _ in range(2)]
    try:
        for each in listeners:
            await each.start()
        here, beside = (Client(each.port) for each in listeners)
        async with here, beside:
            for client in (here, beside):
                await client.send(whole(1))
                await client.until(b"headers;")
            for each in listeners:
                async with Client(each.port) as late:
                    refusal = await late.rest()
                    assert refusal.startswith(b"HTTP/1.1 503 ")
                    assert b"retry-after: 5" in refusal
            await here.send(whole(1))
            await here.until(b"headers;")
        here_now = listeners[0]._server.server_state.connections
        await until(lambda: not limit.is_full(here_now))
        async with Client(listeners[0].port) as late:
            await late.send(whole(1))
            await late.until(b"headers;")
    finally:
        for each in listeners:
            await each.stop()


H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"


async def test_a_wish_for_another_protocol_is_ignored_and_the_body_read(here: Site) -> None:
    async with here.client() as client:
        await client.send(whole(7, H2C) * 3 + whole(8, H2C)[:-3])
        answers = b""
        while answers.count(b"7 bytes, 3 headers;") < 3:
            answers += await client.some()
        await client.send(b"xxx" + whole(9))
        while b"9 bytes" not in answers:
            answers += await client.some()

    assert answers.count(b"HTTP/1.1 200") == 5
    assert b"8 bytes" in answers


async def test_a_body_behind_such_a_wish_is_not_taken_for_a_request(here: Site) -> None:
    hidden = b"GET /unread HTTP/1.1\r\nHost: a\r\n\r\n"
    async with here.client() as client:
        head = whole(len(hidden), H2C + b"Connection: close\r\n")[: -len(hidden)]
        await client.send(head)
        await client.send(hidden)
        answers = await client.rest()

    assert answers.count(b"HTTP/1.1") == 1
    assert b"%d bytes" % len(hidden) in answers


async def test_only_a_get_becomes_a_websocket(here: Site) -> None:
    async with here.client() as client:
        await client.send(whole(5, b"Connection: upgrade\r\nUpgrade: websocket\r\n"))
        assert b"5 bytes" in await client.until(b"headers;")
