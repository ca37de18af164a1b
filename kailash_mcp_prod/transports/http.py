"""MCP over streamable HTTP, as a pure ASGI application for both eras.

Source: the page *Streamable HTTP* of MCP 2026-07-28 and the page *Transports* of 2025-11-25.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Collection
from typing import Any, Final

from kailash_mcp_prod.auth.challenge import Challenges
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import (
    ConflictError,
    InternalError,
    NotFoundError,
    ServerError,
    UnavailableError,
)
from kailash_mcp_prod.protocol import (
    Authenticator,
    Batch,
    Connection,
    Context,
    Dispatcher,
    Era,
    InvalidMessageError,
    Lifetime,
    Message,
    Notification,
    Request,
    Revocations,
    decode,
    encode_error,
    new_request_id,
)
from kailash_mcp_prod.protocol.eras import unsupported_version
from kailash_mcp_prod.protocol.revisions import MODERN_REVISIONS, SUPPORTED_REVISIONS
from kailash_mcp_prod.transports.asgi import (
    JSON_ANSWER,
    BodyTooLargeError,
    ClientGoneError,
    Receive,
    Scope,
    Send,
    path_below_root,
    whole_body,
)
from kailash_mcp_prod.transports.base import BaseTransport
from kailash_mcp_prod.transports.body_budget import BodyBudget
from kailash_mcp_prod.transports.http_answers import Answers, status_of
from kailash_mcp_prod.transports.http_capacity import Capacity
from kailash_mcp_prod.transports.http_exchange import (
    Exchange,
    Refusal,
    bad_request,
    check_names,
)
from kailash_mcp_prod.transports.http_guard import LOOPBACK_HOSTS, LOOPBACK_ORIGINS, HostGuard
from kailash_mcp_prod.transports.http_head import SESSION_HEADER, Heads
from kailash_mcp_prod.transports.http_repeats import Repeats
from kailash_mcp_prod.transports.http_sessions import Session, SessionStore
from kailash_mcp_prod.transports.session_ids import SessionIds
from kailash_mcp_prod.transports.surface_path import surface_of
from kailash_mcp_prod.transports.unread_budget import UnreadBudget

_log = logging.getLogger(__name__)

_SHOWN: Final = 200
_NONE: Final[dict[str, Any]] = {}


class HttpTransport(BaseTransport):
    """The MCP endpoint: serve it with any ASGI server, or mount it into another application.

    Args:
        dispatcher: The protocol over the server's tools.
        authenticator: Tells who a client is, from `Authorization` and `X-API-Key`.
        path: Where the endpoint is, below the application's root path.
        allowed_hosts: Names under which the server may be addressed: `name`, `name:port`, or `*`.
        allowed_origins: Web pages that may call: `scheme://name`, with `:port` or `:*`, or `*`.
        max_body_bytes: The longest request body.
        max_sessions: How many legacy sessions may be open.
        session_idle_seconds: After how long without a request a session ends.
        max_in_flight: How many requests may run at once, half of them of one credential.
        max_streams: How many event streams may be open, a quarter of them of one credential, and
            `max_session_streams` in one session.
        keepalive_seconds: How often an open event stream carries a comment.
        stop_seconds: How long running requests may go on after `stop`.
        challenges: What refusals tell of the credential to get.
        unread: Counts the answers that wait to be read, here and on other transports.
        clock: Monotonic seconds, for the idle time.
        revocations: Tells when credentials end: so do the sessions and streams they have opened.
        session_ids: Makes the ids of legacy sessions, and reads those of other processes.

    Example:
        ```python
        transport = HttpTransport(dispatcher, authenticator, allowed_hosts={"mcp.example.com"})
        uvicorn.run(transport, port=3001)
        ```
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        authenticator: Authenticator,
        *,
        path: str = "/mcp",
        allowed_hosts: Collection[str] = LOOPBACK_HOSTS,
        allowed_origins: Collection[str] = LOOPBACK_ORIGINS,
        max_body_bytes: int = 4 * 1024 * 1024,
        max_sessions: int = 1000,
        session_idle_seconds: float = 1800.0,
        max_in_flight: int = 2000,
        max_streams: int = 1000,
        max_session_streams: int = 4,
        keepalive_seconds: float = 15.0,
        stop_seconds: float = 1.0,
        challenges: Challenges | None = None,
        unread: UnreadBudget | None = None,
        clock: Callable[[], float] = time.monotonic,
        revocations: Revocations | None = None,
        session_ids: SessionIds | None = None,
    ) -> None:
        super().__init__(dispatcher, authenticator)
        self._path = path.rstrip("/")
        self._guard = HostGuard(allowed_hosts, allowed_origins)
        self._heads = Heads()
        self._max_body_bytes = max_body_bytes
        self._bodies = BodyBudget(max_body_bytes)
        self._sessions = SessionStore(max_sessions, session_idle_seconds, clock, session_ids)
        self._max_session_streams = max_session_streams
        self._capacity = Capacity(max_in_flight, max_streams)
        self._keepalive_seconds = keepalive_seconds
        self._stop_seconds = stop_seconds
        self._challenges = challenges or Challenges()
        self._lifetime = Lifetime()
        self._revocations = revocations
        self._answers = Answers(
            dispatcher,
            self._capacity,
            self._lifetime,
            keepalive_seconds,
            unread or UnreadBudget(),
            revocations=revocations,
        )
        self._repeats = Repeats(dispatcher.prepared, max_body_bytes)
        self._methods = {"POST": self._post, "GET": self._get, "DELETE": self._delete}

    @property
    def open_sessions(self) -> int:
        """How many sessions of legacy clients there are."""
        return len(self._sessions)

    async def start(self) -> None:
        """Nothing to do: the ASGI server that carries this application listens."""

    async def stop(self) -> None:
        """End all streams, wait a moment for running requests, cancel the rest.

        Those that do not let go are answered all the same. New requests get 503 from now on.
        """
        self._lifetime.end()
        self._sessions.end_streams()
        await self._capacity.end(self._stop_seconds)
        self._sessions.end_all()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        if scope["type"] != "http":
            return
        exchange = Exchange(
            new_request_id(),
            self._heads.of(scope["headers"]),
            receive,
            send,
            self._keepalive_seconds,
            challenges=self._challenges,
            at_once=scope.get("extensions", _NONE).get(JSON_ANSWER),
        )
        try:
            repeats, authenticator = self._repeats, self.authenticator
            if self._lifetime.ended or not await repeats.answer(scope, exchange, authenticator):
                await self._route(scope, exchange)
        except ClientGoneError:
            # Whoever has gone gets no answer, and leaves no trace of a defect.
            return
        except Exception as failure:  # noqa: BLE001 - the boundary
            with contextlib.suppress(ClientGoneError):
                await self._answer_failure(exchange, failure)

    @staticmethod
    async def _answer_failure(exchange: Exchange, failure: Exception) -> None:
        """The client gets an answer, and the log a defect."""
        if isinstance(failure, Refusal):
            await exchange.refuse(failure)
        elif isinstance(failure, ServerError):
            await exchange.refuse(Refusal(failure))
        else:
            _log.error(
                "HTTP request %s failed",
                exchange.request_id,
                extra={"request_id": exchange.request_id},
                exc_info=failure,
            )
            if not exchange.answered:
                message = "Internal error; the server's log has it under the request id."
                await exchange.refuse(Refusal(InternalError(message)))

    async def _route(self, scope: Scope, exchange: Exchange) -> None:
        exchange.surface = surface_of(path_below_root(scope), self._path)
        head = exchange.head
        if head.repeated is not None:
            raise bad_request(f"The header {head.repeated} is repeated.", 400)
        check_names(self._guard, head.host, head.origin)
        if self._lifetime.ended:
            raise Refusal(UnavailableError("The server is shutting down."))
        serve = self._methods.get(scope["method"])
        allowed = ["POST"] if head.version in MODERN_REVISIONS else list(self._methods)
        if serve is None or scope["method"] not in allowed:
            allow = (b"allow", ", ".join(allowed).encode())
            raise bad_request(f"{scope['method']} is not allowed here.", 405, [allow])
        principal = exchange.principal
        if principal is None:
            principal = await self.authenticator.authenticate(head.credentials)
        if exchange.surface is not None:
            self.dispatcher.host.check_surface(principal, exchange.surface)
        await serve(scope, exchange, principal)

    async def _post(self, scope: Scope, exchange: Exchange, principal: Principal) -> None:
        if not exchange.head.sends_json:
            raise bad_request("The Content-Type must be application/json, in UTF-8.", 415)
        if not (exchange.head.accept.json or exchange.head.accept.events):
            message = "The Accept header must allow application/json or text/event-stream."
            raise bad_request(message, 406)
        body = await self._read_body(scope, exchange, principal)
        if await self._repeats.answer_later(scope, exchange, principal, body):
            return
        try:
            rpc = decode(body)
        except InvalidMessageError as error:
            await self.dispatcher.host.charge(principal)
            await exchange.reply(encode_error(error.id, error.of_request(exchange.request_id)), 400)
            return
        serve = self._post_modern if self._is_modern(rpc, exchange) else self._post_legacy
        try:
            await serve(exchange, principal, rpc)
        except (Refusal, ServerError) as error:
            refusal = error if isinstance(error, Refusal) else Refusal(error)
            refusal.id = rpc.id if isinstance(rpc, Request) else None
            raise refusal from None

    async def _read_body(self, scope: Scope, exchange: Exchange, principal: Principal) -> bytes:
        try:
            body = whole_body(scope) if exchange.body is None else exchange.body
            if body is not None and len(body) > self._max_body_bytes:
                raise BodyTooLargeError
            if body is not None:
                return body
            length = exchange.head.headers.get(b"content-length")
            return await self._bodies.read(exchange.receive, length, principal.subject)
        except BodyTooLargeError:
            message = f"The body is longer than {self._max_body_bytes} bytes."
            raise bad_request(message, 413, [(b"connection", b"close")]) from None

    def _is_modern(self, message: Message, exchange: Exchange) -> bool:
        if not isinstance(message, Request | Notification):
            return exchange.head.version in MODERN_REVISIONS
        in_session = exchange.head.session_id is not None
        era = self.dispatcher.era_of(
            message, version=exchange.head.version, channel_open=in_session
        )
        return era is Era.MODERN

    async def _post_modern(
        self, exchange: Exchange, principal: Principal, message: Message
    ) -> None:
        if isinstance(message, Notification):
            self._check_version(exchange)
            # The revision defines none over HTTP; it is taken and has no effect.
            await exchange.empty(202)
            return
        if not isinstance(message, Request):
            raise bad_request("The body must be a single request or notification.", 400)
        exchange.message = message
        streams = self.dispatcher.streams(message)
        if streams and not exchange.head.accept.events:
            raise bad_request("The Accept header must allow text/event-stream.", 406)
        places = self._capacity.stream if streams else self._capacity.request
        with places(principal):
            await self._answers.modern(exchange, principal, message)
        self._repeats.note(exchange, message, principal)

    async def _post_legacy(
        self, exchange: Exchange, principal: Principal, message: Message
    ) -> None:
        self._check_version(exchange)
        if isinstance(message, Request) and message.method == "initialize":
            await self._initialize(exchange, principal, message)
            return
        session = self._session(exchange, principal)
        with self._sessions.use(session), self._capacity.request(principal):
            if isinstance(message, Request) or (
                isinstance(message, Batch) and message.expects_reply
            ):
                exchange.message = message
                await self._answers.legacy(exchange, principal, message, session)
                return
            context = self._context(exchange, principal, session.connection)
            reply = await self.dispatcher.handle(message, context)
            if reply is None:
                await exchange.empty(202)
            else:
                await exchange.reply(reply, 400)

    async def _initialize(self, exchange: Exchange, principal: Principal, request: Request) -> None:
        session = self._sessions.create(principal.owner)
        context = self._context(exchange, principal, session.connection)
        reply = await self.dispatcher.handle(request, context)
        if reply is None or reply.error_code is not None:
            self._sessions.end(session)
        if reply is None:
            raise Refusal(UnavailableError("The server is shutting down."))
        if reply.error_code is not None:
            await exchange.reply(reply, status_of(reply, Era.LEGACY))
        else:
            self._sessions.name(session)
            self._end_when_revoked(session, principal)
            await exchange.reply(reply, 200, [(SESSION_HEADER, session.id.encode())])

    def _end_when_revoked(self, session: Session, principal: Principal) -> None:
        if self._revocations is not None:
            forget = self._revocations.on_revoked(principal, lambda: self._sessions.end(session))
            session.connection.lifetime.on_end(forget)

    async def _get(self, _scope: Scope, exchange: Exchange, principal: Principal) -> None:
        if not exchange.head.accept.events:
            raise bad_request("The Accept header must allow text/event-stream.", 406)
        self._check_version(exchange)
        session = self._session(exchange, principal)
        if session.streams >= self._max_session_streams:
            raise Refusal(ConflictError(f"The session has {session.streams} streams already."))
        with self._sessions.use(session), self._capacity.stream(principal):
            session.streams += 1
            try:
                await self._answers.relay(
                    exchange, principal, session, exchange.head.headers.get(b"last-event-id")
                )
            finally:
                session.streams -= 1

    async def _delete(self, _scope: Scope, exchange: Exchange, principal: Principal) -> None:
        self._check_version(exchange)
        self._sessions.end(self._session(exchange, principal))
        await exchange.empty(204)

    def _session(self, exchange: Exchange, principal: Principal) -> Session:
        session_id = exchange.head.session_id
        if session_id is None:
            raise bad_request("The header Mcp-Session-Id is missing; initialize first.", 400)
        session = self._sessions.find(session_id, principal.owner)
        if session is None:
            raise Refusal(NotFoundError("There is no such session; initialize a new one."))
        if session.taken_up:
            session.taken_up = False
            self._end_when_revoked(session, principal)
        return session

    @staticmethod
    def _check_version(exchange: Exchange) -> None:
        if exchange.head.version is not None and exchange.head.version not in SUPPORTED_REVISIONS:
            raise Refusal(unsupported_version(exchange.head.version[:_SHOWN]))

    def _context(self, exchange: Exchange, principal: Principal, connection: Connection) -> Context:
        async def emit(message: bytes) -> None:
            connection.outbox.put(message)

        return Context(
            principal,
            emit,
            self._lifetime,
            connection,
            request_id=exchange.request_id,
            transport="http",
            trace=exchange.head.trace,
        )
