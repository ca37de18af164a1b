"""One HTTP request to the MCP endpoint, and the ways to answer it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from kailash_mcp_prod.auth.challenge import Challenges
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import (
    ForbiddenError,
    InvalidArgumentsError,
    ServerError,
)
from kailash_mcp_prod.protocol import (
    Batch,
    Reply,
    Request,
    RpcError,
    encode_error,
    from_server_error,
)
from kailash_mcp_prod.protocol.faults import INVALID_REQUEST
from kailash_mcp_prod.protocol.messages import RequestId
from kailash_mcp_prod.spliced_gzip import CompressedPart
from kailash_mcp_prod.transports.asgi import (
    JSON_TYPE,
    ASGIMessage,
    ClientGoneError,
    EventStream,
    RawHeaders,
    Receive,
    Send,
    respond,
)
from kailash_mcp_prod.transports.http_guard import HostGuard
from kailash_mcp_prod.transports.http_head import Head
from kailash_mcp_prod.transports.http_headers import Headers, accepts_gzip
from kailash_mcp_prod.transports.stopping import id_of, stopped_reply, stopped_serving

if TYPE_CHECKING:
    from kailash_mcp_prod.transports.http_repeats import Sent

_SHOWN: Final = 200
_CLOSED: Final = "handler is closed"
"""How uvloop tells of a connection that is gone: by a `RuntimeError` with these words."""


class Refusal(Exception):  # noqa: N818 - an outcome of a request, not a defect
    """The request is answered with an HTTP error before or instead of its method.

    `id` is that of the JSON-RPC request, once it is known.

    Args:
        error: What the body says; a `ServerError`'s own body becomes the JSON-RPC error's data.
        status: The HTTP status; the error's own by default.
        headers: Further response headers.
    """

    def __init__(
        self,
        error: ServerError | RpcError,
        *,
        status: int | None = None,
        headers: RawHeaders | None = None,
    ) -> None:
        super().__init__(error.message)
        self.error = error
        self.status = status or (error.http_status if isinstance(error, ServerError) else 400)
        self.headers = headers or []
        self.id: RequestId | None = None


def bad_request(message: str, status: int, headers: RawHeaders | None = None) -> Refusal:
    """A refusal for which the client has to change its request."""
    return Refusal(InvalidArgumentsError(message), status=status, headers=headers)


def check_address(guard: HostGuard, headers: Headers) -> None:
    """See `check_names`."""
    check_names(guard, headers.get(b"host"), headers.get(b"origin"))


def check_names(guard: HostGuard, host: str | None, origin: str | None) -> None:
    """Refuse a request to another name than the server's, or from a page that may not call.

    Raises:
        Refusal: With 421 or 403; it says which setting is meant.
    """
    if not guard.allows_host(host):
        message = f"The Host {(host or '')[:_SHOWN]!r} is not among the setting allowed_hosts."
        raise Refusal(ForbiddenError(message), status=421)
    if not guard.allows_origin(origin):
        message = (
            f"The Origin {(origin or '')[:_SHOWN]!r} is not among the setting allowed_origins."
        )
        raise Refusal(ForbiddenError(message))


JsonAnswer = Callable[[int, str, bytes], bool]
"""Sends a status, a request id and a JSON body at once, where the server offers that."""

_GZIP: Final = [(b"content-encoding", b"gzip"), (b"vary", b"accept-encoding")]


class Exchange:
    """A request's headers and the means to answer it.

    `request_id` is the server's own id of it; `surface` is the set of tools that the address
    names; `message` is what has to be answered, once it is known. `stream` is its answer while the
    work for it runs, and not longer: they refer to each other.
    """

    def __init__(
        self,
        request_id: str,
        head: Head,
        receive: Receive,
        send: Send,
        keepalive_seconds: float,
        *,
        challenges: Challenges | None = None,
        at_once: JsonAnswer | None = None,
    ) -> None:
        self._at_once = at_once
        self.request_id = request_id
        self.head = head
        self.receive = receive
        self.answered = False
        self.body: bytes | None = None
        self.principal: Principal | None = None
        self.sent: Sent | None = None
        self.succeeded = False
        self.loop = asyncio.get_running_loop()
        self.surface: str | None = None
        self.message: Request | Batch | None = None
        self.stream: EventStream | None = None
        self._send = send
        self._keepalive_seconds = keepalive_seconds
        self._challenges = challenges or Challenges()

    async def send(self, message: ASGIMessage) -> None:
        """Send one ASGI message; `answered` is set from the first on.

        Raises:
            ClientGoneError: The connection is closed.
        """
        self.answered = True
        try:
            await self._send(message)
        except RuntimeError as error:
            if _CLOSED not in str(error):
                raise
            raise ClientGoneError from None

    @property
    def own_headers(self) -> RawHeaders:
        """The headers that every response carries."""
        return [(b"x-request-id", self.request_id.encode())]

    def event_stream(self) -> EventStream:
        """An event stream as the answer."""
        return EventStream(self.send, self.own_headers, self._keepalive_seconds)

    async def empty(self, status: int) -> None:
        """Answer without a body."""
        await respond(self.send, status, self.own_headers)

    async def reply(
        self,
        reply: Reply,
        status: int,
        headers: RawHeaders | None = None,
        *,
        part: CompressedPart | None = None,
    ) -> None:
        """Answer with a JSON-RPC message.

        Args:
            reply: The message.
            status: The HTTP status.
            headers: Further headers.
            part: What of the message is compressed already, for a client that takes that.
        """
        self.succeeded = reply.error_code is None and not reply.is_error
        if headers is None and part is None and self.reply_at_once(reply, status):
            return
        body, own = reply.body, [JSON_TYPE, *self.own_headers, *(headers or [])]
        if part is not None and accepts_gzip(self.head.headers.get(b"accept-encoding")):
            spliced = part.spliced(body)
            if spliced is not None:
                body = spliced
                own += _GZIP
        await respond(self.send, status, own, body)

    def reply_at_once(self, reply: Reply, status: int) -> bool:
        """Answer with a JSON-RPC message and the usual headers, if that needs no waiting."""
        if self._at_once is None or self.answered:
            return False
        self.answered = self._at_once(status, self.request_id, reply.body)
        return self.answered

    async def refuse(self, refusal: Refusal) -> None:
        """Answer with an HTTP error whose body is a JSON-RPC error."""
        await self._refuse(self.send, refusal)

    async def give_up(self) -> None:
        """Answer in place of work that the stop has cancelled and that does not let go.

        What that work still sends is dropped, as if the client had gone.
        """
        message, stream = self.message, self.stream
        if message is None:
            return
        if stream is not None and stream.started:
            await stream.event(stopped_reply(message, self.request_id).body)
            await stream.end()
        elif not self.answered:
            send, self._send = self._send, _gone
            self.answered = True
            refusal = Refusal(stopped_serving(message))
            refusal.id = id_of(message)
            await self._refuse(send, refusal)

    async def _refuse(self, send: Send, refusal: Refusal) -> None:
        error = refusal.error
        headers = [JSON_TYPE, *self.own_headers, *refusal.headers]
        if isinstance(error, ServerError):
            if (challenge := self._challenges.of(error)) is not None:
                headers.append((b"www-authenticate", challenge.encode()))
            if error.retryable:
                seconds = max(1, math.ceil(error.retry_after_seconds or 1))
                headers.append((b"retry-after", str(seconds).encode()))
            error = from_server_error(error, self.request_id, code=INVALID_REQUEST)
        body = encode_error(refusal.id, error.of_request(self.request_id)).body
        await respond(send, refusal.status, headers, body)


async def _gone(_message: ASGIMessage) -> None:
    raise ClientGoneError
