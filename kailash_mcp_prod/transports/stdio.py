"""MCP over standard input and output: one JSON-RPC message a line.

Source: the page *stdio* of MCP 2026-07-28 and the section *stdio* of 2025-11-25. One process may
get messages of both eras.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from kailash_mcp_prod.auth.principal import Credentials, Principal
from kailash_mcp_prod.protocol import Authenticator, Dispatcher, Revocations
from kailash_mcp_prod.transports.base import BaseTransport
from kailash_mcp_prod.transports.channel import ChannelLimits, ClientChannel
from kailash_mcp_prod.transports.stdio_streams import (
    ByteSink,
    ByteSource,
    LineSplitter,
    StandardStreams,
    open_sink,
    open_source,
)
from kailash_mcp_prod.transports.stopping import CHANNEL_ENDED, SHUT_DOWN

_log = logging.getLogger(__name__)

_STOP_SECONDS: Final = 1.0


class StdioTransport(BaseTransport):
    """Serves the one client at the other end of the standard streams.

    From `start` to `stop` it owns descriptors 0 and 1: stray output goes to standard error. Signals
    are left to the caller.

    Args:
        dispatcher: The protocol over the server's tools.
        authenticator: Tells who the client is, from the credentials below.
        credentials: What the process was started with, usually from its environment. Checked at
            the start, and again whenever the principal has expired or was revoked.
        max_line_bytes: The longest message; longer ones are answered with an error.
        max_in_flight: How many requests run at once; then reading pauses.
        max_subscriptions: How many `subscriptions/listen` streams may be open.
        drain_seconds: How long requests may go on after the client closed its end.
        descriptors: Read from and write to these instead of 0 and 1, which then stay untouched.
        revocations: Tells when credentials end.

    Example:
        ```python
        transport = StdioTransport(dispatcher, authenticator, Credentials(api_key="…"))
        async with transport:
            await transport.wait_closed()
        ```
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        authenticator: Authenticator,
        credentials: Credentials | None = None,
        *,
        max_line_bytes: int = 4 * 1024 * 1024,
        max_in_flight: int = 100,
        max_subscriptions: int = 16,
        drain_seconds: float = 5.0,
        descriptors: tuple[int, int] | None = None,
        revocations: Revocations | None = None,
    ) -> None:
        super().__init__(dispatcher, authenticator)
        self._credentials = credentials or Credentials()
        self._max_line_bytes = max_line_bytes
        self._limits = ChannelLimits(max_in_flight, max_subscriptions)
        self._drain_seconds = drain_seconds
        self._descriptors = descriptors
        self._revocations = revocations
        self._revoked = False
        self._closed = asyncio.Event()
        self._streams: StandardStreams | None = None
        self._runner: asyncio.Task[None] | None = None
        self._reader: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Authenticate, take the streams over and begin to read.

        Raises:
            UnauthenticatedError: The credentials are not accepted; the streams stay as they were.
        """
        principal = await self.authenticator.authenticate(self._credentials)
        descriptors = self._descriptors
        if descriptors is None:
            self._streams = StandardStreams()
            descriptors = (self._streams.input, self._streams.output)
        try:
            self._source: ByteSource = await open_source(descriptors[0])
            self._sink: ByteSink = await open_sink(descriptors[1])
        except OSError:
            if self._streams is not None:
                self._streams.release()
            raise
        self._channel = ClientChannel(
            self.dispatcher, self._write, principal, self._limits, renew=self._current
        )
        self._channel.start()
        if self._revocations is not None:
            forget = self._revocations.on_revoked(principal, self._end_subscriptions)
            self._channel.connection.lifetime.on_end(forget)
        self._reader = asyncio.create_task(self._read(), name="stdio-reader")
        self._runner = asyncio.create_task(self._run(self._reader), name="stdio")

    async def wait_closed(self) -> None:
        """Wait until the client closed its end and its requests are done, or until `stop`."""
        await self._closed.wait()

    async def stop(self) -> None:
        """Stop reading, end subscriptions, cancel what still runs after a second, release."""
        runner, self._runner = self._runner, None
        if runner is None or self._reader is None:
            return
        self._reader.cancel()
        await asyncio.wait({runner}, timeout=_STOP_SECONDS)
        self._channel.cancel()
        await runner
        # The reverse of opening: both may share one open file and its blocking flag.
        await self._sink.close()
        await self._source.close()
        if self._streams is not None:
            self._streams.release()

    async def _run(self, reader: asyncio.Task[None]) -> None:
        await asyncio.wait({reader})
        if not reader.cancelled() and (error := reader.exception()) is not None:
            _log.error("Reading standard input failed", exc_info=error)
        cause = SHUT_DOWN if reader.cancelled() else CHANNEL_ENDED
        await self._channel.finish(self._drain_seconds, cause)
        self._closed.set()

    async def _read(self) -> None:
        splitter = LineSplitter(self._max_line_bytes)
        while chunk := await self._source.read():
            for line in splitter.feed(chunk):
                await self._accept(line)
        for line in splitter.finish():
            await self._accept(line)

    async def _accept(self, line: bytes | None) -> None:
        if line is None:
            limit = self._max_line_bytes
            await self._channel.reject(f"The line is longer than {limit} bytes and was skipped.")
        elif line := line.strip():
            await self._channel.take(line)

    async def _current(self, principal: Principal) -> Principal:
        expires_at = principal.expires_at
        if self._revoked or (expires_at is not None and time.time() >= expires_at):
            return await self.authenticator.authenticate(self._credentials)
        return principal

    def _end_subscriptions(self) -> None:
        """The credential is no longer good: requests are refused from now on."""
        self._revoked = True
        self._channel.connection.lifetime.end()

    async def _write(self, message: bytes) -> None:
        try:
            await self._sink.write(message + b"\n")
        except OSError:
            # Nobody reads the answers: take no more questions.
            if self._reader is not None:
                self._reader.cancel()
