"""Requests that a client sends again, with the same headers and parameters under another id.

Agents read the same records again and again. To find out anew each time what such a request means
takes longer than to answer it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.protocol import Authenticator, Context, Lifetime, Request
from kailash_mcp_prod.protocol.messages import RequestId
from kailash_mcp_prod.protocol.prepared import PreparedRequest, PreparedRequests
from kailash_mcp_prod.transports.asgi import Scope, whole_body

if TYPE_CHECKING:
    from kailash_mcp_prod.transports.http_exchange import Exchange

MOST: Final = 256
LONGEST: Final = 4096
"""Longer requests are read anew each time, so that what is remembered stays small."""

_Key = tuple[object, str, str, bytes]


class _Envelope(msgspec.Struct, frozen=True, gc=False):
    """Its four members are all there, and no more fit into `_AROUND`: so each is there once."""

    jsonrpc: Any
    id: RequestId
    method: Any
    params: msgspec.Raw


_envelope = msgspec.json.Decoder(_Envelope)

_MEMBER: Final = (
    rb'(?:"jsonrpc": ?"2\.0"|"method": ?"tools/call"|"params": ?|'
    rb'"id": ?(?:-?[0-9]+|"[ !#-\[\]-~]*"))'
)
_AROUND: Final = re.compile(rb"\{ ?%b(?:, ?%b){3} ?\}" % (_MEMBER, _MEMBER))
"""What stands around the parameters of a request that is like most; members have any order.

So that nothing else stands there, such as a member for the second time: what is known of the
parameters is then known of the whole request.
"""


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
        longest: How long a request may be.
        most: How many to remember.
    """

    def __init__(
        self, requests: PreparedRequests | None, longest: int = LONGEST, most: int = MOST
    ) -> None:
        self._requests = requests
        self._longest = min(longest, LONGEST)
        self._most = most
        # Whether it may not be prepared.
        self._once: dict[_Key, bool] = {}
        self._known: dict[_Key, PreparedRequest] = {}

    def __len__(self) -> int:
        return len(self._known)

    async def answer(self, scope: Scope, exchange: Exchange, authenticator: Authenticator) -> bool:
        """Whether the request came before and is answered now, because all of it is there.

        If not, the exchange has the body and the principal as far as they are known now.

        Raises:
            ServerError: The credential is not good.
        """
        if not self._may_repeat(scope, exchange):
            return False
        body = exchange.body = whole_body(scope)
        if body is None or not self._find(scope, exchange, body):
            return False
        principal = await authenticator.authenticate(exchange.head.credentials)
        exchange.principal = principal
        return await _answer(exchange, principal)

    async def answer_later(
        self, scope: Scope, exchange: Exchange, principal: Principal, body: bytes
    ) -> bool:
        """The same for a request whose body came later than its head."""
        if exchange.body is not None or not self._may_repeat(scope, exchange):
            return False
        return self._find(scope, exchange, body) and await _answer(exchange, principal)

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
        refused = self._once.get(sent.key)
        if refused is None:
            _keep(self._once, sent.key, False, self._most)
            return
        if refused or (sent.prepared is not None and sent.prepared.holds_for(principal)):
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
        if prepared is None:
            self._once[sent.key] = True
        else:
            _keep(self._known, sent.key, prepared, self._most)

    def _may_repeat(self, scope: Scope, exchange: Exchange) -> bool:
        requests, head = self._requests, exchange.head
        return (
            requests is not None
            and head.repeatable
            and scope["method"] == "POST"
            and requests.may_repeat(head.mirrored.name)
        )

    def _find(self, scope: Scope, exchange: Exchange, body: bytes) -> bool:
        """Whether the request is known; notes what it is known by."""
        if len(body) > self._longest:
            return False
        try:
            envelope = _envelope.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # The usual way says what is wrong.
            return False
        params = bytes(envelope.params)
        before, _, after = body.partition(params)
        if _AROUND.fullmatch(before + after) is None:
            return False
        key = exchange.head.likeness, scope.get("root_path", ""), scope["path"], params
        prepared = self._known.get(key)
        exchange.sent = Sent(key, envelope.id, prepared)
        return prepared is not None


async def _answer(exchange: Exchange, principal: Principal) -> bool:
    sent = exchange.sent
    if sent is None or sent.prepared is None:
        return False
    reply = await sent.prepared.again(sent.id, principal, exchange.request_id)
    if reply is None:
        return False
    if not exchange.reply_at_once(reply, 200):
        await exchange.reply(reply, 200)
    return True


def _keep(kept: dict[_Key, Any], key: _Key, value: Any, most: int) -> None:
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > most:
        del kept[next(iter(kept))]


async def _drop(_message: bytes) -> None:
    """What is answered at once has nothing to tell before."""
