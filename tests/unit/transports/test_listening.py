from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from kailash_mcp_prod.delays import Delays
from kailash_mcp_prod.errors import StartupError
from kailash_mcp_prod.transports.binding import bind
from kailash_mcp_prod.transports.http_wire import BoundedHttpProtocol
from kailash_mcp_prod.transports.listening import Listener


class App:
    """Answers at once, or hangs on `/hang` and streams without end on `/stream`."""

    def __init__(self) -> None:
        self.hanging = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        if scope["path"] == "/wait":
            self.hanging.set()
            await self.go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/stream":
            await send({"type": "http.response.body", "body": b": open\n\n", "more_body": True})
        if scope["path"] not in {"/", "/wait"}:
            self.hanging.set()
            await asyncio.Event().wait()
        await send({"type": "http.response.body", "body": b"hello"})


@asynccontextmanager
async def listening(
    app: App, host: str = "127.0.0.1", keep_alive_seconds: float = 60.0
) -> AsyncIterator[Listener]:
    listener = Listener(app, host, 0, keep_alive_seconds=keep_alive_seconds)
    try:
        await listener.start()
        yield listener
    finally:
        await listener.stop()


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


async def test_a_listener_serves_its_application() -> None:
    async with listening(App()) as listener, httpx.AsyncClient() as web:
        assert (await web.get(listener.url)).text == "hello"
        assert listener.url == f"http://127.0.0.1:{listener.port}"


async def test_the_port_is_free_again_after_stopping_and_can_be_taken_at_once() -> None:
    async with listening(App()) as listener, httpx.AsyncClient() as web:
        await web.get(listener.url)
    assert is_free(listener.port)

    again = Listener(App(), "127.0.0.1", listener.port)
    await again.start()
    await again.stop()


async def test_the_port_is_taken_before_anything_is_started() -> None:
    listener = Listener(App(), "127.0.0.1", 0)
    with pytest.raises(StartupError):
        Listener(App(), "127.0.0.1", listener.port)

    await listener.stop()
    assert is_free(listener.port)


async def test_a_port_in_use_is_told_with_what_to_do() -> None:
    async with listening(App()) as listener:
        with pytest.raises(StartupError) as refused:
            Listener(App(), "127.0.0.1", listener.port)

    assert str(refused.value) == (
        f"Can't listen on 127.0.0.1:{listener.port}: Address already in use. "
        "Choose another --port, or stop what uses it."
    )


@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid", "a..b", "x" * 300])
def test_an_address_that_is_not_ours_is_told(host: str) -> None:
    with pytest.raises(StartupError, match="Can't listen on "):
        Listener(None, host, 0)


@pytest.mark.parametrize("host", ["::1", "[::1]"])
async def test_ipv6_works_and_its_url_has_brackets(host: str) -> None:
    async with listening(App(), host) as listener, httpx.AsyncClient() as web:
        assert listener.url == f"http://[::1]:{listener.port}"
        assert (await web.get(listener.url)).text == "hello"


async def test_the_url_of_all_addresses_is_one_that_can_be_opened() -> None:
    async with listening(App(), "0.0.0.0") as listener, httpx.AsyncClient() as web:
        assert listener.url == f"http://127.0.0.1:{listener.port}"
        assert (await web.get(listener.url)).text == "hello"


async def stopping_takes(listener: Listener) -> float:
    begin = time.monotonic()
    await listener.stop()
    return time.monotonic() - begin


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\r\nHos", b"POST / HTTP/1.1\r\n"],
)
async def test_stopping_does_not_wait_for_idle_connections(sent: bytes) -> None:
    async with listening(App()) as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(sent)
        if b"\r\n\r\n" in sent:
            await reader.readuntil(b"hello")

        assert await stopping_takes(listener) < 2
        async with asyncio.timeout(5):
            await reader.read()
        writer.close()


@pytest.mark.parametrize("path", ["/hang", "/stream"])
async def test_stopping_ends_requests_that_do_not_end_by_themselves(path: str) -> None:
    app = App()
    async with listening(app) as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        await app.hanging.wait()

        assert await stopping_takes(listener) < 2
        async with asyncio.timeout(5):
            await reader.read()
        writer.close()


async def test_stopping_twice_or_without_a_start_is_harmless() -> None:
    async with listening(App()) as listener:
        await listener.stop()
        await listener.stop()
    await Listener(App(), "127.0.0.1", 0).stop()


async def test_a_start_that_fails_says_why_and_does_not_wait_for_ever() -> None:
    listener = Listener(App(), "127.0.0.1", 0)
    listener._sockets[0].close()

    async with asyncio.timeout(5):
        with pytest.raises((OSError, ValueError)):
            await listener.start()


async def test_signals_stay_with_whoever_owns_the_process() -> None:
    import signal

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    async with listening(App()):
        assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


async def test_a_listener_that_lets_go_says_so_with_every_answer() -> None:
    app = App()
    async with listening(app) as listener:
        idle, busy = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in "12"]
        idle[1].write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"connection: close" not in await idle[0].readuntil(b"hello")
        busy[1].write(b"POST /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        await app.hanging.wait()

        listener.let_go()

        assert listener.has_idle_connections
        idle[1].write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        app.go_on.set()
        async with asyncio.timeout(5):
            for reader, writer in (idle, busy):
                answer = await reader.read()
                assert b"connection: close" in answer
                assert b"hello" in answer
                writer.close()
        assert not listener.has_idle_connections


async def test_a_connection_is_kept_for_as_long_as_it_says() -> None:
    async with listening(App(), keep_alive_seconds=0.2) as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        async with asyncio.timeout(5):
            assert b"connection: close" not in await reader.readuntil(b"hello")
            began = time.monotonic()
            await reader.read()
        assert time.monotonic() - began > 0.1
        writer.close()


async def test_a_quiet_connection_is_soon_closed_by_a_listener_that_lets_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(BoundedHttpProtocol, "parting", Delays(0.2))
    async with listening(App()) as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        async with asyncio.timeout(5):
            await reader.readuntil(b"hello")

            listener.let_go()

            await reader.read()
        writer.close()


async def test_a_listener_that_stops_accepting_leaves_clients_to_another_one() -> None:
    shared = bind("127.0.0.1", 0)
    first, second = (
        Listener(App(), "127.0.0.1", 0, listening=socket.socket(fileno=os.dup(shared.fileno())))
        for _ in "12"
    )
    await first.start()
    await second.start()
    first.stop_accepting()
    try:
        assert first.port == second.port == shared.getsockname()[1]
        for _ in range(5):
            async with httpx.AsyncClient(trust_env=False) as web:
                assert (await web.get(second.url)).text == "hello"
        assert not first._server.server_state.total_requests
    finally:
        await first.stop()
        await second.stop()
        shared.close()


async def test_a_listener_serves_connections_that_somebody_else_has_accepted() -> None:
    door = bind("127.0.0.1", 0)
    port = door.getsockname()[1]
    listener = Listener(App(), "127.0.0.1", port, accepts=False)
    await listener.start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        gone = socket.create_connection(("127.0.0.1", port))
        gone.close()
        for _ in "12":
            listener.take(door.accept()[0])
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert await reader.readuntil(b"hello")
        assert listener.url == f"http://127.0.0.1:{port}"
        writer.close()
    finally:
        await listener.stop()
    # The door is not the listener's to close.
    assert not is_free(port)
    door.close()
