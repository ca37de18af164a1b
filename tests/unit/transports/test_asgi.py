from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kailash_mcp_prod.transports.asgi import EventStream
from tests.unit.transports.sockets import until


class Wire:
    """An ASGI send function whose client reads only after `read`."""

    def __init__(self) -> None:
        self.waiting = asyncio.Event()
        self.read = asyncio.Event()
        self.sent: list[bytes] = []

    async def __call__(self, message: Any) -> None:
        self.waiting.set()
        await self.read.wait()
        self.sent.append(message.get("body", b"head"))


class BrokenError(Exception):
    """Ends a block."""


def tasks() -> set[str]:
    """What runs beside the test."""
    return {
        getattr(task.get_coro(), "__qualname__", "")
        for task in asyncio.all_tasks() - {asyncio.current_task()}
    }


@pytest.mark.parametrize("events", [0, 1])
async def test_a_stream_whose_block_ends_while_it_starts_does_not_tick(events: int) -> None:
    wire = Wire()
    stream = EventStream(wire, [], 0.01)

    async def block() -> None:
        async with stream:
            starting = asyncio.create_task(stream.start())
            await wire.waiting.wait()
            asyncio.get_running_loop().call_soon(wire.read.set)
            for _ in range(events):
                await stream.event(b"{}")
        await starting

    await block()
    await asyncio.sleep(0)
    assert wire.sent[:2] == [b"head", b": open\n\n"]
    assert wire.sent[-1] == b""
    assert tasks() == set()


async def test_a_stream_whose_block_breaks_while_it_starts_does_not_tick() -> None:
    wire = Wire()
    stream = EventStream(wire, [], 0.01)

    async def block() -> None:
        async with stream:
            starting.append(asyncio.create_task(stream.start()))
            await wire.waiting.wait()
            raise BrokenError

    starting: list[asyncio.Task[None]] = []
    with pytest.raises(BrokenError):
        await block()
    wire.read.set()
    await starting[0]

    assert wire.sent == [b"head", b": open\n\n"]
    assert tasks() == set()


async def test_a_block_that_is_cancelled_while_its_stream_ends_leaves_nothing() -> None:
    wire = Wire()
    stream = EventStream(wire, [], 0.01)

    async def block() -> asyncio.Task[None]:
        async with stream:
            starting = asyncio.create_task(stream.start())
            await wire.waiting.wait()
        return starting

    running = asyncio.create_task(block())
    await wire.waiting.wait()
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait({running})
    wire.read.set()
    await until(lambda: not tasks())

    assert wire.sent == [b"head", b": open\n\n"]
