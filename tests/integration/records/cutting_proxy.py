"""A TCP proxy before a database, which can cut a connection at a statement."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class CuttingProxy:
    """Passes everything on until it is told to cut a connection.

    It runs in a thread of its own, because DataFlow also connects from the event loop's thread.

    Args:
        target: The port of the database on 127.0.0.1.
    """

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._cut_at: bytes | None = None
        self._delivers = False
        self._relays: set[asyncio.Task[None]] = set()

    def cut(self, statement: bytes, *, delivers: bool) -> None:
        """Cuts the next connection on which a statement is sent.

        Args:
            statement: Part of the statement.
            delivers: Whether the database gets it; the client never hears of that.
        """
        self._delivers = delivers
        self._cut_at = statement

    async def serve(self, ready: threading.Event, stop: asyncio.Event) -> None:
        """Serves until `stop` is set, and leaves no connection behind."""
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        async with server:
            await stop.wait()
        for relay in self._relays:
            relay.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relay = asyncio.current_task()
        assert relay is not None
        self._relays.add(relay)
        try:
            answers, database = await asyncio.open_connection("127.0.0.1", self._target)
            try:
                await self._pass_between(reader, writer, answers, database)
            finally:
                await _dropped(database)
        except ConnectionError:
            pass
        finally:
            await _dropped(writer)
            self._relays.discard(relay)

    async def _pass_between(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answers: asyncio.StreamReader,
        database: asyncio.StreamWriter,
    ) -> None:
        answering = asyncio.create_task(_pass_on(answers, writer))
        try:
            while data := await reader.read(65536):
                if self._cut_at is not None and self._cut_at in data:
                    self._cut_at = None
                    await _stopped(answering)
                    if self._delivers:
                        database.write(data)
                        await answers.read(1)
                    return
                database.write(data)
                await database.drain()
        finally:
            answering.cancel()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    # However the database ended, its client hears of it. One that is cut off hears of it only when
    # the database has answered, so that what it then finds is settled.
    writer.close()


async def _stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})


async def _dropped(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with suppress(ConnectionError):
        await writer.wait_closed()


@contextmanager
def cutting_proxy(target: int) -> Iterator[CuttingProxy]:
    """A proxy before the database on a port, until the block ends."""
    proxy = CuttingProxy(target)
    ready = threading.Event()
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def run() -> None:
        stop = asyncio.Event()
        loops.append((asyncio.get_running_loop(), stop))
        await proxy.serve(ready, stop)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    try:
        assert ready.wait(10)
        yield proxy
    finally:
        for loop, stop in loops:
            loop.call_soon_threadsafe(stop.set)
        thread.join()
