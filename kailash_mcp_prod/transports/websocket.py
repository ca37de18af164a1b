"""MCP over WebSocket, as a pure ASGI application: both eras on one channel.

MCP has no WebSocket transport of its own. This one is what the official SDKs' clients speak: the
subprotocol `mcp`, and one JSON-RPC message in each text message.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Final

from kailash_mcp_prod.auth.challenge import Challenges
from kailash_mcp_prod.auth.principal import ANONYMOUS, Credentials, Principal
from kailash_mcp_prod.errors import (
    InternalError,
    OverloadedError,
    ServerError,
    UnavailableError,
)
from kailash_mcp_prod.protocol import Authenticator, Dispatcher, Revocations, new_request_id
from kailash_mcp_prod.transports.asgi import ASGIMessage, Receive, Scope, Send, path_below_root
from kailash_mcp_prod.transports.base import BaseTransport
from kailash_mcp_prod.transports.channel import ChannelLimits
from kailash_mcp_prod.transports.http_exchange import (
    Exchange,
    Refusal,
    bad_request,
    check_address,
)
from kailash_mcp_prod.transports.http_guard import LOOPBACK_HOSTS, LOOPBACK_ORIGINS, HostGuard
from kailash_mcp_prod.transports.http_head import Head
from kailash_mcp_prod.transports.http_headers import Headers
from kailash_mcp_prod.transports.surface_path import surface_of
from kailash_mcp_prod.transports.unread_budget import UnreadBudget
from kailash_mcp_prod.transports.websocket_session import (
    GOING_AWAY,
    POLICY,
    Ending,
    SessionLimits,
    WebSocketSession,
)

_log = logging.getLogger(__name__)

SUBPROTOCOL: Final = "mcp"
_SINGLE: Final = (b"host", b"origin", b"authorization", b"x-api-key")
_REASON_BYTES: Final = 123
_STOP_SECONDS: Final = 1.0
_CLOSE_SECONDS: Final = 0.8


class WebSocketTransport(BaseTransport):
    """The WebSocket endpoint: serve it with any ASGI server, or mount it into another application.

    Args:
        dispatcher: The protocol over the server's tools.
        authenticator: Tells who a client is, from `Authorization` and `X-API-Key` of the upgrade.
        path: Where the endpoint is, below the application's root path; the names of surfaces
            follow it.
        allowed_hosts: Names under which the server may be addressed: `name`, `name:port`, or `*`.
        allowed_origins: Web pages that may call: `scheme://name`, with `:port` or `:*`, or `*`.
        max_message_bytes: The longest message; a longer one ends the channel.
        max_channels: How many channels may be open, a quarter of them of one principal that has a
            credential.
        max_in_flight: How many requests of a channel run at once; then reading pauses.
        max_subscriptions: How many `subscriptions/listen` streams a channel may have.
        max_messages_per_second: How many messages of a channel are taken.
        idle_seconds: After how long without a message and without a request a channel ends.
        write_seconds: How long a client may take to read a message.
        challenges: What refusals tell of the credential to get.
        revocations: Tells when credentials end, and with them their channels.
        unread: Counts the answers that wait to be read, here and on other transports.

    Example:
        ```python
        transport = WebSocketTransport(dispatcher, authenticator, allowed_hosts={"mcp.example.com"})
        uvicorn.run(transport, port=3001)
        ```
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        authenticator: Authenticator,
        *,
        path: str = "/ws",
        allowed_hosts: Collection[str] = LOOPBACK_HOSTS,
        allowed_origins: Collection[str] = LOOPBACK_ORIGINS,
        max_message_bytes: int = 4 * 1024 * 1024,
        max_channels: int = 1000,
        max_in_flight: int = 100,
        max_subscriptions: int = 16,
        max_messages_per_second: int = 1000,
        idle_seconds: float = 1800.0,
        write_seconds: float = 20.0,
        challenges: Challenges | None = None,
        revocations: Revocations | None = None,
        unread: UnreadBudget | None = None,
    ) -> None:
        super().__init__(dispatcher, authenticator)
        self._path = path.rstrip("/")
        self._guard = HostGuard(allowed_hosts, allowed_origins)
        self._challenges = challenges or Challenges()
        self._max_channels = max_channels
        self._max_own_channels = max(max_channels // 4, 1)
        self._limits = SessionLimits(
            channel=ChannelLimits(max_in_flight, max_subscriptions),
            message_bytes=max_message_bytes,
            messages_per_second=max_messages_per_second,
            idle_seconds=idle_seconds,
            write_seconds=write_seconds,
        )
        self._revocations = revocations
        self._unread = unread or UnreadBudget()
        self._open = 0
        self._owned: Counter[str] = Counter()
        self._sessions: dict[WebSocketSession, asyncio.Task[None]] = {}
        self._stopped = False

    @property
    def open_channels(self) -> int:
        """How many channels are open."""
        return self._open

    async def start(self) -> None:
        """Nothing to do: the ASGI server that carries this application listens."""

    async def stop(self) -> None:
        """Let running requests go on for a second, then close all channels.

        New ones get 503 from now on.
        """
        self._stopped = True
        serving = set(self._sessions.values())
        for session in self._sessions:
            session.end(Ending(GOING_AWAY, "The server is shutting down.", _STOP_SECONDS))
        if serving:
            await asyncio.wait(serving, timeout=_STOP_SECONDS + _CLOSE_SECONDS)
        for task in self._sessions.values():
            task.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "websocket":
            return
        if (await receive())["type"] != "websocket.connect":
            return
        exchange = _upgrade(scope, receive, send, self._challenges)
        with ExitStack() as places:
            try:
                places.enter_context(self._place())
                principal, surface = await self._admit(scope, exchange.head.headers)
                places.enter_context(self._place_of(principal))
            except Exception as error:  # noqa: BLE001 - the boundary: the client gets an answer
                await _refuse(scope, exchange, send, _refusal(error, exchange.request_id))
                return
            request_id = (b"x-request-id", exchange.request_id.encode())
            await send(
                {"type": "websocket.accept", "subprotocol": SUBPROTOCOL, "headers": [request_id]}
            )
            session = WebSocketSession(
                self.dispatcher,
                principal,
                receive,
                send,
                self._limits,
                surface=surface,
                unread=self._unread,
            )
            if self._revocations is not None:
                ended = partial(session.end, Ending(POLICY, "The credential was revoked."))
                places.callback(self._revocations.on_revoked(principal, ended))
            await self._serve(session)

    async def _admit(self, scope: Scope, headers: Headers) -> tuple[Principal, str | None]:
        """Check an upgrade; who the client is, and which surface it wants."""
        surface = surface_of(path_below_root(scope), self._path)
        if (repeated := headers.repeats(*_SINGLE)) is not None:
            raise bad_request(f"The header {repeated} is repeated.", 400)
        check_address(self._guard, headers)
        if self._stopped:
            raise UnavailableError("The server is shutting down.")
        if SUBPROTOCOL not in scope.get("subprotocols", ()):
            raise bad_request(f"The WebSocket must offer the subprotocol {SUBPROTOCOL}.", 400)
        principal = await self.authenticator.authenticate(
            Credentials(headers.get(b"authorization"), headers.get(b"x-api-key"))
        )
        if surface is not None:
            self.dispatcher.host.check_surface(principal, surface)
        return principal, surface

    async def _serve(self, session: WebSocketSession) -> None:
        task = self._sessions[session] = asyncio.create_task(session.run(), name="websocket")
        try:
            if self._stopped:
                session.end(Ending(GOING_AWAY, "The server is shutting down."))
            await asyncio.wait({task})
        finally:
            del self._sessions[session]
            task.cancel()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("Serving a WebSocket failed", exc_info=error)

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._open >= self._max_channels:
            message = "All WebSocket channels are taken; try again later."
            raise OverloadedError(message, retry_after_seconds=30)
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    @contextmanager
    def _place_of(self, principal: Principal) -> Iterator[None]:
        """A place among the principal's own; anonymous clients can't be told apart."""
        subject = principal.subject
        if subject == ANONYMOUS.subject:
            yield
            return
        if self._owned[subject] >= self._max_own_channels:
            message = f"This credential has {self._max_own_channels} channels open; close some."
            raise OverloadedError(message, retry_after_seconds=30)
        self._owned[subject] += 1
        try:
            yield
        finally:
            self._owned[subject] -= 1
            if not self._owned[subject]:
                del self._owned[subject]


def _upgrade(scope: Scope, receive: Receive, send: Send, challenges: Challenges) -> Exchange:
    """The upgrade as an HTTP exchange, which can be refused like one."""

    async def send_http(message: ASGIMessage) -> None:
        await send({**message, "type": f"websocket.{message['type']}"})

    return Exchange(
        new_request_id(), Head(scope["headers"]), receive, send_http, 0, challenges=challenges
    )


def _refusal(error: Exception, request_id: str) -> Refusal:
    """What the client hears of a failed upgrade; a defect goes to the log."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, ServerError):
        return Refusal(error)
    _log.error(
        "WebSocket upgrade %s failed", request_id, exc_info=error, extra={"request_id": request_id}
    )
    return Refusal(InternalError("Internal error; the server's log has it under the request id."))


async def _refuse(scope: Scope, exchange: Exchange, send: Send, refusal: Refusal) -> None:
    if "websocket.http.response" in (scope.get("extensions") or {}):
        await exchange.refuse(refusal)
    else:
        reason = refusal.error.message.encode()[:_REASON_BYTES].decode(errors="ignore")
        await send({"type": "websocket.close", "code": POLICY, "reason": reason})
