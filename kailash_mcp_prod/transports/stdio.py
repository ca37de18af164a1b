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
from kailash_mcp_prod.errors import OverloadedError, ServerError
from kailash_mcp_prod.protocol import (
    Authenticator,
    Batch,
    Connection,
    Context,
    Dispatcher,
    InvalidMessageError,
    Message,
    Request,
    RpcError,
    decode,
    encode_error,
    encode_notification,
    from_server_error,
    new_request_id,
)
from kailash_mcp_prod.protocol.faults import INVALID_REQUEST
from kailash_mcp_prod.transports.base import BaseTransport
from kailash_mcp_prod.transports.stdio_streams import (
    ByteSink,
    ByteSource,
    LineSplitter,
    StandardStreams,
    open_sink,
    open_source,
)

_log = logging.getLogger(__name__)

_STOP_SECONDS: Final = 1.0
_FLUSH_SECONDS: Final = 0.3


class StdioTransport(BaseTransport):
    """Serves the one client at the other end of the standard streams.

    From `start` to `stop` it owns descriptors 0 and 1: stray output goes to standard error. Signals
    are left to the caller.

    Args:
        dispatcher: The protocol over the server's tools.
        authenticator: Tells who the client is, from the credentials below.
        credentials: What the process was started with, usually from its environment. Checked at
            the start, and again whenever the principal has expired.
        max_line_bytes: The longest message; longer ones are answered with an error.
        max_in_flight: How many requests run at once; then reading pauses.
        max_subscriptions: How many `subscriptions/listen` streams may be open.
        drain_seconds: How long requests may go on after the client closed its end.
        descriptors: Read from and write to these instead of 0 and 1, which then stay untouched.

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
    ) -> None:
        super().__init__(dispatcher, authenticator)
        self._credentials = credentials or Credentials()
        self._max_line_bytes = max_line_bytes
        self._max_subscriptions = max_subscriptions
        self._drain_seconds = drain_seconds
        self._descriptors = descriptors
        self._connection = Connection()
        self._slots = asyncio.Semaphore(max_in_flight)
        self._write_lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscriptions = 0
        self._closed = asyncio.Event()
        self._streams: StandardStreams | None = None
        self._runner: asyncio.Task[None] | None = None
        self._reader: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Authenticate, take the streams over and begin to read.

        Raises:
            UnauthenticatedError: The credentials are not accepted; the streams stay as they were.
        """
        self._principal = await self.authenticator.authenticate(self._credentials)
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
        self._cancel_tasks()
        await runner
        # The reverse of opening: both may share one open file and its blocking flag.
        await self._sink.close()
        await self._source.close()
        if self._streams is not None:
            self._streams.release()

    async def _run(self, reader: asyncio.Task[None]) -> None:
        pump = asyncio.create_task(self._pump(), name="stdio-notifications")
        await asyncio.wait({reader})
        if not reader.cancelled() and (error := reader.exception()) is not None:
            _log.error("Reading standard input failed", exc_info=error)
        self._connection.lifetime.end()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=self._drain_seconds)
        self._cancel_tasks()
        if self._tasks:
            await asyncio.wait(set(self._tasks))
        self._connection.close()
        await asyncio.wait({pump}, timeout=_FLUSH_SECONDS)
        pump.cancel()
        self._closed.set()

    def _cancel_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _pump(self) -> None:
        while (message := await self._connection.outbox.get()) is not None:
            await self._write(message)

    async def _read(self) -> None:
        splitter = LineSplitter(self._max_line_bytes)
        while chunk := await self._source.read():
            for line in splitter.feed(chunk):
                await self._accept(line)
        for line in splitter.finish():
            await self._accept(line)

    async def _accept(self, line: bytes | None) -> None:
        if line is None:
            message = f"The line is longer than {self._max_line_bytes} bytes and was skipped."
            error = RpcError(INVALID_REQUEST, message)
            await self._write(encode_error(None, error).body)
        elif line := line.strip():
            try:
                await self._begin(decode(line))
            except InvalidMessageError as error:
                await self._write(encode_error(error.id, error).body)

    async def _begin(self, message: Message) -> None:
        """Start on a message; the next one is only looked at once this one is under way."""
        request_id = new_request_id()
        if not isinstance(message, Request | Batch):
            await self.dispatcher.handle(message, self._context(self._principal, request_id))
            # What it cancelled is over before the next message counts places and ids.
            await asyncio.sleep(0)
            return
        streams = isinstance(message, Request) and self.dispatcher.streams(message)
        try:
            if streams and self._subscriptions >= self._max_subscriptions:
                limit = f"At most {self._max_subscriptions} subscriptions may be open."
                raise OverloadedError(limit)
            principal = await self._current_principal()
        except ServerError as error:
            message_id = message.id if isinstance(message, Request) else None
            refusal = from_server_error(error, request_id, code=INVALID_REQUEST)
            await self._write(encode_error(message_id, refusal).body)
            return
        if streams:
            self._subscriptions += 1
        else:
            await self._slots.acquire()
        task = asyncio.create_task(
            self._serve(message, self._context(principal, request_id), streams=streams)
        )
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        await asyncio.sleep(0)

    def _context(self, principal: Principal, request_id: str) -> Context:
        connection = self._connection
        return Context(
            principal, self._write, connection.lifetime, connection, request_id=request_id
        )

    async def _current_principal(self) -> Principal:
        expires_at = self._principal.expires_at
        if expires_at is not None and time.time() >= expires_at:
            self._principal = await self.authenticator.authenticate(self._credentials)
        return self._principal

    async def _serve(self, message: Request | Batch, context: Context, *, streams: bool) -> None:
        try:
            reply = await self.dispatcher.handle(message, context)
            if reply is None:
                return
            await self._write(reply.body)
            if streams and reply.error_code is None and isinstance(message, Request):
                # On a shared channel this closes the stream that the response has ended.
                await self._write(
                    encode_notification("notifications/cancelled", {"requestId": message.id})
                )
        finally:
            if streams:
                self._subscriptions -= 1
            else:
                self._slots.release()

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("Serving a message failed", exc_info=error)

    async def _write(self, message: bytes) -> None:
        async with self._write_lock:
            try:
                await self._sink.write(message + b"\n")
            except OSError:
                # Nobody reads the answers: take no more questions.
                if self._reader is not None:
                    self._reader.cancel()
