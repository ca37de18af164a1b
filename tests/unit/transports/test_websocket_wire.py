"""What uvicorn leaves open: clients that do not read, do not answer, or never finish."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket as socket_module
from collections.abc import AsyncIterator

import pytest
from websockets.exceptions import ConnectionClosed

from kailash_mcp_prod.transports import websocket_wire
from kailash_mcp_prod.transports.websocket_wire import BoundedWebSocketProtocol
from tests.unit.transports.conftest import META, rpc
from tests.unit.transports.sockets import RawSocket, Site, site, until


@pytest.fixture
async def here() -> AsyncIterator[Site]:
    async with site() as here:
        yield here


async def test_a_message_of_endless_empty_fragments_ends_the_channel(here: Site) -> None:
    async with here.client() as socket:

        async def fragments() -> AsyncIterator[str]:
            yield "{"
            for _ in range(11_000):
                yield ""

        with contextlib.suppress(ConnectionClosed):
            await socket.connection.send(fragments())

        assert await socket.receive() == (1009, "too many fragments")


async def test_a_paused_channel_is_not_taken_for_dead() -> None:
    async with site(ping_seconds=0.05, max_in_flight=1) as here, here.client() as socket:
        await socket.send(*(rpc("tools/call", n, name="slow", _meta=META) for n in range(3)))
        await here.host.slow_started.wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await socket.connection.recv()
        here.host.release_slow.set()

        assert {(await socket.receive())["id"] for _ in range(3)} == {0, 1, 2}


@contextlib.asynccontextmanager
async def raw(here: Site) -> AsyncIterator[RawSocket]:
    """A client that does only what the test says."""
    socket = await RawSocket.open(here.port)
    try:
        yield socket
    finally:
        socket.close()


async def all_closed(here: Site) -> None:
    connections = here.listener._server.server_state.connections
    await until(lambda: not here.transport._open and not connections)


async def test_a_client_that_does_not_answer_pings_is_dropped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR)
    async with site(ping_seconds=0.1) as here, raw(here) as socket:
        assert b"keepalive ping timeout" in await socket.rest()
        await all_closed(here)

    assert caplog.text == ""


async def test_a_client_that_does_not_read_its_answers_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(websocket_wire, "_LINGER_SECONDS", 0.1)
    async with site(write_seconds=0.2, max_in_flight=2) as here, raw(here) as socket:
        call = rpc("tools/call", name="echo", arguments={"t": "x" * 1_000_000}, _meta=META)
        with contextlib.suppress(ConnectionError):
            for number in range(20):
                await socket.send_text(json.dumps({**call, "id": number}))
        await all_closed(here)

        assert len(here.host.calls) < 10


async def test_pings_of_a_client_that_does_not_read_are_not_answered(here: Site) -> None:
    async with raw(here) as socket:
        [protocol] = here.listener._server.server_state.connections
        assert isinstance(protocol, BoundedWebSocketProtocol)
        server_end = protocol.transport.get_extra_info("socket")
        server_end.setsockopt(socket_module.SOL_SOCKET, socket_module.SO_SNDBUF, 4096)
        for _ in range(10):
            await socket.send_pings(2_000)
        await socket.send_text(json.dumps(rpc("tools/call", name="echo", _meta=META)))
        await here.host.called.wait()
        waiting = protocol.transport.get_write_buffer_size()

    assert waiting < 200_000
