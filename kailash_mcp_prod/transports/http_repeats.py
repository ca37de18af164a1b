"""Requests that a client sends again, with the same headers and parameters under another id.

Agents read the same records again and again. To find out anew each time what such a request means
takes longer than to answer it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.protocol import Authenticator, Context, Lifetime, Request
from kailash_mcp_prod.protocol.codec import is_request_id
from kailash_mcp_prod.protocol.messages import RequestId
from kailash_mcp_prod.protocol.prepared import PreparedRequest, PreparedRequests
from kailash_mcp_prod.transports.asgi import Scope, whole_body

if TYPE_CHECKING:
    from kailash_mcp_prod.transports.http_exchange import Exchange

MOST: Final = 256
LONGEST: Final = 4096
"""Longer requests are read anew each time, so that what is remembered stays small."""

_Key = tuple[object, str, bytes]


class _Envelope(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    jsonrpc: Any
    id: Any
    method: Any
    params: msgspec.Raw


_envelope = msgspec.json.Decoder(_Envelope)


class Sent(NamedTuple):
    """A request as it came: what it is known by, its id, and what is known."""

    key: _Key
    id: RequestId
    prepared: PreparedRequest | None


class Repeats:
    """Remembers the requests that came last, from their second time on.

    It keeps no verdict on a caller: who sends a request is asked anew each time.

    Args:
        requests: Prepares them; `None` for a server that can't answer any at once.
        authenticator: Tells who a client is.
        most: How many to remember.
    """

    def __init__(
        self, requests: PreparedRequests | None, authenticator: Authenticator, most: int = MOST
    ) -> None:
        self._requests = requests
        self._authenticator = authenticator
        self._most = most
        self._once: dict[_Key, None] = {}
        self._known: dict[_Key, PreparedRequest] = {}

    def __len__(self) -> int:
        return len(self._known)

    async def answer(self, scope: Scope, exchange: Exchange) -> bool:
        """Whether the request came before and is answered now, because all of it is there.

        If not, the exchange has the body if that was taken, and nothing has happened.

        Raises:
            ServerError: The credential is not good.
        """
        if not self._may_repeat(scope, exchange):
            return False
        body = exchange.body = whole_body(scope)
        if body is None or not self._find(scope, exchange, body):
            return False
        principal = await self._authenticator.authenticate(exchange.head.credentials)
        return await self._answer(exchange, principal)

    async def answer_later(
        self, scope: Scope, exchange: Exchange, principal: Principal, body: bytes
    ) -> bool:
        """The same for a request whose body came later than its head."""
        if exchange.body is not None or not self._may_repeat(scope, exchange):
            return False
        return self._find(scope, exchange, body) and await self._answer(exchange, principal)

    def note(self, exchange: Exchange, request: Request, principal: Principal) -> None:
        """Takes note of a request that was handled.

        Args:
            exchange: The request as it came, and how it was answered.
            request: What it means.
            principal: Who sent it.
        """
        sent = exchange.sent
        if self._requests is None or sent is None or not exchange.succeeded:
            return
        if sent.key not in self._once:
            _keep(self._once, sent.key, None, self._most)
            return
        if sent.prepared is not None and sent.prepared.holds_for(principal):
            return
        context = Context(
            principal,
            _drop,
            Lifetime(),
            headers=exchange.head.mirrored,
            surface=exchange.surface,
            transport="http",
        )
        prepared = self._requests.prepare(request, context)
        if prepared is not None:
            _keep(self._known, sent.key, prepared, self._most)

    def _may_repeat(self, scope: Scope, exchange: Exchange) -> bool:
        may_repeat = self._requests is not None and exchange.head.repeatable
        return may_repeat and scope["method"] == "POST"

    def _find(self, scope: Scope, exchange: Exchange, body: bytes) -> bool:
        """Whether the request is known; notes what it is known by."""
        head = exchange.head
        if len(body) > LONGEST:
            return False
        try:
            envelope = _envelope.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # The usual way says what is wrong.
            return False
        if (
            envelope.jsonrpc != "2.0"
            or envelope.method != head.mirrored.method
            or not is_request_id(envelope.id)
        ):
            return False
        key = head.likeness, scope["path"], bytes(envelope.params)
        prepared = self._known.get(key)
        exchange.sent = Sent(key, envelope.id, prepared)
        return prepared is not None

    async def _answer(self, exchange: Exchange, principal: Principal) -> bool:
        sent = exchange.sent
        if sent is None or sent.prepared is None:
            return False
        reply = await sent.prepared.again(sent.id, principal, exchange.request_id)
        if reply is None:
            return False
        await exchange.reply(reply, 200)
        return True


def _keep(kept: dict[_Key, Any], key: _Key, value: Any, most: int) -> None:
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > most:
        del kept[next(iter(kept))]


async def _drop(_message: bytes) -> None:
    """What is answered at once has nothing to tell before."""
