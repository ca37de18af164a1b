"""One channel that carries the messages of a client both ways, of both eras side by side.

Standard input and output are one, and so is a WebSocket. A transport reads texts from its client,
hands them to `ClientChannel.take`, and lends it the means to write.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import OverloadedError, ServerError
from kailash_mcp_prod.protocol import (
    Batch,
    Connection,
    Context,
    Dispatcher,
    InvalidMessageError,
    Message,
    Request,
    decode,
    encode_error,
    encode_notification,
    from_server_error,
    new_request_id,
)
from kailash_mcp_prod.protocol.faults import INVALID_REQUEST
from kailash_mcp_prod.transports.asgi import LARGE
from kailash_mcp_prod.transports.stopping import SHUT_DOWN, stopped_reply
from kailash_mcp_prod.transports.unread_budget import (
    UnreadBudget,
    too_much_unread,
    unread_reply,
)

_log = logging.getLogger(__name__)

_FLUSH_SECONDS: Final = 0.3
_LET_GO_SECONDS: Final = 0.25
_MAX_UNREAD: Final = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ChannelLimits:
    """How much runs on one channel.

    Args:
        in_flight: How many requests run at once; then reading pauses.
        subscriptions: How many `subscriptions/listen` streams may be open.
    """

    in_flight: int = 100
    subscriptions: int = 16


class ClientChannel:
    """Runs what a client sends, in the order in which it begins, and answers it.

    Args:
        dispatcher: The protocol over the server's tools.
        write: Hands one encoded message to the client, and waits while the client does not read.
            Called by one task at a time; it does not raise when the client has gone.
        principal: Who the client is.
        limits: How much may run at once.
        renew: Asked before each request for who the client is now; may raise `ServerError`.
        surface: The set of tools that the channel's address names.
        unread: Counts the answers that wait to be read, here and on other channels. A request that
            comes while there is no room for its answer is refused.
        transport: What it is a channel of.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        write: Callable[[bytes], Awaitable[None]],
        principal: Principal,
        limits: ChannelLimits,
        *,
        renew: Callable[[Principal], Awaitable[Principal]] | None = None,
        surface: str | None = None,
        unread: UnreadBudget | None = None,
        transport: str = "stdio",
    ) -> None:
        self.connection = Connection()
        self._transport = transport
        self._dispatcher = dispatcher
        self._write_one = write
        self._principal = principal
        self._limits = limits
        self._renew = renew
        self._surface = surface
        self._slots = asyncio.Semaphore(limits.in_flight)
        self._write_lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscriptions = 0
        self._unread = 0
        self._unread_by_all = unread or UnreadBudget()
        self._pump: asyncio.Task[None] | None = None
        self._owed: dict[str, tuple[Request | Batch, asyncio.Task[None]]] = {}
        self._ended = False

    @property
    def busy(self) -> bool:
        """Whether requests run or subscriptions are open."""
        return bool(self._tasks)

    def start(self) -> None:
        """Begin to send what the outbox holds."""
        self._pump = asyncio.create_task(self._send_outbox(), name="channel-outbox")

    async def take(self, text: bytes) -> None:
        """Start on one JSON-RPC text; it is under way, or answered, when this returns.

        Waits while as many requests run as may.
        """
        try:
            message = decode(text)
        except InvalidMessageError as error:
            await self._answer_invalid(error)
        else:
            await self._begin(message)

    async def refuse(self, text: bytes, error: ServerError) -> None:
        """Answer a text with an error instead of starting on it; notifications stay unanswered."""
        try:
            message = decode(text)
        except InvalidMessageError as invalid:
            await self._refuse(invalid.id, error)
            return
        if isinstance(message, Request):
            await self._refuse(message.id, error)
        elif isinstance(message, Batch):
            await self._refuse(None, error)

    async def reject(self, problem: str) -> None:
        """Answer something that can't be read as a message."""
        await self._answer_invalid(InvalidMessageError(INVALID_REQUEST, problem))

    async def finish(self, drain_seconds: float, cause: str = SHUT_DOWN) -> None:
        """End the channel: subscriptions now, requests after that time; then send what waits.

        A request that is cut short is answered, also if its work does not let go.

        Args:
            drain_seconds: The time.
            cause: Why the channel ends, for those answers.
        """
        self.connection.lifetime.end()
        if self._tasks and drain_seconds > 0:
            await asyncio.wait(set(self._tasks), timeout=drain_seconds)
        # Those that are answered already may be on their way to the client.
        for _, task in self._owed.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=_LET_GO_SECONDS)
        owed, self._owed = self._owed, {}
        for request_id, (message, _) in owed.items():
            await self._write(stopped_reply(message, request_id, cause).body)
        self.connection.close()
        if self._pump is not None:
            await asyncio.wait({self._pump}, timeout=_FLUSH_SECONDS)
            self._pump.cancel()
        self._ended = True
        self.cancel()

    def cancel(self) -> None:
        """Cancel everything that runs."""
        for task in self._tasks:
            task.cancel()

    def abandon(self) -> None:
        """End the channel at once, without a word to the client."""
        self._ended = True
        self.cancel()
        self.connection.close()
        if self._pump is not None:
            self._pump.cancel()

    async def _send_outbox(self) -> None:
        while (message := await self.connection.outbox.get()) is not None:
            await self._write(message)

    async def _begin(self, message: Message) -> None:
        """Start on a message; the next one is only looked at once this one is under way."""
        request_id = new_request_id()
        if not isinstance(message, Request | Batch):
            await self._dispatcher.handle(message, self._context(request_id))
            # What it cancelled is over before the next message counts places and ids.
            await asyncio.sleep(0)
            return
        streams = isinstance(message, Request) and self._dispatcher.streams(message)
        try:
            if streams and self._subscriptions >= self._limits.subscriptions:
                limit = f"At most {self._limits.subscriptions} subscriptions may be open."
                raise OverloadedError(limit)
            if not self._unread_by_all.has_room(self._principal.subject):
                raise too_much_unread(unknown_outcome=False)
            if self._renew is not None:
                self._principal = await self._renew(self._principal)
        except ServerError as error:
            message_id = message.id if isinstance(message, Request) else None
            await self._refuse(message_id, error, request_id)
            return
        if streams:
            self._subscriptions += 1
        else:
            await self._slots.acquire()
        context = self._context(request_id)
        task = asyncio.create_task(self._serve(message, context, streams=streams))
        self._tasks.add(task)
        self._owed[request_id] = message, task
        task.add_done_callback(self._finished)
        await asyncio.sleep(0)

    def _context(self, request_id: str) -> Context:
        return Context(
            self._principal,
            self._write,
            self.connection.lifetime,
            self.connection,
            request_id=request_id,
            surface=self._surface,
            transport=self._transport,
        )

    async def _serve(self, message: Request | Batch, context: Context, *, streams: bool) -> None:
        try:
            reply = await self._dispatcher.handle(message, context)
            # What is owed no more was answered in its place.
            if self._owed.pop(context.request_id, None) is None or reply is None:
                return
            if len(reply.body) > LARGE and not self._has_room(len(reply.body)):
                reply = unread_reply(message, context.request_id)
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

    async def _refuse(
        self, message_id: str | int | None, error: ServerError, request_id: str | None = None
    ) -> None:
        refusal = from_server_error(error, request_id or new_request_id(), code=INVALID_REQUEST)
        await self._write(encode_error(message_id, refusal).body)

    def _has_room(self, count: int) -> bool:
        here = self._unread + count <= _MAX_UNREAD
        return here and self._unread_by_all.has_room(self._principal.subject, count)

    async def _answer_invalid(self, error: InvalidMessageError) -> None:
        """Answer what is no message, and count it as a call."""
        try:
            await self._dispatcher.host.charge(self._principal)
        except ServerError as exceeded:
            await self._refuse(error.id, exceeded)
        else:
            await self._write(encode_error(error.id, error.of_request(new_request_id())).body)

    async def _write(self, message: bytes) -> None:
        if self._ended:
            return
        self._unread += len(message)
        try:
            with self._unread_by_all.hold(self._principal.subject, len(message)):
                async with self._write_lock:
                    await self._write_one(message)
        finally:
            self._unread -= len(message)
