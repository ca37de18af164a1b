"""Runs a request and answers it: as JSON at once, or as events if anything comes before.

A long request becomes a stream of events too, whose comments show the client that it still runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import UnavailableError
from kailash_mcp_prod.protocol import Batch, Context, Dispatcher, Era, Lifetime, Reply, Request
from kailash_mcp_prod.protocol.faults import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    MISSING_CAPABILITY,
    PARSE_ERROR,
    UNSUPPORTED_PROTOCOL_VERSION,
)
from kailash_mcp_prod.transports.asgi import EventStream, on_disconnect, wait_for_disconnect
from kailash_mcp_prod.transports.event_log import EventLog
from kailash_mcp_prod.transports.http_capacity import Capacity, cancel_at
from kailash_mcp_prod.transports.http_exchange import Exchange
from kailash_mcp_prod.transports.http_headers import (
    IDEMPOTENCY_HEADER,
    idempotency_key,
    mirrored,
)
from kailash_mcp_prod.transports.http_sessions import Session

_LEGACY_STATUS: Final = {PARSE_ERROR: 400, INVALID_REQUEST: 400}
_MODERN_STATUS: Final = {
    PARSE_ERROR: 400,
    INVALID_REQUEST: 400,
    INVALID_PARAMS: 400,
    HEADER_MISMATCH: 400,
    MISSING_CAPABILITY: 400,
    UNSUPPORTED_PROTOCOL_VERSION: 400,
    METHOD_NOT_FOUND: 404,
}
_STATUS: Final = {Era.LEGACY: _LEGACY_STATUS, Era.MODERN: _MODERN_STATUS}
_PRIMED_FROM: Final = "2025-11-25"
_RETRY_MS: Final = 1000
_ATTEND_SECONDS: Final = 0.02
_WATCH: Final = "watch-for-disconnect"


def stopped_during(*, may_have_changed: bool) -> UnavailableError:
    """The error for a request that the end of the server has cut short."""
    if not may_have_changed:
        return UnavailableError("The server shut down during the request. Try again.")
    return UnavailableError(
        "The server shut down during the call. See whether its change was stored before you try "
        "again.",
        details={"outcome": "unknown"},
    )


def _may_change(message: Request | Batch) -> bool:
    return isinstance(message, Batch) or message.method == "tools/call"


def status_of(reply: Reply, era: Era) -> int:
    """The HTTP status of a response that is sent alone."""
    return 200 if reply.error_code is None else _STATUS[era].get(reply.error_code, 200)


class Answers:
    """Answers requests.

    Args:
        dispatcher: Runs them.
        capacity: Counts them.
        lifetime: Ends when the transport stops.
        keepalive_seconds: After how long a request without an answer becomes a stream.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        capacity: Capacity,
        lifetime: Lifetime,
        keepalive_seconds: float,
    ) -> None:
        self._dispatcher = dispatcher
        self._capacity = capacity
        self._lifetime = lifetime
        self._keepalive_seconds = keepalive_seconds

    async def modern(self, exchange: Exchange, principal: Principal, request: Request) -> None:
        """Answer a request of the new era; the client cancels it by closing the connection."""
        async with exchange.event_stream() as stream:
            context = Context(
                principal,
                stream.event if exchange.accept.events else _drop,
                self._lifetime,
                headers=mirrored(exchange.headers),
                request_id=exchange.request_id,
                surface=exchange.surface,
                idempotency_key=idempotency_key(exchange.headers.get(IDEMPOTENCY_HEADER)),
            )
            with self._capacity.running(exchange.loop) as scope:
                begin = self._beginning(exchange, stream.start, scope.cancel)
                try:
                    reply = await self._dispatcher.handle(request, context)
                finally:
                    begin.forget()
            if scope.cancelled:
                self._refuse_if_stopped(request, started=stream.started)
            elif not stream.started:
                await self._whole(exchange, stream, reply, principal=principal, message=request)
            elif reply is not None:
                await stream.event(reply.body)

    async def legacy(
        self,
        exchange: Exchange,
        principal: Principal,
        message: Request | Batch,
        session: Session,
    ) -> None:
        """Answer a request of the old era; it goes on when the client loses its connection."""
        async with exchange.event_stream() as stream:
            answer = _ResumableAnswer(session, stream)
            context = Context(
                principal,
                answer.emit if exchange.accept.events else _to_outbox(session),
                self._lifetime,
                session.connection,
                request_id=exchange.request_id,
                surface=exchange.surface,
                pause=answer.pause if exchange.accept.events else None,
                # One key can't be that of several calls.
                idempotency_key=None
                if isinstance(message, Batch)
                else idempotency_key(exchange.headers.get(IDEMPOTENCY_HEADER)),
            )
            with self._capacity.running(exchange.loop) as scope:
                begin = self._beginning(exchange, answer.begin)
                try:
                    reply = await self._dispatcher.handle(message, context)
                finally:
                    begin.forget()
            if scope.cancelled:
                await answer.finish(None)
                self._refuse_if_stopped(message, started=answer.begun)
            elif not answer.begun:
                await self._whole(
                    exchange, stream, reply, principal=principal, message=message, era=Era.LEGACY
                )
            else:
                await answer.finish(reply)

    async def relay(
        self, exchange: Exchange, principal: Principal, session: Session, last_event: str | None
    ) -> None:
        """Pass on a session's messages, or the rest of a stream that the client has lost.

        Ends when the session or the stream does, the client goes or its credential expires.
        """
        found = None if last_event is None else session.logs.find(last_event)
        log, position = found or (session.logs.new(carries_answer=False), 0)
        log.resume()
        async with exchange.event_stream() as stream:
            await stream.start()
            with self._capacity.running() as scope:
                async with on_disconnect(exchange.receive, scope.cancel):
                    with cancel_at(principal.expires_at, scope):
                        await _write(log, stream, position, until=_pump(session, log))

    async def _whole(
        self,
        exchange: Exchange,
        stream: EventStream,
        reply: Reply | None,
        *,
        principal: Principal,
        message: Request | Batch,
        era: Era = Era.MODERN,
    ) -> None:
        if reply is None:
            # Cancelled by the client: an event stream that ends without a response says so.
            await (stream.start() if exchange.accept.events else exchange.empty(204))
            return
        status = status_of(reply, era)
        if exchange.accept.json or status != 200:
            part = None
            if isinstance(message, Request) and message.method == "tools/list" and status == 200:
                host = self._dispatcher.host
                part = host.encoded_list(principal, exchange.surface).part
            await exchange.reply(reply, status, part=part)
        else:
            await stream.event(reply.body)

    def _refuse_if_stopped(self, message: Request | Batch, *, started: bool) -> None:
        if self._lifetime.ended and not started:
            raise stopped_during(may_have_changed=_may_change(message))

    def _beginning(
        self,
        exchange: Exchange,
        begin: Callable[[], Awaitable[None]],
        gone: Callable[[], None] | None = None,
    ) -> _Attendance:
        stream_after = self._keepalive_seconds if exchange.accept.events else None
        return _Attendance(exchange, stream_after, begin, gone)


