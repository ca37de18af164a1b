"""Event streams of the old era, which are kept so that a client can come back for the rest.

Source: the section *Resumability and Redelivery* of the page *Transports* of MCP 2025-11-25.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from kailash_mcp_prod.protocol import Reply
from kailash_mcp_prod.transports.asgi import EventStream
from kailash_mcp_prod.transports.event_log import EventLog
from kailash_mcp_prod.transports.http_sessions import Session

_PRIMED_FROM: Final = "2025-11-25"
_RETRY_MS: Final = 1000


class ResumableAnswer:
    """An answer whose events are kept, so that the client can come back for them.

    Args:
        session: Keeps them.
        stream: Carries them, as long as the client is there.
    """

    def __init__(self, session: Session, stream: EventStream) -> None:
        self._session = session
        self._stream = stream
        self._log: EventLog | None = None
        self._writer: asyncio.Task[None] | None = None

    @property
    def begun(self) -> bool:
        """Whether the answer is a stream."""
        return self._log is not None

    async def begin(self) -> None:
        """Make it one."""
        self._begun()

    async def emit(self, message: bytes) -> None:
        """Send a message before the response."""
        self._begun().append(message)
        # The writer's turn, so that a handler that never waits does not fill the log.
        await asyncio.sleep(0)

    async def pause(self) -> None:
        """Close the connection; the client comes back for the rest by its last event."""
        self._begun().pause()
        if self._writer is not None:
            await asyncio.wait({self._writer})
        await self._stream.end(retry_ms=_RETRY_MS)

    async def finish(self, reply: Reply | None) -> None:
        """Send the response, if there is one, and end the stream."""
        if self._log is None:
            return
        if reply is not None:
            self._log.append(reply.body)
        self._log.end()
        if self._writer is not None:
            await asyncio.wait({self._writer})
        await self._stream.end()

    def _begun(self) -> EventLog:
        if self._log is None:
            self._log = self._session.logs.new(carries_answer=True)
            version = self._session.connection.version or ""
            primed = self._log.event_id(0) if version >= _PRIMED_FROM else None
            self._writer = asyncio.create_task(write_log(self._log, self._stream, 0, prime=primed))
        return self._log


async def write_log(
    log: EventLog,
    stream: EventStream,
    after: int,
    *,
    prime: str | None = None,
    until: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Carry a log's events to a client; `until` fills the log meanwhile and may end it."""
    filling = None if until is None or log.carries_answer else asyncio.ensure_future(until())
    try:
        # The events stay for a client that is gone.
        with suppress(OSError):
            await stream.start(prime)
            async for position, message in log.follow(after):
                await stream.event(message, log.event_id(position))
            if not (log.ended or log.paused):
                # The client has come back for it by another request.
                await stream.end()
    finally:
        if filling is not None:
            filling.cancel()


def pump(session: Session, log: EventLog) -> Callable[[], Awaitable[None]]:
    """Fills a log with what the server has to say by itself in a session."""

    async def fill() -> None:
        while (message := await session.connection.outbox.get()) is not None:
            log.append(message)
        log.end()

    return fill
