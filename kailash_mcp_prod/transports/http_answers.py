"""Runs a request and answers it: as JSON at once, or as events if anything comes before.

A long request becomes a stream of events too, whose comments show the client that it still runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.delays import Delays
from kailash_mcp_prod.protocol import (
    Batch,
    Context,
    Dispatcher,
    Era,
    Lifetime,
    Reply,
    Request,
    Revocations,
)
from kailash_mcp_prod.protocol.faults import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    MISSING_CAPABILITY,
    PARSE_ERROR,
    UNSUPPORTED_PROTOCOL_VERSION,
)
from kailash_mcp_prod.transports.asgi import LARGE, EventStream, on_disconnect
from kailash_mcp_prod.transports.http_attendance import ATTEND_SECONDS, Attendance
from kailash_mcp_prod.transports.http_capacity import Capacity, cancel_at, cancel_on_revocation
from kailash_mcp_prod.transports.http_exchange import Exchange
from kailash_mcp_prod.transports.http_resuming import ResumableAnswer, pump, write_log
from kailash_mcp_prod.transports.http_sessions import Session
from kailash_mcp_prod.transports.stopping import (
    revoked_during,
    revoked_reply,
    stopped_reply,
    stopped_serving,
)
from kailash_mcp_prod.transports.unread_budget import UnreadBudget, unread_reply

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
        unread: Counts the large answers that wait to be read.
        revocations: Tells when credentials end, and with them their streams.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        capacity: Capacity,
        lifetime: Lifetime,
        keepalive_seconds: float,
        unread: UnreadBudget,
        *,
        revocations: Revocations | None = None,
    ) -> None:
        self._soon = Delays(ATTEND_SECONDS)
        self._unread = unread
        self._dispatcher = dispatcher
        self._capacity = capacity
        self._lifetime = lifetime
        self._keepalive_seconds = keepalive_seconds
        self._revocations = revocations

    async def modern(self, exchange: Exchange, principal: Principal, request: Request) -> None:
        """Answer a request of the new era; the client cancels it by closing the connection."""
        if self._revocations is None or not self._dispatcher.streams(request):
            await self._modern(exchange, principal, request, self._lifetime)
            return
        with self._span(principal, self._revocations) as lifetime:
            await self._modern(exchange, principal, request, lifetime)

    async def _modern(
        self, exchange: Exchange, principal: Principal, request: Request, lifetime: Lifetime
    ) -> None:
        async with exchange.event_stream() as stream:
            context = Context(
                principal,
                stream.event if exchange.head.accept.events else _drop,
                lifetime,
                headers=exchange.head.mirrored,
                request_id=exchange.request_id,
                surface=exchange.surface,
                transport="http",
                trace=exchange.head.trace,
                idempotency_key=exchange.head.idempotency_key,
            )
            exchange.stream = stream
            with self._capacity.running(exchange.loop, exchange) as scope:
                begin = self._beginning(exchange, stream.start, scope.cancel)
                # A span of its own ends with the credential by itself.
                if lifetime is self._lifetime:
                    begin.end_with_credential(self._revocations, principal, scope)
                try:
                    reply = await self._dispatcher.handle(request, context)
                finally:
                    begin.forget()
                    exchange.stream = None
            if begin.revoked:
                if not stream.started:
                    raise revoked_during(request)
                await stream.event(revoked_reply(request, exchange.request_id).body)
            elif scope.cancelled:
                await self._end_if_stopped(exchange, stream, request)
            elif reply is not None and len(reply.body) > LARGE:
                with self._held(exchange, principal, request, reply) as held:
                    await self._send(exchange, stream, held, principal=principal, message=request)
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
            answer = ResumableAnswer(session, stream)
            context = Context(
                principal,
                answer.emit if exchange.head.accept.events else _to_outbox(session),
                self._lifetime,
                session.connection,
                request_id=exchange.request_id,
                surface=exchange.surface,
                transport="http",
                trace=exchange.head.trace,
                pause=answer.pause if exchange.head.accept.events else None,
                # One key can't be that of several calls.
                idempotency_key=None
                if isinstance(message, Batch)
                else exchange.head.idempotency_key,
            )
            exchange.stream = stream
            with self._capacity.running(exchange.loop, exchange) as scope:
                begin = self._beginning(exchange, answer.begin)
                begin.end_with_credential(self._revocations, principal, scope)
                try:
                    reply = await self._dispatcher.handle(message, context)
                finally:
                    begin.forget()
                    exchange.stream = None
            if begin.revoked and answer.begun:
                await answer.finish(revoked_reply(message, exchange.request_id))
            elif begin.revoked:
                raise revoked_during(message)
            elif scope.cancelled and answer.begun:
                await answer.finish(stopped_reply(message, exchange.request_id))
            elif scope.cancelled:
                await self._end_if_stopped(exchange, stream, message)
            elif reply is not None and len(reply.body) > LARGE:
                with self._held(exchange, principal, message, reply) as held:
                    if answer.begun:
                        await answer.finish(held)
                    else:
                        await self._send(
                            exchange,
                            stream,
                            held,
                            principal=principal,
                            message=message,
                            era=Era.LEGACY,
                        )
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

        Ends when the session or the stream does, the client goes or its credential ends.
        """
        found = None if last_event is None else session.logs.find(last_event)
        log, position = found or (session.logs.new(carries_answer=False), 0)
        log.resume()
        async with exchange.event_stream() as stream:
            await stream.start()
            with self._capacity.running() as scope:
                async with on_disconnect(exchange.receive, scope.cancel):
                    with (
                        cancel_at(principal.expires_at, scope),
                        cancel_on_revocation(self._revocations, principal, scope),
                    ):
                        await write_log(log, stream, position, until=pump(session, log))

    @contextmanager
    def _held(
        self, exchange: Exchange, principal: Principal, message: Request | Batch, reply: Reply
    ) -> Iterator[Reply]:
        """A large reply, counted while it waits to be read, or the error in place of it."""
        subject, size = principal.subject, len(reply.body)
        if not self._unread.has_room(subject, size):
            yield unread_reply(message, exchange.request_id)
            return
        with self._unread.hold(subject, size):
            yield reply

    async def _send(
        self,
        exchange: Exchange,
        stream: EventStream,
        reply: Reply,
        *,
        principal: Principal,
        message: Request | Batch,
        era: Era = Era.MODERN,
    ) -> None:
        """Send a reply, and wait until most of it is read."""
        if stream.started:
            await stream.event(reply.body)
        else:
            await self._whole(
                exchange, stream, reply, principal=principal, message=message, era=era
            )
        await stream.end()

    @contextmanager
    def _span(self, principal: Principal, revocations: Revocations) -> Iterator[Lifetime]:
        """The lifetime of a stream, which ends with the client's credential."""
        span = Lifetime()
        forget_end = self._lifetime.on_end(span.end)
        forget_revocation = revocations.on_revoked(principal, span.end)
        try:
            yield span
        finally:
            forget_end()
            forget_revocation()

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
            await (stream.start() if exchange.head.accept.events else exchange.empty(204))
            return
        status = status_of(reply, era)
        if exchange.head.accept.json or status != 200:
            part = None
            if isinstance(message, Request) and message.method == "tools/list" and status == 200:
                host = self._dispatcher.host
                part = host.encoded_list(principal, exchange.surface).part
            await exchange.reply(reply, status, part=part)
        else:
            await stream.event(reply.body)

    async def _end_if_stopped(
        self, exchange: Exchange, stream: EventStream, message: Request | Batch
    ) -> None:
        """Answer what the stop has cancelled; otherwise the client has, by going."""
        if not self._lifetime.ended:
            return
        if not stream.started:
            raise stopped_serving(message)
        await stream.event(stopped_reply(message, exchange.request_id).body)

    def _beginning(
        self,
        exchange: Exchange,
        begin: Callable[[], Awaitable[None]],
        gone: Callable[[], None] | None = None,
    ) -> Attendance:
        stream_after = self._keepalive_seconds if exchange.head.accept.events else None
        attendance = Attendance(exchange, self._soon.on(exchange.loop), stream_after, begin, gone)
        attendance.wait()
        return attendance


def _to_outbox(session: Session) -> Callable[[bytes], Awaitable[None]]:
    """For a client that takes no events here: they wait for its other stream."""

    async def emit(message: bytes) -> None:
        session.connection.outbox.put(message)

    return emit


async def _drop(_message: bytes) -> None:
    """For a client that takes no events, and has no other stream."""