class _Attendance:
    """What a request needs that takes a while: most are answered before any of it begins.

    Args:
        exchange: The request.
        stream_after: After how many seconds its answer becomes a stream; `None` for never.
        begin: Makes it one.
        gone: Called when the client disconnects, which in the new era is its way to cancel.
    """

    __slots__ = ("_begin", "_exchange", "_gone", "_stream_after", "_tasks", "_timer", "_under_way")

    def __init__(
        self,
        exchange: Exchange,
        stream_after: float | None,
        begin: Callable[[], Awaitable[None]],
        gone: Callable[[], None] | None,
    ) -> None:
        self._exchange = exchange
        self._stream_after = stream_after
        self._begin = begin
        self._gone = gone
        self._tasks: list[asyncio.Task[None]] = []
        self._under_way = False
        self._timer = exchange.loop.call_later(_ATTEND_SECONDS, self._attend)

    def forget(self) -> None:
        """Begin nothing any more; a stream that is under way goes on."""
        self._timer.cancel()
        for task in self._tasks:
            if task.get_name() == _WATCH or not self._under_way:
                task.cancel()

    def _attend(self) -> None:
        loop = self._exchange.loop
        if self._gone is not None:
            self._tasks.append(loop.create_task(self._watch(self._gone), name=_WATCH))
        if self._stream_after is not None:
            rest = max(self._stream_after - _ATTEND_SECONDS, 0)
            self._timer = loop.call_later(rest, self._start)

    async def _watch(self, gone: Callable[[], None]) -> None:
        await wait_for_disconnect(self._exchange.receive)
        gone()

    def _start(self) -> None:
        self._tasks.append(self._exchange.loop.create_task(self._run()))

    async def _run(self) -> None:
        self._under_way = True
        # A lost client is noticed by those who send the answer.
        with suppress(OSError):
            await self._begin()


class _ResumableAnswer:
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
        self._log.end(abandoned=self._writer is None or self._writer.done())
        if self._writer is not None:
            await asyncio.wait({self._writer})

    def _begun(self) -> EventLog:
        if self._log is None:
            self._log = self._session.logs.new(carries_answer=True)
            version = self._session.connection.version or ""
            primed = self._log.event_id(0) if version >= _PRIMED_FROM else None
            self._writer = asyncio.create_task(_write(self._log, self._stream, 0, prime=primed))
        return self._log


async def _write(
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
    finally:
        if filling is not None:
            filling.cancel()


def _pump(session: Session, log: EventLog) -> Callable[[], Awaitable[None]]:
    async def fill() -> None:
        while (message := await session.connection.outbox.get()) is not None:
            log.append(message)
        log.end()

    return fill


def _to_outbox(session: Session) -> Callable[[bytes], Awaitable[None]]:
    """For a client that takes no events here: they wait for its other stream."""

    async def emit(message: bytes) -> None:
        session.connection.outbox.put(message)

    return emit


async def _drop(_message: bytes) -> None:
    """For a client that takes no events, and has no other stream."""
