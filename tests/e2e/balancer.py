"""A small TCP load balancer: round robin over the replicas that are ready, without stickiness."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import httpx

LOOK_SECONDS = 0.1


@dataclass(eq=False)
class Replica:
    """A server behind the balancer.

    Attributes:
        mcp: The port of MCP.
        rest: That of REST.
        ready: Whether it gets connections.
    """

    mcp: int
    rest: int
    ready: bool = False
    changed: threading.Event = field(default_factory=threading.Event)


class Balancer:
    """Passes connections on. One that a replica refuses goes to the next, as with any proxy.

    What was sent on a connection is never sent anew: a call that breaks is the client's to notice.
    """

    def __init__(self) -> None:
        self.replicas: list[Replica] = []
        self.mcp = self.rest = 0
        self._turn = 0

    async def run(self, started: threading.Event, stop: asyncio.Event) -> None:
        """Balance until told to stop."""
        servers = [
            await asyncio.start_server(
                lambda reader, writer, kind=kind: self._pass_on(reader, writer, kind),
                "127.0.0.1",
                0,
            )
            for kind in ("mcp", "rest")
        ]
        self.mcp, self.rest = (each.sockets[0].getsockname()[1] for each in servers)
        looking = asyncio.create_task(self._look())
        started.set()
        await stop.wait()
        looking.cancel()
        for each in servers:
            each.close()

    async def _look(self) -> None:
        async with httpx.AsyncClient(timeout=5, trust_env=False) as web:
            while True:
                for replica in tuple(self.replicas):
                    url = f"http://127.0.0.1:{replica.rest}/health/ready"
                    try:
                        # As most balancers do, on a connection of its own.
                        answer = await web.get(url, headers={"connection": "close"})
                        replica.ready = answer.status_code == 200
                    except httpx.HTTPError:
                        replica.ready = False
                    if replica.ready:
                        replica.changed.set()
                await asyncio.sleep(LOOK_SECONDS)

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kind: str
    ) -> None:
        try:
            for _ in self.replicas:
                self._turn += 1
                ready = [each for each in self.replicas if each.ready]
                if not ready:
                    break
                port = getattr(ready[self._turn % len(ready)], kind)
                with suppress(ConnectionRefusedError):
                    there = await asyncio.open_connection("127.0.0.1", port)
                    await _both_ways((reader, writer), there)
                    break
        finally:
            writer.close()


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _both_ways(client: Ends, server: Ends) -> None:
    """Carry bytes until one side has ended; the other is told."""

    async def carry(source: Ends, target: Ends) -> None:
        with suppress(OSError):
            while data := await source[0].read(65_536):
                target[1].write(data)
                await target[1].drain()
        target[1].close()

    await asyncio.gather(carry(client, server), carry(server, client))


@contextmanager
def balancing() -> Iterator[Balancer]:
    """A balancer in a thread of its own; its ports are known."""
    balancer = Balancer()
    started = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    def run() -> None:
        loop.run_until_complete(balancer.run(started, stop))
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert started.wait(10)
        yield balancer
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
